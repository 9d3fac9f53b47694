/* Threads' caches of free slabs, and the list of them. */
#include "large/span_cache.h"

#define FIRST_KEPT 4u /* slabs; doubled each time that there are none to serve */
#define ALL_KEPT   1024u
/* A thread may keep no more than so many for the few that it has out, once all together may keep so
 * many: so that it takes many threads with many out to come near what all may keep. */
#define FEW_OF_MANY 16u
#define MANY        256u

/* Newest first; only grows. */
static struct hak_span_cache *_Atomic caches;
static _Atomic uint32_t all_allowed; /* slabs that they may keep together */

/* ---- who may use a cache -------------------------------------------------------------------- */

/* By another thread: says that it wants a cache. False if yet another does. Before hak_os_barrier.
 * seq_cst: see hak_span_cache_enter; the acquire in it pairs with the release in unclaim. */
static bool claim(struct hak_span_cache *cache) {
    return !atomic_exchange_explicit(&cache->wanted, true, memory_order_seq_cst);
}

/* After it: whether its thread keeps away from it. seq_cst: as above; the acquire in it pairs with
 * the release in hak_span_cache_leave. */
static bool is_claimed(const struct hak_span_cache *cache) {
    return !atomic_load_explicit(&cache->busy, memory_order_seq_cst);
}

/* release: pairs with the acquire in hak_span_cache_enter and in claim */
static void unclaim(struct hak_span_cache *cache) {
    atomic_store_explicit(&cache->wanted, false, memory_order_release);
}

/* ---- the places ----------------------------------------------------------------------------- */

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

/* relaxed, both: by who may use the cache; others only count what is there */
static uint64_t look_at(const struct hak_span_cache *cache, unsigned place) {
    return atomic_load_explicit(&cache->places[place], memory_order_relaxed);
}
static void set(struct hak_span_cache *cache, unsigned place, uint64_t word) {
    atomic_store_explicit(&cache->places[place], slabs_of(word) ? word : 0, memory_order_relaxed);
}

/* Gives a place's slabs to the pool, but for those that aren't in `mask`. */
static void give_some(struct hak_span_cache *cache, unsigned place, uint32_t mask) {
    uint64_t word = look_at(cache, place);
    mask &= slabs_of(word);
    if (!mask)
        return;
    set(cache, place, word & ~(uint64_t)mask);
    cache->kept -= (uint32_t)__builtin_popcount(mask);
    hak_pool_give_mask(hak_superslab_of(base_of(word)), mask);
}
static void give_place(struct hak_span_cache *cache, unsigned place) {
    give_some(cache, place, UINT32_MAX);
}

/* So many of a set's bits, those that are the lowest. */
static uint32_t lowest_of(uint32_t mask, uint32_t count) {
    uint32_t rest = mask;
    for (; rest && count; count--)
        rest &= rest - 1;
    return mask & ~rest;
}

/* The next span before the places, which is none any more; NULL when there are no more. */
static char *next_span(struct hak_span_cache *cache, unsigned *count) {
    for (unsigned c = 1; c <= HAK_SPAN_SLABS; c++) {
        unsigned depth = hak_span_cache_depth(cache, c);
        if (!depth)
            continue;
        hak_span_cache_set_depth(cache, c, --depth);
        char *span = cache->spans[c][depth];
        hak_span_end(span);
        *count = c;
        return span;
    }
    return NULL;
}

/* The cache had nothing to serve: it may keep more, while all together don't keep too much. False:
 * it may not. relaxed, all: sums that order nothing. */
