/* The table of options, the parsing of the environment, and the list of them all. */
#include "base/options.h"
#include "base/config.h"
#include "base/diag.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

struct word {
    const char *word;
    long value;
};
#define WORDS_END                                                                                  \
    { NULL, 0 }

static const struct word stats_words[] = {
    {"table", HAK_STATS_TABLE}, {"json", HAK_STATS_JSON}, WORDS_END};
static const struct word help_words[] = {
    {"list", HAK_HELP_LIST}, {"table", HAK_HELP_TABLE}, WORDS_END};

/* Signals that a program can be asked to answer; none that the kernel raises for its mistakes, nor
 * those that stop or end it unasked. */
static const struct word signal_words[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"PIPE", SIGPIPE}, {"ALRM", SIGALRM}, {"TERM", SIGTERM},
    {"URG", SIGURG},   {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM},
    {"PROF", SIGPROF}, {"IO", SIGIO},     {"PWR", SIGPWR},   {"WINCH", SIGWINCH},
    WORDS_END};

/* By number also the real-time ones, of which the C library keeps the first for itself. */
static bool is_usable_signal(long value) {
    bool usable = value == 0 || (value >= SIGRTMIN && value <= SIGRTMAX);
    for (const struct word *w = signal_words; w->word && !usable; w++)
        usable = w->value == value;
    return usable;
}

struct option_row {
    const char *name; /* of the environment variable */
    const char *unit; /* of a number; "" if it has none */
    long preset, low, high;
    bool fixed;               /* it only counts at start-up */
    const struct word *words; /* that stand for numbers, or NULL */
    const char *values;       /* in words, where the numbers don't tell, or NULL */
    bool (*usable)(long);     /* of the numbers in range, or NULL: all are */
    const char *text;
};

#define FIXED    true
#define ANY_TIME false
#define NUMBER   NULL, NULL, NULL

static const struct option_row rows[HAK_OPT_COUNT] = {
    [HAK_OPT_PURGE_DELAY] = {"HAKMEM_PURGE_DELAY", "ms", 200, -1, 3600 * 1000, ANY_TIME, NUMBER,
                             "how long free memory stays resident; -1: for ever"},
    [HAK_OPT_ADOPT] = {"HAKMEM_TINY_SS_ADOPT", "", 1, 0, 1, ANY_TIME, NUMBER,
                       "1: slabs that an exited thread left behind are reused"},
    [HAK_OPT_ARENA_RESERVE] = {"HAKMEM_ARENA_RESERVE", "MiB", 1024, 0, 1024 * 1024, ANY_TIME,
                               NUMBER, "address space reserved at a time; 0: single mappings"},
    [HAK_OPT_PAGE_MAP] = {"HAKMEM_PAGE_MAP", "", 1, 1, 2, FIXED, NULL, "1 (flat), 2 (two-level)",
                          NULL, "how addresses are looked up"},
    [HAK_OPT_CACHE_HUGE] = {"HAKMEM_CACHE_HUGE", "MiB", 64, 0, 1024 * 1024, ANY_TIME, NUMBER,
                            "freed huge blocks kept for the purge delay; more if used again"},
    [HAK_OPT_DEPOT] = {"HAKMEM_DEPOT", "KiB", 512, 0, 1024 * 1024, ANY_TIME, NUMBER,
                       "free blocks that a size class keeps for exchange among threads"},
    [HAK_OPT_MAGAZINE_MIN] = {"HAKMEM_MAGAZINE_MIN", "blocks", 16, 1, 16, ANY_TIME, NUMBER,
                              "free blocks that a thread may keep of a size class at first"},
    [HAK_OPT_MAGAZINE_MAX] = {"HAKMEM_MAGAZINE_MAX", "KiB", 4096, 0, 4096, FIXED, NUMBER,
                              "free blocks that a thread may keep of a size class at most"},
    [HAK_OPT_THP] = {"HAKMEM_THP", "", 0, 0, 1, FIXED, NUMBER,
                     "1: the system may back small blocks with huge pages"},
    [HAK_OPT_CHECK] = {"HAKMEM_CHECK", "", 0, 0, 1, FIXED, NUMBER,
                       "1: every block is checked for misuse; slow"},
    [HAK_OPT_CRASH_LOG] = {"HAKMEM_CRASH_LOG", "", 0, 0, 1, FIXED, NUMBER,
                           "1: a crash prints what the allocator knows of the address"},
    [HAK_OPT_STATS] = {"HAKMEM_STATS", "", 0, 0, 2, FIXED, stats_words, "0, 1 or table, 2 or json",
                       NULL, "statistics at exit; every block is counted then"},
    [HAK_OPT_STATS_SIGNAL] = {"HAKMEM_STATS_SIGNAL", "", 0, 0, 64, FIXED, signal_words,
                              "0 (none), a name such as USR2, a number", is_usable_signal,
                              "the signal on which statistics are printed"},
    [HAK_OPT_STATS_FILE] = {"HAKMEM_STATS_FILE", "", 0, 0, 0, FIXED, NULL, "a file's path", NULL,
                            "where statistics are added instead of standard error; %p: the "
                            "process's number"},
    [HAK_OPT_HELP] = {"HAKMEM_HELP", "", 0, 0, 2, FIXED, help_words, "0, 1 or list, 2 or table",
                      NULL, "this list at start-up, or as a table with tabs"},
};

