/* Arguments of a driver: a table says what there is, and each is checked against it. */
#ifndef WL_ARGS_H
#define WL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    WL_ARG_FLAG,    /* no value; target: bool */
    WL_ARG_NUMBER,  /* a whole number, min to max; target: uint64_t */
    WL_ARG_SECONDS, /* a decimal fraction, min to max milliseconds; target: double, in seconds */
    WL_ARG_DECIMAL, /* a decimal fraction, min to max thousandths; target: double */
    WL_ARG_TEXT     /* anything but the empty text; target: const char * into argv */
} wl_arg_kind;

/* One argument. `given` is set by the parser; targets of what was not given stay as they were. */
typedef struct {
    const char *name;  /* of the option, without the dashes; also names it where it is positional */
    const char *value; /* what the usage calls its value; NULL for a flag */
    const char *help;
    wl_arg_kind kind;
    void *target;
    uint64_t min, max;
    bool given;
    bool unused;  /* set by a driver: had no part in this run, so the report leaves it out */
    bool derived; /* set by a driver: follows from another; not in the table's command line */
} wl_arg;

/* A row of the table for a whole number. */
#define WL_NUMBER_ARG(name_, value_, target_, min_, max_, help_)                                   \
    {                                                                                              \
        .name = (name_), .value = (value_), .help = (help_), .kind = WL_ARG_NUMBER,                \
        .target = (target_), .min = (min_), .max = (max_)                                          \
    }

/* A positional form: option names in order, NULL at the end. */
typedef struct {
    const char *const *names;
    size_t count;
} wl_form;

typedef struct {
    const char *summary; /* what the program does, for --help */
    wl_arg *args;
    size_t arg_count;
    const wl_form
        *forms; /* told apart by their number of arguments; no arguments is always right */
    size_t form_count;
} wl_arg_table;

/*
 * Reads the command line into the targets. --help prints the usage and exits 0. A wrong argument
 * ends the program with exit status 2 and one sentence that names it and its range: unknown,
 * without value, not a number, out of range, trailing characters, or given twice.
 * Returns the index of the positional form that was used, -1 without positional arguments.
 */
int wl_args_parse(wl_arg_table *table, int argc, char **argv);

/* The argument of that name; it must be in the table. */
wl_arg *wl_args_find(const wl_arg_table *table, const char *name);

/* Was the argument of that name on the command line (as an option or by position)? */
bool wl_args_given(const wl_arg_table *table, const char *name);

/* Ends the program with exit status 2 if both arguments were given. */
void wl_args_exclude(const wl_arg_table *table, const char *one, const char *other);

/* Fills in what was not given of --min and --max: `default_max`, or the least where that is more,
 * and 8, or the greatest where that is less. */
void wl_args_default_sizes(const wl_arg_table *table, uint64_t *min, uint64_t *max,
                           uint64_t default_max);

/* Ends the program with exit status 2 where the least of sizes exceeds the greatest. */
void wl_args_refuse_reversed(uint64_t min, uint64_t max);

/*
 * For a driver that works in rounds of `calls` calls of each thread: its run is bounded by
 * --seconds, by --operations (calls of each thread, rounded up to whole rounds), or by the number
 * of rounds, an option named `rounds_name`. Two of them exclude each other. Sets `*rounds`
 * (UINT64_MAX where time ends the run), `*operations` and `*seconds` (0 where it does not), and
 * marks the options that had no part in this run or follow from another.
 */
void wl_args_bound_run(const wl_arg_table *table, const char *rounds_name, uint64_t calls,
                       uint64_t *rounds, uint64_t *operations, double *seconds);

/* For two numbers, the bounds of a range: where only one was given, the other follows so far that
 * the range is not empty; where both were and it is, the program ends with exit status 2. */
void wl_args_settle_bounds(const wl_arg_table *table, const char *low, const char *high);

/* Reads digits alone. False if `text` is anything else, or more than 2^64-1. */
bool wl_parse_number(const char *text, uint64_t *number);

#endif
