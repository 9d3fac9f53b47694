/* Arguments of a driver: a table says what there is, and each is checked against it. */
#include "wl_args.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wl_fail.h"

bool wl_parse_number(const char *text, uint64_t *number) {
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *number = value;
    return true;
}

/* Digits with at most one point among them: no sign, exponent, "inf" or hexadecimal. */
static bool parse_decimal(const char *text, double *number) {
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    if (*rest == '.') {
        size_t decimals = strspn(rest + 1, "0123456789");
        digits += decimals;
        rest += 1 + decimals;
    }
    if (digits == 0 || digits > 30 || *rest != '\0')
        return false;
    *number = strtod(text, NULL);
    return true;
}

static wl_arg *find(const wl_arg_table *table, const char *name, size_t length) {
    for (size_t i = 0; i < table->arg_count; i++)
        if (strlen(table->args[i].name) == length && memcmp(table->args[i].name, name, length) == 0)
            return &table->args[i];
    return NULL;
}

/* "SECONDS (--seconds)" where it stands by position, "--seconds" as an option. */
static const char *title(const wl_arg *arg, bool positional) {
    static char text[128];
    if (!positional) {
        snprintf(text, sizeof text, "--%s", arg->name);
        return text;
    }
    size_t i = 0;
    for (; arg->name[i] != '\0' && i < 60; i++)
        text[i] =
            (char)(arg->name[i] >= 'a' && arg->name[i] <= 'z' ? arg->name[i] - 32 : arg->name[i]);
    snprintf(text + i, sizeof text - i, " (--%s)", arg->name);
    return text;
}

static void take(wl_arg *arg, const char *text, bool positional) {
    if (arg->given)
        wl_fail(WL_EXIT_USAGE, "--%s is given twice; give it once, as an option or by position",
                arg->name);
    arg->given = true;
    if (arg->kind == WL_ARG_NUMBER) {
        uint64_t number;
        if (!wl_parse_number(text, &number) || number < arg->min || number > arg->max)
            wl_fail(WL_EXIT_USAGE,
                    "%s takes a whole number from %" PRIu64 " to %" PRIu64 ", not '%.200s'",
                    title(arg, positional), arg->min, arg->max, text);
        *(uint64_t *)arg->target = number;
    } else if (arg->kind == WL_ARG_SECONDS || arg->kind == WL_ARG_DECIMAL) {
        double number;
        if (!parse_decimal(text, &number) || number < (double)arg->min / 1000.0 ||
            number > (double)arg->max / 1000.0)
            wl_fail(WL_EXIT_USAGE, "%s takes a number%s from %g to %g, not '%.200s'",
                    title(arg, positional), arg->kind == WL_ARG_SECONDS ? " of seconds" : "",
                    (double)arg->min / 1000.0, (double)arg->max / 1000.0, text);
        *(double *)arg->target = number;
    } else if (arg->kind == WL_ARG_TEXT) {
        if (*text == '\0')
            wl_fail(WL_EXIT_USAGE, "%s takes %s, not an empty text", title(arg, positional),
                    arg->value);
        *(const char **)arg->target = text;
    } else {
        *(bool *)arg->target = true;
    }
}

static void print_form(const wl_form *form) {
    for (size_t i = 0; i < form->count; i++) {
        fputc(' ', stdout);
        for (const char *c = form->names[i]; *c != '\0'; c++)
            fputc(*c >= 'a' && *c <= 'z' ? *c - 32 : *c, stdout);
    }
}

static void print_help(const wl_arg_table *table) {
    printf("%s: %s\n\nusage: %s [OPTION...]\n", wl_program(), table->summary, wl_program());
    for (size_t i = 0; i < table->form_count; i++) {
        printf("       %s [OPTION...]", wl_program());
        print_form(&table->forms[i]);
        fputc('\n', stdout);
    }
    fputs("\noptions:\n", stdout);
    for (size_t i = 0; i < table->arg_count; i++) {
        const wl_arg *arg = &table->args[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", arg->name, arg->value == NULL ? "" : " ",
                 arg->value == NULL ? "" : arg->value);
        printf("  %-24s %s", left, arg->help);
        if (arg->kind == WL_ARG_NUMBER)
            printf(" (%" PRIu64 " to %" PRIu64 ")", arg->min, arg->max);
        if (arg->kind == WL_ARG_SECONDS || arg->kind == WL_ARG_DECIMAL)
            printf(" (%g to %g)", (double)arg->min / 1000.0, (double)arg->max / 1000.0);
        fputc('\n', stdout);
    }
    printf("  %-24s %s\n", "--help", "print this and exit");
    if (fflush(stdout) != 0)
        wl_fail(WL_EXIT_RUN, "standard output can't be written");
    exit(0);
}