_Atomic long hak_option_value[HAK_OPT_COUNT];

static char stats_file[4096]; /* a copy: a program may overwrite its environment */

const char *hak_option_text(enum hak_option option) {
    return option == HAK_OPT_STATS_FILE && *stats_file ? stats_file : NULL;
}

enum hak_option hak_option_named(const char *name) {
    unsigned i = 0;
    while (i < HAK_OPT_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return (enum hak_option)i;
}

static bool is_in_range(const struct option_row *row, long value) {
    return value >= row->low && value <= row->high && (!row->usable || row->usable(value));
}

/* relaxed: see hak_option */
static void store(enum hak_option option, long value) {
    atomic_store_explicit(&hak_option_value[option], value, memory_order_relaxed);
}

int hak_option_change(enum hak_option option, long value) {
    if (option == HAK_OPT_STATS_FILE || !is_in_range(&rows[option], value))
        return EINVAL;
    if (rows[option].fixed)
        return EPERM;
    store(option, value);
    return 0;
}

/* ---- the list ------------------------------------------------------------------------------ */

/* The values that an option may have, in words, as a message of at most 511 bytes. */
static void say_values(const struct option_row *row, const char *before, const char *after) {
    if (row->values)
        hak_message("%s%s%s", before, row->values, after);
    else if (row->low == 0 && row->high == 1)
        hak_message("%s0 or 1%s", before, after);
    else
        hak_message("%s%d to %d%s%s%s", before, row->low, row->high, *row->unit ? " " : "",
                    row->unit, after);
}

static void print_help(bool table) {
    if (!table)
        hak_message("hakmem: its options are these environment variables\n");
    for (unsigned i = 0; i < HAK_OPT_COUNT; i++) {
        const struct option_row *row = &rows[i];
        bool text = i == HAK_OPT_STATS_FILE;
        if (table) {
            hak_message(text ? "%s\t" : "%s\t%d", row->name, row->preset);
            say_values(row, "\t", "\t");
            hak_message("%s\n", row->text);
        } else {
            hak_message("  %-22s%s\n", row->name, row->text);
            say_values(row, "                        ", "");
            hak_message(text ? "\n" : "; default %d\n", row->preset);
        }
    }
}

/* ---- the environment ----------------------------------------------------------------------- */

#define PREFIX "HAKMEM_"

/* Decimal, with a minus sign at most; false for anything else. strtol would take more. */
static bool parse_number(const char *text, long *value) {
    bool negative = *text == '-';
    if (negative)
        text++;
    if (!*text)
        return false;
    long sum = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || sum > 100000000L)
            return false;
        sum = sum * 10 + (*text - '0');
    }
    *value = negative ? -sum : sum;
    return true;
}