static bool allow_more(struct hak_span_cache *cache) {
    uint32_t all = atomic_load_explicit(&all_allowed, memory_order_relaxed);
    uint32_t most = hak_span_cache_share(cache, all < MANY ? HAK_SPANS_FEW : FEW_OF_MANY);
    uint32_t old = hak_span_cache_allowed(cache);
    uint32_t now = 2 * old < FIRST_KEPT ? FIRST_KEPT : 2 * old;
    now = now < most ? now : most;
    if (now <= old)
        return false;
    if (atomic_fetch_add_explicit(&all_allowed, now - old, memory_order_relaxed) + now - old >
        ALL_KEPT) {
        atomic_fetch_sub_explicit(&all_allowed, now - old, memory_order_relaxed);
        return false;
    }
    atomic_store_explicit(&cache->allowed, now, memory_order_relaxed);
    return true;
}

/* ---- by its thread -------------------------------------------------------------------------- */

/* The place that holds a region's slabs, or with 0 an empty one; HAK_SPAN_PLACES if there is none.
 * Looks at all, so that no jump depends on which it is: a wrong guess would cost as much. */
static unsigned find(const struct hak_span_cache *cache, uint64_t region) {
    unsigned found = HAK_SPAN_PLACES;
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++)
        found = is_of(look_at(cache, i), region) ? i : found;
    return found;
}

/* Gives the next place's slabs but `but`'s to the pool. */
static void make_room(struct hak_span_cache *cache, unsigned but) {
    unsigned i = cache->victim++ % HAK_SPAN_PLACES;
    if (i != but)
        give_place(cache, i);
}

/* Adds slabs to those of the same SuperSlab, or to an empty place; the place. */
static unsigned add(struct hak_span_cache *cache, const char *base, unsigned count) {
    uint64_t region = region_of(base);
    unsigned place = find(cache, region);
    while (place == HAK_SPAN_PLACES && (place = find(cache, 0)) == HAK_SPAN_PLACES)
        make_room(cache, HAK_SPAN_PLACES);
    set(cache, place, look_at(cache, place) | region | hak_run_mask(hak_slab_number(base), count));
    return place;
}

/* From the places. */
static char *take_run(struct hak_span_cache *cache, unsigned count) {
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++) {
        uint64_t word = look_at(cache, i);
        uint64_t starts = hak_run_starts(slabs_of(word), count);
        if (!starts)
            continue;
        unsigned first = (unsigned)__builtin_ctzll(starts);
        set(cache, i, word & ~(uint64_t)hak_run_mask(first, count));
        cache->kept -= count;
        return base_of(word) + ((size_t)first << HAK_SLAB_SHIFT);
    }
    return NULL;
}

char *hak_span_cache_take(struct hak_span_cache *cache, unsigned count) {
    if (HAK_UNLIKELY(!hak_span_cache_enter(cache)))
        return NULL;
    char *run = take_run(cache, count);
    /* Where nothing more may be kept, spans that are neighbours may make one. */
    if (!run && !allow_more(cache) && cache->kept >= count) {
        unsigned length;
        for (char *span; (span = next_span(cache, &length));)
            add(cache, span, length);
        run = take_run(cache, count);
    }
    hak_span_cache_used(cache);
    hak_span_cache_leave(cache);
    return run;
}

/* Puts the span that begins at `base`, if there is one before the places, to them. */
static bool find_span(struct hak_span_cache *cache, const char *base) {
    for (unsigned c = 1; c <= HAK_SPAN_SLABS; c++) {
        unsigned depth = hak_span_cache_depth(cache, c);
        for (unsigned i = 0; i < depth; i++) {
            if (cache->spans[c][i] != base)
                continue;
            char *span = cache->spans[c][i];
            cache->spans[c][i] = cache->spans[c][depth - 1];
            hak_span_cache_set_depth(cache, c, depth - 1);
            hak_span_end(span);
            add(cache, span, c);
            return true;
        }
    }
    return false;
}

/* The place that holds the slabs of `mask`; HAK_SPAN_PLACES if none has them all. */
static unsigned find_slabs(const struct hak_span_cache *cache, const char *base, uint32_t mask) {
    unsigned place = find(cache, region_of(base));
    return place < HAK_SPAN_PLACES && (slabs_of(look_at(cache, place)) & mask) == mask
               ? place
               : HAK_SPAN_PLACES;
}

