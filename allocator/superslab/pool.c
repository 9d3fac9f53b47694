/* The shared pool: which slabs of which SuperSlab are free, or wait for an owner. */
#include "superslab/superslab.h"
#include "superslab/arena.h"
#include "superslab/hint_bitmap.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/lock.h"
#include "base/options.h"
#include "os/os.h"

#include <errno.h>
#include <pthread.h>

#define ALL_FREE 0xfffffffeu /* every slab but the header's */

/* A SuperSlab with free slabs is in the bitmap of the longest run of them, rounded down to a power
 * of two: 1, 2, 4, 8, 16. One without is in none. */
#define CATEGORIES    5u
#define CATEGORY_NONE CATEGORIES

/* The sets of hints: SuperSlabs whose longest run of free slabs is of a category, those with dirty
 * slabs, those with a slab of a class that has no owner. */
#define SET_FREE(category)     (category)
#define SET_DIRTY              CATEGORIES
#define SET_OFFER(class, list) (CATEGORIES - 1 + 2 * (class) + (list)) /* class is 1 or more */
_Static_assert(SET_OFFER(HAK_CLASS_MAX, 1) < HAK_HINT_SETS, "every set has a column");
#define SET_RELEASED (HAK_HINT_SETS - 1) /* those that hak_pool_release unmapped */
_Static_assert(SET_OFFER(HAK_CLASS_MAX, 1) < SET_RELEASED, "no set has two meanings");
static struct hak_hints hints;

/* By id, in tables that are made as they are needed: one large one would count in full against the
 * commit limit where overcommit is strict. */
struct superslab_table {
    struct hak_superslab *_Atomic at[HAK_HINT_CHUNK];
};
static struct superslab_table *_Atomic tables[HAK_SUPERSLAB_MAX / HAK_HINT_CHUNK];
static _Atomic uint32_t superslab_count;
static pthread_mutex_t grow_lock = PTHREAD_MUTEX_INITIALIZER;

uint32_t hak_pool_superslabs(void) {
    /* acquire: pairs with the release in grow(), so that the table's entries below are seen */
    return atomic_load_explicit(&superslab_count, memory_order_acquire);
}

/* relaxed, both: the id came from a hint that was set, or a count that was read, with acquire,
 * after table and entry were written. */
static struct hak_superslab *superslab_at(int64_t id) {
    struct superslab_table *table =
        atomic_load_explicit(&tables[(size_t)id / HAK_HINT_CHUNK], memory_order_relaxed);
    return atomic_load_explicit(&table->at[(size_t)id % HAK_HINT_CHUNK], memory_order_relaxed);
}

struct hak_superslab *hak_pool_superslab(uint32_t id) {
    return superslab_at(id);
}

bool hak_pool_is_filed(uint32_t id) {
    if (!atomic_load_explicit(&superslab_at(id)->free, memory_order_relaxed)) /* relaxed: at rest */
        return true;
    for (unsigned category = 0; category < CATEGORIES; category++)
        if (hak_hint_find(&hints, SET_FREE(category), id, id + 1) == id)
            return true;
    return false;
}

/* Bits at which a run of `count` set bits starts. */
static uint32_t run_starts(uint32_t mask, unsigned count) {
    unsigned have = 1;
    while (have < count) {
        unsigned step = count - have < have ? count - have : have;
        mask &= mask >> step;
        have += step;
    }
    return mask;
}

static unsigned category_of(uint32_t free) {
    if (!free)
        return CATEGORY_NONE;
    unsigned category = 0;
    while (category + 1 < CATEGORIES && run_starts(free, 2u << category))
        category++;
    return category;
}

/* Puts a SuperSlab into the bitmap where its free slabs belong. Two threads may do so at once and
 * leave it in a wrong one; the next who finds it there puts that right. */
