/* The shared pool: which slabs of which SuperSlab are free, or wait for an owner. */
#include "superslab/pool_parts.h"
#include "base/diag.h"
#include "os/os.h"

struct hak_hints hak_pool_hints;

bool hak_pool_is_filed(uint32_t id) {
    if (!atomic_load_explicit(&hak_pool_superslab(id)->free,
                              memory_order_relaxed)) /* relaxed: at rest */
        return true;
    for (unsigned category = 0; category < HAK_CATEGORIES; category++)
        if (hak_hint_find(&hak_pool_hints, HAK_SET_FREE(category), id, id + 1) == id)
            return true;
    return false;
}

static unsigned category_of(uint32_t free) {
    if (!free)
        return HAK_CATEGORY_NONE;
    unsigned category = 0;
    /* Of the bits where a run of so many starts, those where one twice as long does. */
    for (uint32_t starts = free; category + 1 < HAK_CATEGORIES; category++) {
        starts &= starts >> (1u << category);
        if (!starts)
            break;
    }
    return category;
}

/* Puts a SuperSlab into the bitmap where its free slabs belong. Two threads may do so at once and
 * leave it in a wrong one; the next who finds it there puts that right. */
void hak_pool_file(struct hak_superslab *ss) {
    for (;;) {
        /* acquire, acq_rel: the mask is read after a thread that filed before has read it */
        uint32_t free = atomic_load_explicit(&ss->free, memory_order_acquire);
        unsigned now = category_of(free);
        if (atomic_load_explicit(&ss->category, memory_order_acquire) != now) {
            unsigned old = atomic_exchange_explicit(&ss->category, now, memory_order_acq_rel);
            if (old != now) {
                if (old < HAK_CATEGORIES)
                    hak_hint_clear(&hak_pool_hints, HAK_SET_FREE(old), ss->id);
                if (now < HAK_CATEGORIES)
                    hak_hint_set(&hak_pool_hints, HAK_SET_FREE(now), ss->id);
                /* Another thread may have put it back into the set that it was just taken out
                 * of, in between: its exchange came later, so the category tells. */
                unsigned later = atomic_load_explicit(&ss->category, memory_order_acquire);
                if (later != now && later < HAK_CATEGORIES)
                    hak_hint_set(&hak_pool_hints, HAK_SET_FREE(later), ss->id);
            }
        }
        /* A read-modify-write: whoever gives or takes does so before it, and is seen here, or after
         * it, and then sees by its acq_rel the category that was exchanged above. A load could come
         * before the exchange, and both would miss the other. */
        if (atomic_fetch_or_explicit(&ss->free, 0, memory_order_acq_rel) == free)
            return;
    }
}

/* A SuperSlab was found in bitmap `category` and could not serve. acquire: as in hak_pool_file. */
static void refile(struct hak_superslab *ss, unsigned category) {
    hak_pool_file(ss);
    unsigned right = atomic_load_explicit(&ss->category, memory_order_acquire);
    if (right == category)
        return;
    hak_hint_clear(&hak_pool_hints, HAK_SET_FREE(category), ss->id);
    right = atomic_load_explicit(&ss->category, memory_order_acquire);
    if (right < HAK_CATEGORIES)
        hak_hint_set(&hak_pool_hints, HAK_SET_FREE(right), ss->id);
}

/* Takes `count` slabs of a SuperSlab, or returns NULL. Those that have pages come first, or are all
 * that will do. */
static char *take_from(struct hak_superslab *ss, unsigned count, bool *zeroed, bool only_dirty) {
    /* relaxed, and on failure: the exchange checks the value */
    uint32_t free = atomic_load_explicit(&ss->free, memory_order_relaxed);
    for (;;) {
        /* relaxed: a preference */
        uint64_t starts =
            hak_run_starts(free & atomic_load_explicit(&ss->dirty, memory_order_relaxed), count);
        if (!starts && !only_dirty)
            starts = hak_run_starts(free, count);
        if (!starts)
            return NULL;
        unsigned first = (unsigned)__builtin_ctzll(starts);
        uint32_t mask = hak_run_mask(first, count);
        /* acquire: all that the last user of these slabs did to them lies before */
        if (atomic_compare_exchange_weak_explicit(&ss->free, &free, free & ~mask,
                                                  memory_order_acquire, memory_order_relaxed)) {
            /* relaxed: the bits of these slabs were set before their giver's release */
            uint32_t dirty = atomic_load_explicit(&ss->dirty, memory_order_relaxed) & mask;
            if (dirty)
                atomic_fetch_and_explicit(&ss->dirty, ~mask, memory_order_relaxed);
            *zeroed = !dirty;
            hak_pool_file(ss);
            return hak_superslab_base(ss) + ((size_t)first << HAK_SLAB_SHIFT);
        }
    }
}

#define DIRTY_TRIES 8u

/* Slabs whose pages are still there: used again before others they cost no page fault, and no more
 * memory. */
