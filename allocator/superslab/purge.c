/* Giving the pages of free slabs back to the system. */
#include "superslab/pool_parts.h"
#include "base/counters.h"
#include "os/os.h"

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
    hak_hint_clear(&hak_pool_hints, HAK_SET_DIRTY, ss->id);
    if (!mask) {
        if (atomic_load_explicit(&ss->dirty, memory_order_relaxed))
            hak_hint_set(&hak_pool_hints, HAK_SET_DIRTY, ss->id);
        return 0;
    }
    char *base = hak_superslab_base(ss);
    uint32_t purged = 0;
    for (uint32_t rest = mask; rest;) {
        unsigned first = (unsigned)__builtin_ctz(rest);
        unsigned count = 0;
        while (first + count < HAK_SUPERSLAB_SLABS && (rest >> (first + count) & 1u))
            count++;
        rest &= ~hak_run_mask(first, count);
        /* What is refused stays dirty, and is tried again after another delay. */
        if (!hak_os_purge(base + ((size_t)first << HAK_SLAB_SHIFT),
                          (size_t)count << HAK_SLAB_SHIFT))
            continue;
        purged |= hak_run_mask(first, count);
        hak_count(HAK_COUNT_PURGED_SLABS, count);
    }
    atomic_fetch_and_explicit(&ss->dirty, ~purged, memory_order_relaxed);
    /* release: whoever takes them next sees them clean */
    atomic_fetch_or_explicit(&ss->free, mask, memory_order_release);
    hak_pool_file(ss);
    if (atomic_load_explicit(&ss->dirty, memory_order_relaxed)) {
        atomic_store_explicit(&ss->dirty_since, now, memory_order_relaxed);
        hak_hint_set(&hak_pool_hints, HAK_SET_DIRTY, ss->id);
    }
    return (unsigned)__builtin_popcount(purged);
}

static _Atomic uint32_t cursor; /* where the last call stopped; a hint, and so relaxed */

bool hak_pool_purge_is_through(void) { /* relaxed: as said there */
    return atomic_load_explicit(&cursor, memory_order_relaxed) == 0;
}

/* relaxed, the cursor: as said there */
size_t hak_pool_purge(uint64_t now, uint64_t delay, unsigned most) {
    size_t purged = 0;
    uint32_t total = hak_pool_superslabs();
    uint32_t start = atomic_load_explicit(&cursor, memory_order_relaxed);
    for (unsigned i = 0; i < most; i++) {
        int64_t id = hak_hint_find(&hak_pool_hints, HAK_SET_DIRTY, start, total);
        if (id < 0) {
            start = 0;
            break;
        }
        purged += purge_superslab(hak_pool_superslab((uint32_t)id), now, delay);
        start = (uint32_t)id + 1;
    }
    atomic_store_explicit(&cursor, start, memory_order_relaxed);
    return purged;
}