/* A number or a word; of signals also with SIG before it. */
static bool parse(const struct option_row *row, const char *text, long *value) {
    if (parse_number(text, value))
        return true;
    if (row->words == signal_words && strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (const struct word *w = row->words; w && w->word; w++) {
        if (strcmp(w->word, text) == 0) {
            *value = w->value;
            return true;
        }
    }
    return false;
}

/* A value or a name of somebody else's making, cut and in one line. */
struct excerpt {
    char text[64];
};
static struct excerpt excerpt(const char *text, size_t length) {
    struct excerpt e;
    size_t i = 0;
    for (; i < length && text[i] && i < sizeof e.text - 4; i++)
        e.text[i] = (unsigned char)text[i] < ' ' || text[i] == 127 ? '?' : text[i];
    if (i < length && text[i])
        for (unsigned dots = 0; dots < 3; dots++)
            e.text[i++] = '.';
    e.text[i] = '\0';
    return e;
}

static void take(enum hak_option option, const char *text) {
    const struct option_row *row = &rows[option];
    struct excerpt shown = excerpt(text, SIZE_MAX);
    if (option == HAK_OPT_STATS_FILE) {
        size_t length = strlen(text);
        if (length > 0 && length < sizeof stats_file)
            memcpy(stats_file, text, length + 1);
        else
            hak_message("hakmem: %s=%s is not a path of 1 to %u bytes; standard error is used\n",
                        row->name, shown.text, (unsigned long)sizeof stats_file - 1);
        return;
    }
    long value;
    if (parse(row, text, &value) && is_in_range(row, value)) {
        store(option, value);
    } else if (row->values) {
        hak_message("hakmem: %s=%s is not one of: %s; %d is used\n", row->name, shown.text,
                    row->values, row->preset);
    } else {
        hak_message("hakmem: %s=%s is not a whole number from %d to %d%s%s; %d is used\n",
                    row->name, shown.text, row->low, row->high, *row->unit ? " " : "", row->unit,
                    row->preset);
    }
}

/* Letters to insert, leave out or replace to make one name of another (V. I. Levenshtein, "Binary
 * codes capable of correcting deletions, insertions and reversals", 1966). */
static size_t distance(const char *a, size_t a_length, const char *b) {
    enum { MOST = 31 };
    size_t b_length = strlen(b);
    if (a_length > MOST || b_length > MOST)
        return SIZE_MAX;
    size_t row[MOST + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (diagonal + 1 < best)
                best = diagonal + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_length];
}

/* Our prefix is on names of others' too, such as those of tests. So only what is off by one letter
 * in four, two at most, is taken for a mistake. */
static void report_if_close(const char *name, size_t length) {
    for (unsigned i = 0; i < HAK_OPT_COUNT; i++) {
        size_t letters = strlen(rows[i].name) - strlen(PREFIX);
        size_t most = letters / 4 < 2 ? letters / 4 : 2;
        if (distance(name, length, rows[i].name) <= most) {
            hak_message("hakmem: %s is no option, and ignored; %s is one\n",
                        excerpt(name, length).text, rows[i].name);
            return;
        }
    }
}

bool hak_options_given(void) {
    char **entry = getauxval(AT_SECURE) ? NULL : environ;
    while (entry && *entry && strncmp(*entry, PREFIX, strlen(PREFIX)) != 0)
        entry++;
    return entry && *entry;
}

void hak_options_init(void) {
    for (unsigned i = 0; i < HAK_OPT_COUNT; i++)
        store((enum hak_option)i, rows[i].preset);
    if (getauxval(AT_SECURE))
        return;
    bool seen[HAK_OPT_COUNT] = {false}; /* of two the first counts, as for getenv */
    for (char **entry = environ; entry && *entry; entry++) {
        if (strncmp(*entry, PREFIX, strlen(PREFIX)) != 0)
            continue;
        const char *equals = strchr(*entry, '=');
        if (!equals)
            continue;
        size_t length = (size_t)(equals - *entry);
        unsigned i = 0;
        while (i < HAK_OPT_COUNT &&
               (strncmp(rows[i].name, *entry, length) != 0 || rows[i].name[length] != '\0'))
            i++;
        if (i == HAK_OPT_COUNT)
            report_if_close(*entry, length);
        else if (!seen[i])
            take((enum hak_option)i, equals + 1);
        if (i < HAK_OPT_COUNT)
            seen[i] = true;
    }
    if (hak_option(HAK_OPT_HELP))
        print_help(hak_option(HAK_OPT_HELP) == HAK_HELP_TABLE);
}
