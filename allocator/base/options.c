/* The table of options, and the parsing of the environment. */
#include "base/options.h"
#include "base/diag.h"

#include <stddef.h>
#include <stdlib.h>

struct option_row {
    const char *name; /* of the environment variable */
    const char *unit;
    long preset, low, high;
};

static const struct option_row rows[HAK_OPT_COUNT] = {
    [HAK_OPT_PURGE_DELAY] = {"HAKMEM_PURGE_DELAY", "ms", 200, -1, 3600 * 1000},
    [HAK_OPT_ADOPT] = {"HAKMEM_TINY_SS_ADOPT", "0 or 1", 1, 0, 1},
    [HAK_OPT_ARENA_RESERVE] = {"HAKMEM_ARENA_RESERVE", "MiB", 1024, 0, 1024 * 1024},
    [HAK_OPT_PAGE_MAP] = {"HAKMEM_PAGE_MAP", "1 (flat) or 2 (two-level)", 1, 1, 2},
    [HAK_OPT_CACHE_HUGE] = {"HAKMEM_CACHE_HUGE", "MiB", 64, 0, 1024 * 1024},
    [HAK_OPT_DEPOT] = {"HAKMEM_DEPOT", "KiB", 512, 0, 1024 * 1024},
    [HAK_OPT_STATS] = {"HAKMEM_STATS", "0 or 1", 0, 0, 1},
    [HAK_OPT_MAGAZINE_MIN] = {"HAKMEM_MAGAZINE_MIN", "blocks", 16, 1, 16},
    [HAK_OPT_MAGAZINE_MAX] = {"HAKMEM_MAGAZINE_MAX", "KiB", 32, 0, 32},
    [HAK_OPT_THP] = {"HAKMEM_THP", "0 or 1", 0, 0, 1},
    [HAK_OPT_CHECK] = {"HAKMEM_CHECK", "0 or 1", 0, 0, 1},
    [HAK_OPT_CRASH_LOG] = {"HAKMEM_CRASH_LOG", "0 or 1", 0, 0, 1},
};

long hak_option_value[HAK_OPT_COUNT];

/* Decimal, with a minus sign at most; false for anything else. strtol would take more. */
static bool parse(const char *text, long *value) {
    bool negative = *text == '-';
    if (negative)
        text++;
    if (!*text)
        return false;
    long sum = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || sum > 100000000000L)
            return false;
        sum = sum * 10 + (*text - '0');
    }
    *value = negative ? -sum : sum;
    return true;
}

void hak_options_init(void) {
    for (size_t i = 0; i < HAK_OPT_COUNT; i++) {
        const struct option_row *row = &rows[i];
        hak_option_value[i] = row->preset;
        const char *text = getenv(row->name);
        if (!text)
            continue;
        long value;
        if (parse(text, &value) && value >= row->low && value <= row->high)
            hak_option_value[i] = value;
        else
            hak_message("hakmem: %s=%s is not a whole number from %d to %d (%s); %d is used\n",
                        row->name, text, row->low, row->high, row->unit, row->preset);
    }
}