bool hak_span_cache_extend(struct hak_span_cache *cache, const char *base, unsigned count,
                           unsigned most) {
    unsigned first = hak_slab_number(base);
    if (first + most > HAK_SUPERSLAB_SLABS || !hak_span_cache_enter(cache))
        return false;
    uint32_t mask = hak_run_mask(first + count, most - count);
    unsigned place = find_slabs(cache, base, mask);
    if (place == HAK_SPAN_PLACES && find_span(cache, base + ((size_t)count << HAK_SLAB_SHIFT)))
        place = find_slabs(cache, base, mask);
    bool extended = place < HAK_SPAN_PLACES;
    if (extended) {
        set(cache, place, look_at(cache, place) & ~(uint64_t)mask);
        cache->kept -= most - count;
        hak_span_cache_count(cache, most - count);
        hak_span_cache_used(cache);
    }
    hak_span_cache_leave(cache);
    return extended;
}

/* Gives spans to the pool until no more than `most` slabs are kept. */
static void give_spans(struct hak_span_cache *cache, uint32_t most) {
    unsigned count;
    for (char *span; cache->kept > most && (span = next_span(cache, &count));) {
        cache->kept -= count;
        hak_pool_give(span, count);
    }
}

void hak_span_cache_put(struct hak_span_cache *cache, char *base, unsigned count) {
    cache->out -= count;
    bool put = hak_span_cache_enter(cache);
    if (HAK_LIKELY(put)) {
        hak_span_cache_used(cache);
        uint32_t most = hak_span_cache_most(cache);
        put = count <= most;
        if (put) {
            unsigned place = add(cache, base, count);
            cache->kept += count;
            for (unsigned i = 0; i < HAK_SPAN_PLACES && cache->kept > most; i++)
                make_room(cache, place);
            give_spans(cache, most);
            if (cache->kept > most)
                give_place(cache, place);
        }
        hak_span_cache_leave(cache);
    }
    if (!put)
        hak_pool_give(base, count);
}

/* Gives everything to the pool. First, it may keep nothing: its thread has to earn it again. */
static void empty(struct hak_span_cache *cache) {
    /* relaxed, both: as in allow_more */
    atomic_fetch_sub_explicit(&all_allowed, hak_span_cache_allowed(cache), memory_order_relaxed);
    atomic_store_explicit(&cache->allowed, 0, memory_order_relaxed);
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++)
        give_place(cache, i);
    give_spans(cache, 0);
}

void hak_span_cache_empty(struct hak_span_cache *cache) {
    if (!hak_span_cache_enter(cache))
        return;
    empty(cache);
    hak_span_cache_leave(cache);
}

/* ---- by any thread -------------------------------------------------------------------------- */

void hak_span_cache_register(struct hak_span_cache *cache) {
    /* relaxed: the address is only stored; the exchange checks it */
    struct hak_span_cache *first = atomic_load_explicit(&caches, memory_order_relaxed);
    do
        cache->next = first;
    /* release: who finds the cache sees its zeros and its link; relaxed on failure: as above */
    while (!atomic_compare_exchange_weak_explicit(&caches, &first, cache, memory_order_release,
                                                  memory_order_relaxed));
}

struct hak_span_cache *hak_span_caches(void) {
    /* acquire: pairs with the release in hak_span_cache_register, for all further ones, too (each
     * registration's exchange continues the release sequences before it) */
    return atomic_load_explicit(&caches, memory_order_acquire);
}

static size_t slabs_kept(const struct hak_span_cache *cache) {
    size_t slabs = 0;
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++)
        slabs += (unsigned)__builtin_popcount(slabs_of(look_at(cache, i)));
    for (unsigned c = 1; c <= HAK_SPAN_SLABS; c++)
        slabs += (size_t)c * hak_span_cache_depth(cache, c);
    return slabs;
}