static void file(struct hak_superslab *ss) {
    for (;;) {
        /* acquire, acq_rel: the mask is read after a thread that filed before has read it */
        uint32_t free = atomic_load_explicit(&ss->free, memory_order_acquire);
        unsigned now = category_of(free);
        if (atomic_load_explicit(&ss->category, memory_order_acquire) != now) {
            unsigned old = atomic_exchange_explicit(&ss->category, now, memory_order_acq_rel);
            if (old != now) {
                if (old < CATEGORIES)
                    hak_hint_clear(&hints, SET_FREE(old), ss->id);
                if (now < CATEGORIES)
                    hak_hint_set(&hints, SET_FREE(now), ss->id);
                /* Another thread may have put it back into the set that it was just taken out
                 * of, in between: its exchange came later, so the category tells. */
                unsigned later = atomic_load_explicit(&ss->category, memory_order_acquire);
                if (later != now && later < CATEGORIES)
                    hak_hint_set(&hints, SET_FREE(later), ss->id);
            }
        }
        /* A read-modify-write: whoever gives or takes does so before it, and is seen here, or after
         * it, and then sees by its acq_rel the category that was exchanged above. A load could come
         * before the exchange, and both would miss the other. */
        if (atomic_fetch_or_explicit(&ss->free, 0, memory_order_acq_rel) == free)
            return;
    }
}

/* A SuperSlab was found in bitmap `category` and could not serve. acquire: as in file(). */
static void refile(struct hak_superslab *ss, unsigned category) {
    file(ss);
    unsigned right = atomic_load_explicit(&ss->category, memory_order_acquire);
    if (right == category)
        return;
    hak_hint_clear(&hints, SET_FREE(category), ss->id);
    right = atomic_load_explicit(&ss->category, memory_order_acquire);
    if (right < CATEGORIES)
        hak_hint_set(&hints, SET_FREE(right), ss->id);
}

static uint32_t run_mask(unsigned first, unsigned count) {
    return (count >= 32 ? ~(uint32_t)0 : (((uint32_t)1 << count) - 1)) << first;
}

/* Takes `count` slabs of a SuperSlab, or returns NULL. Those that have pages come first, or are all
 * that will do. */