static char *take_dirty(unsigned count, struct hak_superslab **served) {
    bool zeroed;
    char *base = *served ? take_from(*served, count, &zeroed, true) : NULL;
    uint32_t total = hak_pool_superslabs(), start = 0;
    for (unsigned tries = 0; !base && tries < DIRTY_TRIES; tries++) {
        int64_t id = hak_hint_find(&hak_pool_hints, HAK_SET_DIRTY, start, total);
        if (id < 0)
            break;
        struct hak_superslab *ss = hak_pool_superslab((uint32_t)id);
        base = take_from(ss, count, &zeroed, true);
        if (base) {
            *served = ss;
        } else if (!atomic_load_explicit(&ss->dirty, memory_order_relaxed)) {
            /* relaxed, twice: whoever sets a bit in between sets the hint after it */
            hak_hint_clear(&hak_pool_hints, HAK_SET_DIRTY, ss->id);
            if (atomic_load_explicit(&ss->dirty, memory_order_relaxed))
                hak_hint_set(&hak_pool_hints, HAK_SET_DIRTY, ss->id);
        }
        start = (uint32_t)id + 1;
    }
    return base;
}

static char *take_from_any(unsigned count, bool *zeroed, struct hak_superslab **served) {
    unsigned lowest = 0; /* the first category that may have so long a run */
    while ((2u << lowest) <= count)
        lowest++;
    uint32_t total = hak_pool_superslabs();
    for (unsigned category = lowest; category < HAK_CATEGORIES; category++) {
        uint32_t start = 0;
        /* In the category of `count` rounded down not every member fits: bound the search. */
        for (unsigned tries = 0; tries < 16; tries++) {
            int64_t id = hak_hint_find(&hak_pool_hints, HAK_SET_FREE(category), start, total);
            if (id < 0)
                break;
            struct hak_superslab *ss = hak_pool_superslab((uint32_t)id);
            char *base = take_from(ss, count, zeroed, false);
            if (base) {
                *served = ss;
                return base;
            }
            refile(ss, category);
            start = (uint32_t)id + 1;
        }
    }
    return NULL;
}

struct hak_slab_run hak_pool_take(unsigned count, struct hak_superslab **hint, bool may_grow) {
    struct hak_slab_run run = {.base = NULL, .zeroed = false, .grown = false};
    run.base = take_dirty(count, hint);
    if (!run.base && *hint)
        run.base = take_from(*hint, count, &run.zeroed, false);
    if (!run.base)
        run.base = take_from_any(count, &run.zeroed, hint);
    while (!run.base && may_grow) {
        struct hak_superslab *ss = hak_pool_grow();
        if (!ss)
            break;
        /* In no set yet: nobody else can have taken from it but by its number. */
        run.base = take_from(ss, count, &run.zeroed, false);
        run.grown = run.base != NULL;
        if (run.base)
            *hint = ss;
    }
    return run;
}

bool hak_pool_extend(char *base, unsigned count, unsigned wanted) {
    struct hak_superslab *ss = hak_superslab_of(base);
    unsigned first = hak_slab_number(base);
    if (first + wanted > HAK_SUPERSLAB_SLABS)
        return false;
    uint32_t mask = hak_run_mask(first + count, wanted - count);
    /* relaxed, here and for the dirty bits: as in take_from */
    uint32_t free = atomic_load_explicit(&ss->free, memory_order_relaxed);
    do {
        if ((free & mask) != mask)
            return false;
        /* acquire: as in take_from */
    } while (!atomic_compare_exchange_weak_explicit(&ss->free, &free, free & ~mask,
                                                    memory_order_acquire, memory_order_relaxed));
    atomic_fetch_and_explicit(&ss->dirty, ~mask, memory_order_relaxed);
    hak_pool_file(ss);
    return true;
}

void hak_pool_give(char *base, unsigned count) {
    hak_pool_give_mask(hak_superslab_of(base), hak_run_mask(hak_slab_number(base), count));
}

void hak_pool_give_mask(struct hak_superslab *ss, uint32_t mask) {
    /* relaxed: when pages are purged is a matter of milliseconds; the bit itself is released below
     */
    if (!atomic_load_explicit(&ss->dirty, memory_order_relaxed))
        atomic_store_explicit(&ss->dirty_since, hak_os_now_ms(), memory_order_relaxed);
    atomic_fetch_or_explicit(&ss->dirty, mask, memory_order_relaxed);
    /* release: the next taker's acquire sees all that was done to the slabs, the dirty bits too */
    uint32_t old = atomic_fetch_or_explicit(&ss->free, mask, memory_order_release);
    if (old & mask)
        hak_fatal("hakmem: slab %p was given back twice; the heap is corrupt\n",
                  (void *)(hak_superslab_base(ss) +
                           ((size_t)__builtin_ctz(old & mask) << HAK_SLAB_SHIFT)));
    hak_pool_file(ss);
    hak_hint_set(&hak_pool_hints, HAK_SET_DIRTY, ss->id);
}