#define ALL UINT32_MAX

/* Slabs that a cache didn't need since the last call: all, if its thread didn't use it, and else
 * half of what was left over all the time. relaxed, all: hints. */
static uint32_t spare_slabs(struct hak_span_cache *cache) {
    uint32_t uses = atomic_load_explicit(&cache->uses, memory_order_relaxed);
    uint32_t least = atomic_load_explicit(&cache->least, memory_order_relaxed);
    bool idle = uses == atomic_load_explicit(&cache->seen, memory_order_relaxed);
    atomic_store_explicit(&cache->seen, uses, memory_order_relaxed);
    atomic_store_explicit(&cache->least, (uint32_t)slabs_kept(cache), memory_order_relaxed);
    return idle ? ALL : (least + 1) / 2;
}

/* Gives so many slabs to the pool; with ALL what may be kept comes back, too. */
static void give_spare(struct hak_span_cache *cache, uint32_t spare) {
    if (spare == ALL) {
        empty(cache);
        return;
    }
    uint32_t most = cache->kept > spare ? cache->kept - spare : 0;
    for (unsigned i = 0; i < HAK_SPAN_PLACES && cache->kept > most; i++)
        give_some(cache, i, lowest_of(slabs_of(look_at(cache, i)), cache->kept - most));
    give_spans(cache, most);
    atomic_store_explicit(&cache->least, cache->kept, memory_order_relaxed); /* relaxed: a hint */
}

static void give_own_spare(struct hak_span_cache *cache, uint32_t spare) {
    if (!hak_span_cache_enter(cache))
        return;
    give_spare(cache, spare);
    hak_span_cache_leave(cache);
}

#define CLAIMS 64u /* for one barrier */

struct hak_span_cache *hak_span_caches_trim(struct hak_span_cache *cache,
                                            struct hak_span_cache *own, bool all, unsigned most) {
    while (cache && most) {
        struct {
            struct hak_span_cache *cache;
            uint32_t spare;
        } claims[CLAIMS];
        unsigned claimed = 0;
        for (; cache && most && claimed < CLAIMS; cache = cache->next, most--) {
            uint32_t spare = spare_slabs(cache);
            spare = all ? ALL : spare;
            if (!spare || !(slabs_kept(cache) || hak_span_cache_allowed(cache)))
                continue;
            if (cache == own) {
                give_own_spare(cache, spare);
            } else if (claim(cache)) {
                claims[claimed].cache = cache;
                claims[claimed++].spare = spare;
            }
        }
        bool apart = claimed && hak_os_barrier();
        for (unsigned i = 0; i < claimed; i++) {
            if (apart && is_claimed(claims[i].cache))
                give_spare(claims[i].cache, claims[i].spare);
            unclaim(claims[i].cache);
        }
    }
    return cache;
}

void hak_span_caches_fork_child(void) {
    uint32_t all = 0;
    /* relaxed, all: there is no other thread */
    for (struct hak_span_cache *cache = hak_span_caches(); cache; cache = cache->next) {
        all += hak_span_cache_allowed(cache);
        /* Only these are written to: each page that is becomes the child's own. */
        if (!atomic_load_explicit(&cache->busy, memory_order_relaxed) &&
            !atomic_load_explicit(&cache->wanted, memory_order_relaxed))
            continue;
        atomic_store_explicit(&cache->busy, false, memory_order_relaxed);
        atomic_store_explicit(&cache->wanted, false, memory_order_relaxed);
        cache->kept = (uint32_t)slabs_kept(cache);
    }
    atomic_store_explicit(&all_allowed, all, memory_order_relaxed);
}

size_t hak_span_caches_kept(void) {
    size_t slabs = 0;
    for (struct hak_span_cache *cache = hak_span_caches(); cache; cache = cache->next)
        slabs += slabs_kept(cache);
    return slabs << HAK_SLAB_SHIFT;
}