static char *take_from(struct hak_superslab *ss, unsigned count, bool *zeroed, bool only_dirty) {
    /* relaxed, and on failure: the exchange checks the value */
    uint32_t free = atomic_load_explicit(&ss->free, memory_order_relaxed);
    for (;;) {
        /* relaxed: a preference */
        uint32_t starts =
            run_starts(free & atomic_load_explicit(&ss->dirty, memory_order_relaxed), count);
        if (!starts && !only_dirty)
            starts = run_starts(free, count);
        if (!starts)
            return NULL;
        unsigned first = (unsigned)__builtin_ctz(starts);
        uint32_t mask = run_mask(first, count);
        /* acquire: all that the last user of these slabs did to them lies before */
        if (atomic_compare_exchange_weak_explicit(&ss->free, &free, free & ~mask,
                                                  memory_order_acquire, memory_order_relaxed)) {
            /* relaxed: the bits of these slabs were set before their giver's release */
            uint32_t dirty = atomic_load_explicit(&ss->dirty, memory_order_relaxed) & mask;
            if (dirty)
                atomic_fetch_and_explicit(&ss->dirty, ~mask, memory_order_relaxed);
            *zeroed = !dirty;
            file(ss);
            uintptr_t base = (uintptr_t)ss & ~(uintptr_t)(HAK_SUPERSLAB_SIZE - 1);
            return (char *)(base + ((uintptr_t)first << HAK_SLAB_SHIFT));
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
        int64_t id = hak_hint_find(&hints, SET_DIRTY, start, total);
        if (id < 0)
            break;
        struct hak_superslab *ss = superslab_at(id);
        base = take_from(ss, count, &zeroed, true);
        if (base) {
            *served = ss;
        } else if (!atomic_load_explicit(&ss->dirty, memory_order_relaxed)) {
            /* relaxed, twice: whoever sets a bit in between sets the hint after it */
            hak_hint_clear(&hints, SET_DIRTY, ss->id);
            if (atomic_load_explicit(&ss->dirty, memory_order_relaxed))
                hak_hint_set(&hints, SET_DIRTY, ss->id);
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
    for (unsigned category = lowest; category < CATEGORIES; category++) {
        uint32_t start = 0;
        /* In the category of `count` rounded down not every member fits: bound the search. */
        for (unsigned tries = 0; tries < 16; tries++) {
            int64_t id = hak_hint_find(&hints, SET_FREE(category), start, total);
            if (id < 0)
                break;
            struct hak_superslab *ss = superslab_at(id);
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

/* The table for an id, and the hints' chunk; NULL without memory. Under the lock. */
static struct superslab_table *table_for(uint32_t id) {
    if (id >= HAK_SUPERSLAB_MAX)
        return NULL;
    struct superslab_table *_Atomic *place = &tables[id / HAK_HINT_CHUNK];
    /* relaxed: as in grow() */
    struct superslab_table *table = atomic_load_explicit(place, memory_order_relaxed);
    if (!table && (table = hak_os_meta(sizeof *table, HAK_CACHE_LINE)))
        atomic_store_explicit(place, table, memory_order_relaxed);
    if (!table || hak_hint_chunk_of(&hints, id))
        return table;
    /* At its own page, so that summaries and first words share one. */
    struct hak_hint_chunk *chunk = hak_os_meta(sizeof *chunk, 4096);
    if (!chunk)
        return NULL;
    hak_hint_add_chunk(&hints, id, chunk);
    return table;
}

/* ---- where address space is short ------------------------------------------------------------ */

#define BODY_SIZE (HAK_SUPERSLAB_SIZE - HAK_SLAB_SIZE) /* bytes: all slabs but the header's */

static char *body_of(const struct hak_superslab *ss) {
    return (char *)(((uintptr_t)ss & ~(uintptr_t)(HAK_SUPERSLAB_SIZE - 1)) + HAK_SLAB_SIZE);
}

size_t hak_pool_release(void) {
    hak_lock(&grow_lock);
    size_t bytes = hak_arena_release();
    uint32_t total = hak_pool_superslabs();
    for (uint32_t id = 0; id < total; id++) {
        struct hak_superslab *ss = superslab_at(id);
        uint32_t free = ALL_FREE;
        /* acquire: as in take_from; relaxed for the dirty bits, as there */
        if (!atomic_compare_exchange_strong_explicit(&ss->free, &free, 0, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        if (hak_pool_is_held()) {
            /* release: as in hak_pool_give */
            atomic_fetch_or_explicit(&ss->free, ALL_FREE, memory_order_release);
            file(ss);
            break;
        }
        atomic_store_explicit(&ss->dirty, 0, memory_order_relaxed);
        file(ss);
        hak_os_unmap(body_of(ss), BODY_SIZE);
        hak_hint_set(&hints, SET_RELEASED, id);
        bytes += BODY_SIZE;
    }
    hak_unlock(&grow_lock);
    return bytes;
}

/* A SuperSlab that was released, with its pages again; NULL if there is none, or memory, or the
 * next few have something else in their place now. Under the lock. */
static struct hak_superslab *revive(void) {
    static uint32_t next; /* where to go on, under the lock */
    uint32_t total = hak_pool_superslabs();
    for (unsigned tries = 0; tries < 16; tries++) {
        int64_t id = hak_hint_find(&hints, SET_RELEASED, next, total);
        if (id < 0 && next) /* from the first on again */
            id = hak_hint_find(&hints, SET_RELEASED, next = 0, total);
        if (id < 0)
            break;
        next = (uint32_t)id + 1;
        struct hak_superslab *ss = superslab_at(id);
        if (!hak_os_map_at(body_of(ss), BODY_SIZE))
            continue;
        hak_hint_clear(&hints, SET_RELEASED, (uint32_t)id);
        if (!hak_option(HAK_OPT_THP))
            hak_os_no_huge_pages(body_of(ss), BODY_SIZE);
        /* release: whoever takes of them sees that they are clean */
        atomic_store_explicit(&ss->free, ALL_FREE, memory_order_release);
        return ss;
    }
    return NULL;
}

static struct hak_superslab *grow(void) {
    hak_lock(&grow_lock);
    struct hak_superslab *revived = revive();
    if (revived) {
        hak_unlock(&grow_lock);
        hak_count(HAK_COUNT_STAGE3_NEW, 1);
        return revived;
    }
    /* relaxed, all but the last: only written under the lock, and released with the count */
    uint32_t id = atomic_load_explicit(&superslab_count, memory_order_relaxed);
    struct superslab_table *table = table_for(id);
    char *region = table ? hak_arena_region() : NULL;
    struct hak_superslab *ss = NULL;
    if (region) {
        ss = hak_superslab_of(region);
        ss->id = id;
        atomic_store_explicit(&ss->category, CATEGORY_NONE, memory_order_relaxed);
        atomic_store_explicit(&ss->free, ALL_FREE, memory_order_relaxed);
        atomic_store_explicit(&table->at[id % HAK_HINT_CHUNK], ss, memory_order_relaxed);
        /* release: whoever sees the new count sees the entry and the header */
        atomic_store_explicit(&superslab_count, id + 1, memory_order_release);
        hak_count(HAK_COUNT_STAGE3_NEW, 1);
    }
    hak_unlock(&grow_lock);
    if (!ss)
        errno = ENOMEM;
    return ss;
}

struct hak_slab_run hak_pool_take(unsigned count, struct hak_superslab **hint, bool may_grow) {
    struct hak_slab_run run = {.base = NULL, .zeroed = false, .grown = false};
    run.base = take_dirty(count, hint);
    if (!run.base && *hint)
        run.base = take_from(*hint, count, &run.zeroed, false);
    if (!run.base)
        run.base = take_from_any(count, &run.zeroed, hint);
    while (!run.base && may_grow) {
        struct hak_superslab *ss = grow();
        if (!ss)
            break;
        /* Not yet in a bitmap: nobody else can have taken from it but by its id as a hint. */
        run.base = take_from(ss, count, &run.zeroed, false);
        run.grown = run.base != NULL;
        if (run.base)
            *hint = ss;
    }
    return run;
}

bool hak_pool_extend(char *base, unsigned count, unsigned wanted) {
    struct hak_superslab *ss = hak_superslab_of(base);
    unsigned first = (unsigned)((uintptr_t)base >> HAK_SLAB_SHIFT) & (HAK_SUPERSLAB_SLABS - 1);
    if (first + wanted > HAK_SUPERSLAB_SLABS)
        return false;
    uint32_t mask = run_mask(first + count, wanted - count);
    /* relaxed, here and for the dirty bits: as in take_from */
    uint32_t free = atomic_load_explicit(&ss->free, memory_order_relaxed);
    do {
        if ((free & mask) != mask)
            return false;
        /* acquire: as in take_from */
    } while (!atomic_compare_exchange_weak_explicit(&ss->free, &free, free & ~mask,
                                                    memory_order_acquire, memory_order_relaxed));
    atomic_fetch_and_explicit(&ss->dirty, ~mask, memory_order_relaxed);
    file(ss);
    return true;
}

void hak_pool_give(char *base, unsigned count) {
    struct hak_superslab *ss = hak_superslab_of(base);
    unsigned first = (unsigned)((uintptr_t)base >> HAK_SLAB_SHIFT) & (HAK_SUPERSLAB_SLABS - 1);
    uint32_t mask = run_mask(first, count);
    /* relaxed: when pages are purged is a matter of milliseconds; the bit itself is released below
     */
    if (!atomic_load_explicit(&ss->dirty, memory_order_relaxed))
        atomic_store_explicit(&ss->dirty_since, hak_os_now_ms(), memory_order_relaxed);
    atomic_fetch_or_explicit(&ss->dirty, mask, memory_order_relaxed);
    /* release: the next taker's acquire sees all that was done to the slabs, the dirty bits too */
    uint32_t old = atomic_fetch_or_explicit(&ss->free, mask, memory_order_release);
    if (old & mask)
        hak_fatal("hakmem: slab %p was given back twice; the heap is corrupt\n", (void *)base);
    file(ss);
    hak_hint_set(&hints, SET_DIRTY, ss->id);
}

void hak_pool_offer(TinySlabMeta *slab, enum hak_offer list) {
    /* From the metadata's own address: the slab may be anybody's by now. */
    struct hak_superslab *ss = (struct hak_superslab *)((uintptr_t)slab & ~(uintptr_t)4095);
    /* relaxed: a hint, where the slab isn't the caller's */
    unsigned class_index = atomic_load_explicit(&slab->class_index, memory_order_relaxed);
    /* release: who finds the flag sees that the slab has no owner; else it would end the offer and
     * not claim. (The bit below may have been set by another slab's offer.) */
    atomic_store_explicit(&slab->offered[list], true, memory_order_release);
    hak_hint_set(&hints, SET_OFFER(class_index, list), ss->id);
}

TinySlabMeta *hak_pool_look_for_offer(unsigned class_index, enum hak_offer list) {
    uint32_t total = hak_pool_superslabs();
    for (;;) {
        int64_t id = hak_hint_find(&hints, SET_OFFER(class_index, list), 0, total);
        if (id < 0)
            return NULL;
        /* Cleared before the slabs are looked at: an offer that comes later sets it again. */
        hak_hint_clear(&hints, SET_OFFER(class_index, list), (uint32_t)id);
        struct hak_superslab *ss = superslab_at(id);
        TinySlabMeta *found = NULL;
        for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS - 1; i++) {
            TinySlabMeta *slab = &ss->slabs[i];
            /* acquire: pairs with the offer's release. relaxed for the others: the claim that
             * follows decides; nothing of the slab is used before. */
            if (!atomic_load_explicit(&slab->offered[list], memory_order_acquire) ||
                atomic_load_explicit(&slab->owner, memory_order_relaxed) != HAK_OWNER_ABANDONED ||
                atomic_load_explicit(&slab->class_index, memory_order_relaxed) != class_index)
                continue;
            if (found) { /* there is one more: others should find it */
                hak_hint_set(&hints, SET_OFFER(class_index, list), (uint32_t)id);
                break;
            }
            found = slab;
        }
        if (found) {
            /* Whoever leaves it again with blocks to give offers it again: so every search ends,
             * even among many that have none.
             * relaxed: an offer that comes in between is of the slab that is claimed next. */
            atomic_store_explicit(&found->offered[list], false, memory_order_relaxed);
            return found;
        }
    }
}

/* Returns the slabs that were purged. */
static unsigned purge_superslab(struct hak_superslab *ss, uint64_t now, uint64_t delay) {
    /* relaxed, here and below: as in hak_pool_give */
    uint64_t since = atomic_load_explicit(&ss->dirty_since, memory_order_relaxed);
    if (now < since + delay)
        return 0;
    /* Taken out of the free ones while their pages go, so that nobody is given them meanwhile.
     * acquire: as in take_from. */
    uint32_t free = atomic_load_explicit(&ss->free, memory_order_relaxed), mask;
    do {
        mask = free & atomic_load_explicit(&ss->dirty, memory_order_relaxed);
        if (!mask)
            break;
    } while (!atomic_compare_exchange_weak_explicit(&ss->free, &free, free & ~mask,
                                                    memory_order_acquire, memory_order_relaxed));
    hak_hint_clear(&hints, SET_DIRTY, ss->id);
    if (!mask) {
        if (atomic_load_explicit(&ss->dirty, memory_order_relaxed))
            hak_hint_set(&hints, SET_DIRTY, ss->id);
        return 0;
    }
    char *base = (char *)((uintptr_t)ss & ~(uintptr_t)(HAK_SUPERSLAB_SIZE - 1));
    uint32_t purged = 0;
    for (uint32_t rest = mask; rest;) {
        unsigned first = (unsigned)__builtin_ctz(rest);
        unsigned count = 0;
        while (first + count < HAK_SUPERSLAB_SLABS && (rest >> (first + count) & 1u))
            count++;
        rest &= ~run_mask(first, count);
        /* What is refused stays dirty, and is tried again after another delay. */
        if (!hak_os_purge(base + ((size_t)first << HAK_SLAB_SHIFT),
                          (size_t)count << HAK_SLAB_SHIFT))
            continue;
        purged |= run_mask(first, count);
        hak_count(HAK_COUNT_PURGED_SLABS, count);
    }
    atomic_fetch_and_explicit(&ss->dirty, ~purged, memory_order_relaxed);
    /* release: whoever takes them next sees them clean */
    atomic_fetch_or_explicit(&ss->free, mask, memory_order_release);
    file(ss);
    if (atomic_load_explicit(&ss->dirty, memory_order_relaxed)) {
        atomic_store_explicit(&ss->dirty_since, now, memory_order_relaxed);
        hak_hint_set(&hints, SET_DIRTY, ss->id);
    }
    return (unsigned)__builtin_popcount(purged);
}

size_t hak_pool_purge(uint64_t now, uint64_t delay, unsigned most) {
    size_t purged = 0;
    static _Atomic uint32_t cursor; /* where the last call stopped; a hint, and so relaxed */
    uint32_t total = hak_pool_superslabs();
    uint32_t start = atomic_load_explicit(&cursor, memory_order_relaxed);
    for (unsigned i = 0; i < most; i++) {
        int64_t id = hak_hint_find(&hints, SET_DIRTY, start, total);
        if (id < 0) {
            start = 0;
            break;
        }
        purged += purge_superslab(superslab_at(id), now, delay);
        start = (uint32_t)id + 1;
    }
    atomic_store_explicit(&cursor, start, memory_order_relaxed);
    return purged;
}

void hak_pool_fork_prepare(void) {
    hak_lock(&grow_lock);
}
void hak_pool_fork_release(void) {
    hak_unlock(&grow_lock);
}
