/* The counters' storage and their table. */
#include "base/counters.h"
#include "base/diag.h"

#include <stddef.h>

_Thread_local struct hak_counter_set *hak_counters;
struct hak_counter_set hak_counters_of_all;
static struct hak_counter_set *_Atomic sets = &hak_counters_of_all;

void hak_counters_register(struct hak_counter_set *set) {
    /* relaxed: the address is only stored; the exchange checks it */
    struct hak_counter_set *first = atomic_load_explicit(&sets, memory_order_relaxed);
    do {
        set->next = first;
        /* release: readers see the link and the zeros; relaxed on failure: only tried again */
    } while (!atomic_compare_exchange_weak_explicit(&sets, &first, set, memory_order_release,
                                                    memory_order_relaxed));
}

uint64_t hak_counter(enum hak_counter counter) {
    uint64_t sum = 0;
    /* acquire: pairs with the release above, for the links of all sets below (each registration's
     * exchange continues the release sequences before it). relaxed values: see hak_count. */
    for (struct hak_counter_set *set = atomic_load_explicit(&sets, memory_order_acquire); set;
         set = set->next)
        sum += atomic_load_explicit(&set->value[counter], memory_order_relaxed);
    return sum;
}

static const struct {
    const char *name, *text;
} rows[HAK_COUNTER_COUNT] = {
#define X(name, text) {#name, text},
    HAK_COUNTERS(X)
#undef X
};

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

enum hak_counter hak_counter_named(const char *name) {
    unsigned i = 0;
    for (; i < HAK_COUNTER_COUNT; i++) {
        size_t at = 0;
        while (rows[i].name[at] && lower(rows[i].name[at]) == name[at])
            at++;
        if (!rows[i].name[at] && !name[at])
            break;
    }
    return (enum hak_counter)i;
}

void hak_counters_print(void) {
    hak_message("hakmem: counters at exit\n");
    for (unsigned i = 0; i < HAK_COUNTER_COUNT; i++) {
        char name[32];
        size_t at = 0;
        for (; rows[i].name[at] && at < sizeof name - 1; at++)
            name[at] = lower(rows[i].name[at]);
        name[at] = '\0';
        hak_message("  %u\t%s: %s\n", (unsigned long)hak_counter((enum hak_counter)i), name,
                    rows[i].text);
    }
}