static int take_positional(wl_arg_table *table, char **words, size_t count) {
    if (count == 0)
        return -1;
    for (size_t f = 0; f < table->form_count; f++) {
        const wl_form *form = &table->forms[f];
        if (form->count != count)
            continue;
        for (size_t i = 0; i < count; i++)
            take(wl_args_find(table, form->names[i]), words[i], true);
        return (int)f;
    }
    if (table->form_count == 0)
        wl_fail(WL_EXIT_USAGE, "takes no positional arguments, but there is '%.200s'; see --help",
                words[0]);
    if (table->form_count == 1)
        wl_fail(WL_EXIT_USAGE, "takes %zu positional arguments or none, not %zu; see --help",
                table->forms[0].count, count);
    wl_fail(WL_EXIT_USAGE, "takes %zu or %zu positional arguments or none, not %zu; see --help",
            table->forms[0].count, table->forms[1].count, count);
}

int wl_args_parse(wl_arg_table *table, int argc, char **argv) {
    enum { MOST_POSITIONAL = 64 };
    static char *words[MOST_POSITIONAL];
    size_t count = 0;
    bool options_over = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        /* "-5" is a number out of range, which says more than an unknown option */
        bool option =
            !options_over && word[0] == '-' && word[1] != '\0' && (word[1] < '0' || word[1] > '9');
        if (!option) {
            if (count < MOST_POSITIONAL)
                words[count] = word;
            count++;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            options_over = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            print_help(table);
        size_t length = strcspn(word, "=");
        wl_arg *arg = length > 2 && word[1] == '-' ? find(table, word + 2, length - 2) : NULL;
        if (arg == NULL)
            wl_fail(WL_EXIT_USAGE, "there is no option '%.200s'; see --help", word);
        if (arg->kind == WL_ARG_FLAG) {
            if (word[length] == '=')
                wl_fail(WL_EXIT_USAGE, "--%s takes no value; leave out '%.200s'", arg->name,
                        word + length);
            take(arg, NULL, false);
        } else if (word[length] == '=') {
            take(arg, word + length + 1, false);
        } else if (i + 1 < argc) {
            take(arg, argv[++i], false);
        } else {
            wl_fail(WL_EXIT_USAGE, "--%s lacks its value: give it as --%s %s", arg->name, arg->name,
                    arg->value);
        }
    }
    return take_positional(table, words, count);
}

wl_arg *wl_args_find(const wl_arg_table *table, const char *name) {
    wl_arg *arg = find(table, name, strlen(name));
    if (arg == NULL)
        abort(); /* a mistake in a driver's own table */
    return arg;
}

bool wl_args_given(const wl_arg_table *table, const char *name) {
    return wl_args_find(table, name)->given;
}

void wl_args_exclude(const wl_arg_table *table, const char *one, const char *other) {
    if (wl_args_given(table, one) && wl_args_given(table, other))
        wl_fail(WL_EXIT_USAGE, "--%s and --%s exclude each other; give one of them", one, other);
}

void wl_args_default_sizes(const wl_arg_table *table, uint64_t *min, uint64_t *max,
                           uint64_t default_max) {
    const uint64_t default_min = 8;
    const bool has_min = wl_args_given(table, "min"), has_max = wl_args_given(table, "max");
    if (!has_max)
        *max = has_min && *min > default_max ? *min : default_max;
    if (!has_min)
        *min = *max < default_min ? *max : default_min;
}

void wl_args_refuse_reversed(uint64_t min, uint64_t max) {
    if (min > max)
        wl_fail(WL_EXIT_USAGE,
                "--min %" PRIu64 " exceeds --max %" PRIu64 "; take a --min of at most that", min,
                max);
}

void wl_args_bound_run(const wl_arg_table *table, const char *rounds_name, uint64_t calls,
                       uint64_t *rounds, uint64_t *operations, double *seconds) {
    wl_args_exclude(table, "seconds", "operations");
    wl_args_exclude(table, "seconds", rounds_name);
    wl_args_exclude(table, "operations", rounds_name);
    if (wl_args_given(table, "operations")) {
        *rounds = (*operations + calls - 1) / calls;
        wl_args_find(table, rounds_name)->derived = true;
    } else if (wl_args_given(table, rounds_name)) {
        *operations = calls * *rounds;
        wl_args_find(table, "operations")->derived = true;
    } else {
        *rounds = UINT64_MAX;
        wl_args_find(table, "operations")->unused = true;
        wl_args_find(table, rounds_name)->unused = true;
        return;
    }
    *seconds = 0;
    wl_args_find(table, "seconds")->unused = true;
}

void wl_args_settle_bounds(const wl_arg_table *table, const char *low, const char *high) {
    const wl_arg *from = wl_args_find(table, low), *to = wl_args_find(table, high);
    uint64_t *least = from->target, *most = to->target;
    if (*least <= *most)
        return;
    if (from->given && to->given)
        wl_fail(WL_EXIT_USAGE, "--%s %" PRIu64 " exceeds --%s %" PRIu64 "; give --%s at most --%s",
                low, *least, high, *most, low, high);
    *(from->given ? most : least) = from->given ? *least : *most;
}
