/* Threads' caches of free slabs, and the list of them. */
#include "large/span_cache.h"

#define LEAST_KEPT  16u /* slabs */
#define OUT_OF_KEPT 4   /* of so many slabs that are out one is kept */
#define FIRST_KEPT  4u  /* slabs; doubled each time that there are none to serve */
#define ALL_KEPT    1024u
#define OUT_MOST    (INT32_MAX / 2)

/* Newest first; only grows. */
static struct hak_span_cache *_Atomic caches;
static _Atomic uint32_t all_allowed; /* slabs that they may keep together */

static uint64_t region_of(const char *address) {
    return (uint64_t)((uintptr_t)address >> HAK_SUPERSLAB_SHIFT) << 32;
}
static bool is_of(uint64_t word, uint64_t region) {
    return word >> 32 == region >> 32;
}
static uint32_t slabs_of(uint64_t word) {
    return (uint32_t)word;
}
static char *base_of(uint64_t word) {
    return (char *)((uintptr_t)(word >> 32) << HAK_SUPERSLAB_SHIFT);
}
static uint64_t look_at(const _Atomic uint64_t *place) {
    return atomic_load_explicit(place, memory_order_relaxed); /* relaxed: the exchange checks it */
}

static void used(struct hak_span_cache *cache) {
    /* relaxed: a hint for others; no other thread writes it */
    atomic_store_explicit(&cache->uses,
                          atomic_load_explicit(&cache->uses, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Replaces what a place holds. The slabs' own words were written by this thread alone, or by the
 * last one that had them from the pool; acq_rel for those that others take out and give to it. */
static bool change(_Atomic uint64_t *place, uint64_t *old, uint64_t word) {
    /* relaxed on failure: only tried again */
    return atomic_compare_exchange_strong_explicit(place, old, slabs_of(word) ? word : 0,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Gives a place's slabs to the pool; returns how many. */
static unsigned give_place(_Atomic uint64_t *place) {
    if (!look_at(place))
        return 0;
    /* acquire: pairs with the release in change */
    uint64_t word = atomic_exchange_explicit(place, 0, memory_order_acquire);
    if (word)
        hak_pool_give_mask(hak_superslab_of(base_of(word)), slabs_of(word));
    return (unsigned)__builtin_popcount(slabs_of(word));
}

/* The slabs that are in proportion to what the thread has out. */
static uint32_t wanted(const struct hak_span_cache *cache) {
    uint32_t part = cache->out > 0 ? (uint32_t)cache->out / OUT_OF_KEPT : 0;
    return part > LEAST_KEPT ? part : LEAST_KEPT;
}

/* The cache had nothing to serve: it may keep more, while all together don't keep too much.
 * relaxed, all: sums that order nothing. Others may set it to 0, and the exchange fails then. */
static void allow_more(struct hak_span_cache *cache) {
    uint32_t old = atomic_load_explicit(&cache->allowed, memory_order_relaxed);
    uint32_t now = 2 * old < FIRST_KEPT ? FIRST_KEPT : 2 * old, most = wanted(cache);
    now = now < most ? now : most;
    if (now <= old)
        return;
    uint32_t all =
        atomic_fetch_add_explicit(&all_allowed, now - old, memory_order_relaxed) + now - old;
    if (all > ALL_KEPT ||
        !atomic_compare_exchange_strong_explicit(&cache->allowed, &old, now, memory_order_relaxed,
                                                 memory_order_relaxed))
        atomic_fetch_sub_explicit(&all_allowed, now - old, memory_order_relaxed);
}

void hak_span_cache_count(struct hak_span_cache *cache, unsigned count) {
    if (cache->out < OUT_MOST)
        cache->out += (int32_t)count;
}

char *hak_span_cache_take(struct hak_span_cache *cache, unsigned count) {
    used(cache);
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++) {
        uint64_t word = look_at(&cache->places[i]);
        uint64_t starts;
        while ((starts = hak_run_starts(slabs_of(word), count))) {
            unsigned first = (unsigned)__builtin_ctzll(starts);
            if (!change(&cache->places[i], &word, word & ~(uint64_t)hak_run_mask(first, count)))
                continue;
            cache->taken += count;
            return base_of(word) + ((size_t)first << HAK_SLAB_SHIFT);
        }
    }
    allow_more(cache);
    return NULL;
}

bool hak_span_cache_extend(struct hak_span_cache *cache, const char *base, unsigned count,
                           unsigned most) {
    unsigned first = hak_slab_number(base);
    if (first + most > HAK_SUPERSLAB_SLABS)
        return false;
    uint64_t region = region_of(base), mask = hak_run_mask(first + count, most - count);
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++) {
        uint64_t word = look_at(&cache->places[i]);
        if (!is_of(word, region) || (word & mask) != mask ||
            !change(&cache->places[i], &word, word & ~mask))
            continue;
        cache->taken += most - count;
        hak_span_cache_count(cache, most - count);
        return true;
    }
    return false;
}

static uint32_t kept(const struct hak_span_cache *cache) {
    /* relaxed: a thread that takes more out meanwhile only makes it less */
    return cache->put - cache->taken - atomic_load_explicit(&cache->stolen, memory_order_relaxed);
}

/* Gives the next place's slabs but `but`'s to the pool. */
static void make_room(struct hak_span_cache *cache, unsigned but) {
    unsigned i = cache->victim++ % HAK_SPAN_PLACES;
    if (i != but)
        cache->taken += give_place(&cache->places[i]);
}

/* The place that holds a region's slabs, or with 0 an empty one; HAK_SPAN_PLACES if there is none.
 * Looks at all, so that no jump depends on which it is: a wrong guess would cost as much. */
static unsigned find(const struct hak_span_cache *cache, uint64_t region) {
    unsigned found = HAK_SPAN_PLACES;
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++)
        found = is_of(look_at(&cache->places[i]), region) ? i : found;
    return found;
}

/* Adds slabs to those of the same SuperSlab, or to an empty place; that place, or HAK_SPAN_PLACES.
 */
static unsigned add(struct hak_span_cache *cache, uint64_t region, uint32_t mask) {
    unsigned place = find(cache, region);
    if (place < HAK_SPAN_PLACES) {
        uint64_t word = look_at(&cache->places[place]);
        while (is_of(word, region)) /* until others take it out */
            if (change(&cache->places[place], &word, word | mask))
                return place;
    }
    place = find(cache, 0);
    uint64_t nothing = 0; /* nobody else puts anything there */
    if (place < HAK_SPAN_PLACES)
        change(&cache->places[place], &nothing, region | mask);
    return place;
}

void hak_span_cache_put(struct hak_span_cache *cache, char *base, unsigned count) {
    used(cache);
    if (cache->out > -OUT_MOST)
        cache->out -= (int32_t)count;
    /* relaxed: a bound; it may have been what it no longer is */
    uint32_t most = wanted(cache),
             now = atomic_load_explicit(&cache->allowed, memory_order_relaxed);
    most = now < most ? now : most;
    if (count > most) {
        hak_pool_give(base, count);
        return;
    }
    unsigned place;
    uint32_t mask = hak_run_mask(hak_slab_number(base), count);
    cache->put += count; /* first: what others take out at once is counted, too */
    while ((place = add(cache, region_of(base), mask)) == HAK_SPAN_PLACES)
        make_room(cache, HAK_SPAN_PLACES);
    for (unsigned i = 1; i < HAK_SPAN_PLACES && kept(cache) > most; i++)
        make_room(cache, place);
    if (kept(cache) > most)
        cache->taken += give_place(&cache->places[place]);
}

/* ---- by any thread ------------------------------------------------------------------------- */

void hak_span_cache_register(struct hak_span_cache *cache) {
    /* relaxed: the address is only stored; the exchange checks it */
    struct hak_span_cache *first = atomic_load_explicit(&caches, memory_order_relaxed);
    do
        cache->next = first;
    /* release: who finds the cache sees its zeros and its link; relaxed on failure: as above */
    while (!atomic_compare_exchange_weak_explicit(&caches, &first, cache, memory_order_release,
                                                  memory_order_relaxed));
}

void hak_span_cache_empty(struct hak_span_cache *cache) {
    /* First: so that its thread doesn't put as much in again. relaxed: as in allow_more */
    uint32_t allowed = atomic_exchange_explicit(&cache->allowed, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&all_allowed, allowed, memory_order_relaxed);
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++) {
        unsigned slabs = give_place(&cache->places[i]);
        if (slabs) /* relaxed: a sum that its thread bounds itself by */
            atomic_fetch_add_explicit(&cache->stolen, slabs, memory_order_relaxed);
    }
}

struct hak_span_cache *hak_span_caches(void) {
    /* acquire: pairs with the release in hak_span_cache_register, for all further ones, too (each
     * registration's exchange continues the release sequences before it) */
    return atomic_load_explicit(&caches, memory_order_acquire);
}

struct hak_span_cache *hak_span_caches_trim(struct hak_span_cache *cache, bool all, unsigned most) {
    for (; cache && most; cache = cache->next, most--) {
        /* relaxed: hints */
        uint32_t uses = atomic_load_explicit(&cache->uses, memory_order_relaxed);
        if (all || uses == atomic_load_explicit(&cache->seen, memory_order_relaxed))
            hak_span_cache_empty(cache);
        atomic_store_explicit(&cache->seen, uses, memory_order_relaxed);
    }
    return cache;
}

size_t hak_span_caches_kept(void) {
    size_t slabs = 0;
    for (struct hak_span_cache *cache = hak_span_caches(); cache; cache = cache->next)
        for (unsigned i = 0; i < HAK_SPAN_PLACES; i++)
            slabs += (unsigned)__builtin_popcount(slabs_of(look_at(&cache->places[i])));
    return slabs << HAK_SLAB_SHIFT;
}
