/* Reserving large pieces, and single mappings where that fails; without a lock. */
#include "superslab/arena.h"
#include "base/counters.h"
#include "base/options.h"
#include "os/os.h"

#include <stdatomic.h>

/* What is left of the piece being used, in one word: the number (address / 2 MiB) of the next
 * region in the upper half, that of the piece's end in the lower. The word says all there is to
 * say, so that a compare-and-swap that meets the same value again finds the same state. */
static _Atomic uint64_t rest;

static uint64_t word_of(uintptr_t next, uintptr_t end) {
    return (uint64_t)(next >> HAK_SUPERSLAB_SHIFT) << 32 | (uint64_t)(end >> HAK_SUPERSLAB_SHIFT);
}
static uintptr_t next_of(uint64_t word) {
    return (uintptr_t)(word >> 32) << HAK_SUPERSLAB_SHIFT;
}
static uintptr_t end_of(uint64_t word) {
    return (uintptr_t)(word & UINT32_MAX) << HAK_SUPERSLAB_SHIFT;
}

size_t hak_arena_piece_size(void) {
    size_t wanted = (size_t)hak_option(HAK_OPT_ARENA_RESERVE) << 20;
    size_t limit = hak_os_address_limit();
    return limit != SIZE_MAX && wanted > limit / 32 ? limit / 32 : wanted;
}

/* A new piece, as the word would say it; 0: there is none. */
static uint64_t reserve_piece(void) {
    /* relaxed: a thread that doesn't see it yet is refused once more */
    static _Atomic bool refused;
    size_t wanted = hak_arena_piece_size() & ~(HAK_SUPERSLAB_SIZE - 1);
    if (atomic_load_explicit(&refused, memory_order_relaxed))
        return 0;
    for (; wanted >= 4 * HAK_SUPERSLAB_SIZE; wanted = (wanted / 2) & ~(HAK_SUPERSLAB_SIZE - 1)) {
        char *piece = hak_os_reserve(wanted, HAK_SUPERSLAB_SIZE);
        if (piece) {
            if (!hak_option(HAK_OPT_THP))
                hak_os_no_huge_pages(piece, wanted);
            return word_of((uintptr_t)piece, (uintptr_t)piece + wanted);
        }
        /* not where none was asked for: the option may change */
        atomic_store_explicit(&refused, true, memory_order_relaxed);
    }
    return 0;
}

/* The next region of a piece, which the caller has alone; NULL when no piece is to be had. */
static char *take_region(void) {
    /* acquire, here and below, and release: a region comes with all that was done to its piece. */
    uint64_t old = atomic_load_explicit(&rest, memory_order_acquire);
    for (;;) {
        uint64_t piece = 0, now = old;
        if (next_of(old) == end_of(old) && !(now = piece = reserve_piece()))
            return NULL;
        uint64_t after = word_of(next_of(now) + HAK_SUPERSLAB_SIZE, end_of(now));
        if (atomic_compare_exchange_strong_explicit(&rest, &old, after, memory_order_acq_rel,
                                                    memory_order_acquire))
            return (char *)next_of(now);
        if (piece) /* another thread has reserved one meanwhile */
            hak_os_unreserve((void *)next_of(piece), end_of(piece) - next_of(piece));
    }
}

char *hak_arena_region(void) {
    char *region = take_region();
    if (region) {
        if (hak_os_commit(region, HAK_SUPERSLAB_SIZE))
            return region;
        /* Back to its piece, if nobody took another one meanwhile. acq_rel: as in take_region;
         * relaxed on failure: the value isn't used */
        uintptr_t next = (uintptr_t)region + HAK_SUPERSLAB_SIZE;
        uint64_t seen = atomic_load_explicit(&rest, memory_order_relaxed);
        if (next_of(seen) != next || !atomic_compare_exchange_strong_explicit(
                                         &rest, &seen, word_of((uintptr_t)region, end_of(seen)),
                                         memory_order_acq_rel, memory_order_relaxed))
            hak_os_unreserve(region, HAK_SUPERSLAB_SIZE);
        return NULL;
    }
    region = hak_os_map(HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE);
    if (region) {
        if (!hak_option(HAK_OPT_THP))
            hak_os_no_huge_pages(region, HAK_SUPERSLAB_SIZE);
        hak_count(HAK_COUNT_ARENA_SINGLE, 1);
    }
    return region;
}

size_t hak_arena_release(void) {
    /* acq_rel: as in take_region */
    uint64_t old = atomic_exchange_explicit(&rest, 0, memory_order_acq_rel);
    size_t bytes = end_of(old) - next_of(old);
    if (bytes)
        hak_os_unreserve((void *)next_of(old), bytes);
    return bytes;
}
