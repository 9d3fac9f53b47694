/* Lock-free sets of SuperSlab numbers, for finding one with some property.
 *
 * Membership is a hint: a member may have lost the property by the time it is looked at, and
 * whoever finds that out takes it out again and looks once more. Two levels: a summary bit says
 * that a word of 64 members may have one set.
 *
 * The table grows by chunks of 4,096 SuperSlabs, 69 KiB each. In a chunk the words of all sets for
 * the same 64 SuperSlabs lie side by side, after the summaries, so that a small heap touches one
 * page of it and not one for each set. */
#ifndef HAK_HINT_BITMAP_H
#define HAK_HINT_BITMAP_H

#include "base/config.h"

#include <stdatomic.h>

#define HAK_SUPERSLAB_MAX ((size_t)1 << 20) /* SuperSlabs: 2 TiB */
#define HAK_HINT_CHUNK    ((size_t)4096)    /* SuperSlabs, by whose words one summary word goes */
#define HAK_HINT_SETS     136u

struct hak_hint_chunk {
    _Atomic uint64_t summary[HAK_HINT_SETS];
    _Atomic uint64_t words[HAK_HINT_CHUNK / 64][HAK_HINT_SETS];
};

struct hak_hints {
    struct hak_hint_chunk *_Atomic chunks[HAK_SUPERSLAB_MAX / HAK_HINT_CHUNK];
};

/* Gives the sets room for the chunk in which `id` lies: zeroed, and the table's for ever. Before
 * the first of its SuperSlabs is known to anyone. Where another thread was faster its chunk stays.
 * release: with the acquire of hak_hint_find; acquire on failure: the chunk of the other thread is
 * seen by whoever the caller tells the number. */
static inline void hak_hint_add_chunk(struct hak_hints *hints, uint32_t id,
                                      struct hak_hint_chunk *chunk) {
    struct hak_hint_chunk *none = NULL;
    atomic_compare_exchange_strong_explicit(&hints->chunks[id / HAK_HINT_CHUNK], &none, chunk,
                                            memory_order_release, memory_order_acquire);
}

/* relaxed: who has the number of a SuperSlab read it with acquire after the chunk was there. */
static inline struct hak_hint_chunk *hak_hint_chunk_of(struct hak_hints *hints, uint32_t id) {
    return atomic_load_explicit(&hints->chunks[id / HAK_HINT_CHUNK], memory_order_relaxed);
}

/* acq_rel on the words. release: who finds the bit sees what made its setter set it. acquire, for
 * the summary: had a clearer already looked at the word for the second time, its clearing of the
 * summary is seen here, and made good; had it not, it will see this bit (both are
 * read-modify-writes of one word, so one of them comes first). acq_rel on the summary: who finds
 * its bit finds the word's. relaxed look at it: decided by the acquire just before. */
static inline void hak_hint_set(struct hak_hints *hints, unsigned set, uint32_t id) {
    uint64_t bit = (uint64_t)1 << (id & 63);
    struct hak_hint_chunk *chunk = hak_hint_chunk_of(hints, id);
    _Atomic uint64_t *word = &chunk->words[(id >> 6) & 63][set];
    uint64_t old = atomic_fetch_or_explicit(word, bit, memory_order_acq_rel);
    uint64_t summary_bit = (uint64_t)1 << ((id >> 6) & 63);
    _Atomic uint64_t *summary = &chunk->summary[set];
    if (!old || !(atomic_load_explicit(summary, memory_order_relaxed) & summary_bit))
        atomic_fetch_or_explicit(summary, summary_bit, memory_order_acq_rel);
}

/* True when the bit was set. acq_rel. acquire: what is read afterwards is no older than the bit
 * that was cleared; release: with hak_hint_set's acquire, as told there. */
static inline bool hak_hint_clear(struct hak_hints *hints, unsigned set, uint32_t id) {
    uint64_t bit = (uint64_t)1 << (id & 63);
    struct hak_hint_chunk *chunk = hak_hint_chunk_of(hints, id);
    _Atomic uint64_t *word = &chunk->words[(id >> 6) & 63][set];
    uint64_t old = atomic_fetch_and_explicit(word, ~bit, memory_order_acq_rel);
    if (old == bit) {
        uint64_t summary_bit = (uint64_t)1 << ((id >> 6) & 63);
        _Atomic uint64_t *summary = &chunk->summary[set];
        atomic_fetch_and_explicit(summary, ~summary_bit, memory_order_acq_rel);
        /* A setter may have found the summary bit still set in between: look again. The word's
         * read-modify-writes are ordered among themselves, so one of both sees the other. */
        if (atomic_fetch_or_explicit(word, 0, memory_order_acq_rel))
            atomic_fetch_or_explicit(summary, summary_bit, memory_order_acq_rel);
    }
    return (old & bit) != 0;
}

/* The lowest member from `start` on and below `count`, or -1. Reads count / 4096 summary words.
 * acquire: pairs with the setter's acq_rel, and with the chunk's release. A bit that is set
 * meanwhile may be missed. */
static inline int64_t hak_hint_find(struct hak_hints *hints, unsigned set, uint32_t start,
                                    uint32_t count) {
    uint32_t word_index = start >> 6;
    uint64_t low_mask = ~(uint64_t)0 << (start & 63);
    for (uint32_t s = start >> 12; (uint64_t)s << 12 < count; s++) {
        struct hak_hint_chunk *chunk =
            atomic_load_explicit(&hints->chunks[s], memory_order_acquire);
        if (!chunk)
            continue;
        uint64_t summary = atomic_load_explicit(&chunk->summary[set], memory_order_acquire);
        if (s == start >> 12)
            summary &= ~(uint64_t)0 << (word_index & 63);
        while (summary) {
            uint32_t w = (uint32_t)__builtin_ctzll(summary);
            uint64_t bits = atomic_load_explicit(&chunk->words[w][set], memory_order_acquire);
            w += s << 6;
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
