/* The counters' storage and their table. */
#include "base/counters.h"

#include <string.h>

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

/* ---- sums that rise and fall --------------------------------------------------------------- */

static struct {
    _Alignas(HAK_CACHE_LINE) _Atomic uint64_t now;
    _Atomic uint64_t peak;
} gauges[HAK_GAUGE_COUNT];

/* relaxed, here and below: sums that order nothing. Each addition learns the value that it made, so
 * the greatest of them is never missed. */
void hak_gauge_grow(enum hak_gauge gauge, size_t bytes) {
    uint64_t now =
        atomic_fetch_add_explicit(&gauges[gauge].now, bytes, memory_order_relaxed) + bytes;
    uint64_t peak = atomic_load_explicit(&gauges[gauge].peak, memory_order_relaxed);
    while (now > peak &&
           !atomic_compare_exchange_weak_explicit(&gauges[gauge].peak, &peak, now,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void hak_gauge_shrink(enum hak_gauge gauge, size_t bytes) {
    atomic_fetch_sub_explicit(&gauges[gauge].now, bytes, memory_order_relaxed); /* relaxed: above */
}

uint64_t hak_gauge(enum hak_gauge gauge) {
    return atomic_load_explicit(&gauges[gauge].now, memory_order_relaxed); /* relaxed: above */
}

uint64_t hak_gauge_peak(enum hak_gauge gauge) {
    return atomic_load_explicit(&gauges[gauge].peak, memory_order_relaxed); /* relaxed: above */
}

/* ---- every block, while statistics are on --------------------------------------------------- */

/* A count of the calling thread. relaxed, as in hak_count: the thread's own set has no other
 * writer, the one for all is added to. */
static void add(_Atomic uint64_t *count, uint64_t n, bool shared) {
    if (shared)
        atomic_fetch_add_explicit(count, n, memory_order_relaxed);
    else
        atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                              memory_order_relaxed);
}

void hak_count_out(unsigned kind, size_t requested, size_t usable) {
    bool shared = !hak_counters;
    struct hak_counter_set *set = shared ? &hak_counters_of_all : hak_counters;
    struct hak_kind_set *row = &set->kinds[hak_counted_row(kind)];
    add(&row->requests, 1, shared);
    add(&row->requested, requested, shared);
    add(&row->bytes_out, usable, shared);
    hak_gauge_grow(HAK_GAUGE_LIVE, usable);
}

void hak_count_home(unsigned kind, size_t usable) {
    bool shared = !hak_counters;
    struct hak_counter_set *set = shared ? &hak_counters_of_all : hak_counters;
    struct hak_kind_set *row = &set->kinds[hak_counted_row(kind)];
    add(&row->frees, 1, shared);
    add(&row->bytes_home, usable, shared);
    hak_gauge_shrink(HAK_GAUGE_LIVE, usable);
}

struct hak_kind_counts hak_counted(unsigned kind) {
    struct hak_kind_counts sum = {.requests = 0};
    /* acquire for the links, relaxed for the values: as in hak_counter */
    for (struct hak_counter_set *set = atomic_load_explicit(&sets, memory_order_acquire); set;
         set = set->next) {
        struct hak_kind_set *row = &set->kinds[hak_counted_row(kind)];
#define X(name) sum.name += atomic_load_explicit(&row->name, memory_order_relaxed);
        HAK_KIND_COUNTS(X)
#undef X
    }
    return sum;
}

/* ---- the table ----------------------------------------------------------------------------- */

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

struct hak_counter_name hak_counter_name(enum hak_counter counter) {
    struct hak_counter_name name;
    size_t i = 0;
    for (; rows[counter].name[i] && i < sizeof name.text - 1; i++)
        name.text[i] = lower(rows[counter].name[i]);
    name.text[i] = '\0';
    return name;
}

const char *hak_counter_text(enum hak_counter counter) {
    return rows[counter].text;
}

enum hak_counter hak_counter_named(const char *name) {
    unsigned i = name ? 0 : HAK_COUNTER_COUNT;
    while (i < HAK_COUNTER_COUNT && strcmp(hak_counter_name((enum hak_counter)i).text, name) != 0)
        i++;
    return (enum hak_counter)i;
}
