/* Lock-free sets of SuperSlab numbers, for finding one with some property.
 *
 * Membership is a hint: a member may have lost the property by the time it is looked at, and
 * whoever finds that out takes it out again and looks once more. Two levels: a summary bit says
 * that a word of 64 members may have one set.
 *
 * The words of all sets for the same 64 SuperSlabs lie side by side, so that a small heap touches
 * one page of this table and not one for each set. */
#ifndef HAK_HINT_BITMAP_H
#define HAK_HINT_BITMAP_H

#include "base/config.h"

#include <stdatomic.h>

#define HAK_SUPERSLAB_MAX ((size_t)1 << 20) /* SuperSlabs: 2 TiB */
#define HAK_HINT_WORDS    (HAK_SUPERSLAB_MAX / 64)
#define HAK_HINT_SUMMARY  (HAK_HINT_WORDS / 64)
#define HAK_HINT_SETS     128u

struct hak_hints {
    _Alignas(4096) _Atomic uint64_t words[HAK_HINT_WORDS][HAK_HINT_SETS];
    _Atomic uint64_t summary[HAK_HINT_SUMMARY][HAK_HINT_SETS];
};

/* acq_rel on the words. release: who finds the bit sees what made its setter set it. acquire, for
 * the summary: had a clearer already looked at the word for the second time, its clearing of the
 * summary is seen here, and made good; had it not, it will see this bit (both are
 * read-modify-writes of one word, so one of them comes first). acq_rel on the summary: who finds
 * its bit finds the word's. relaxed look at it: decided by the acquire just before. */
static inline void hak_hint_set(struct hak_hints *hints, unsigned set, uint32_t id) {
    uint64_t bit = (uint64_t)1 << (id & 63);
    _Atomic uint64_t *word = &hints->words[id >> 6][set];
    uint64_t old = atomic_fetch_or_explicit(word, bit, memory_order_acq_rel);
    uint64_t summary_bit = (uint64_t)1 << ((id >> 6) & 63);
    _Atomic uint64_t *summary = &hints->summary[id >> 12][set];
    if (!old || !(atomic_load_explicit(summary, memory_order_relaxed) & summary_bit))
        atomic_fetch_or_explicit(summary, summary_bit, memory_order_acq_rel);
}

/* True when the bit was set. acq_rel. acquire: what is read afterwards is no older than the bit
 * that was cleared; release: with hak_hint_set's acquire, as told there. */
static inline bool hak_hint_clear(struct hak_hints *hints, unsigned set, uint32_t id) {
    uint64_t bit = (uint64_t)1 << (id & 63);
    _Atomic uint64_t *word = &hints->words[id >> 6][set];
    uint64_t old = atomic_fetch_and_explicit(word, ~bit, memory_order_acq_rel);
    if (old == bit) {
        uint64_t summary_bit = (uint64_t)1 << ((id >> 6) & 63);
        _Atomic uint64_t *summary = &hints->summary[id >> 12][set];
        atomic_fetch_and_explicit(summary, ~summary_bit, memory_order_acq_rel);
        /* A setter may have found the summary bit still set in between: look again. The word's
         * read-modify-writes are ordered among themselves, so one of both sees the other. */
        if (atomic_fetch_or_explicit(word, 0, memory_order_acq_rel))
            atomic_fetch_or_explicit(summary, summary_bit, memory_order_acq_rel);
    }
    return (old & bit) != 0;
}

/* The lowest member from `start` on and below `count`, or -1. Reads count / 4096 summary words.
 * acquire: pairs with the setter's acq_rel. A bit that is set meanwhile may be missed. */
static inline int64_t hak_hint_find(struct hak_hints *hints, unsigned set, uint32_t start,
                                    uint32_t count) {
    uint32_t word_index = start >> 6;
    uint64_t low_mask = ~(uint64_t)0 << (start & 63);
    for (uint32_t s = start >> 12; (uint64_t)s << 12 < count; s++) {
        uint64_t summary = atomic_load_explicit(&hints->summary[s][set], memory_order_acquire);
        if (s == start >> 12)
            summary &= ~(uint64_t)0 << (word_index & 63);
        while (summary) {
            uint32_t w = (s << 6) + (uint32_t)__builtin_ctzll(summary);
            uint64_t bits = atomic_load_explicit(&hints->words[w][set], memory_order_acquire);
            if (w == word_index)
                bits &= low_mask;
            if (bits)
                return (int64_t)(w << 6) + __builtin_ctzll(bits);
            summary &= summary - 1;
        }
    }
    return -1;
}

#endif
