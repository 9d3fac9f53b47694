/* The only way to a slab's freelist and to its remote queue.
 *
 * The freelist belongs to the slab's owner: blocks that came home, linked through their first
 * word. No accessor here claims anything: see slab.h for the rules, which a build with
 * HAKMEM_DEBUG_OWNERSHIP=1 checks in each of them.
 *
 * The remote queue takes the blocks that other threads free. It is one 64-bit word:
 *
 *    63                       26 25          13 12          1 0
 *   +---------------------------+--------------+-------------+-+
 *   | version (38)              | count (13)   | head (12)   |N|
 *   +---------------------------+--------------+-------------+-+
 *
 * head is the first block's offset from the slab's base in units of 16 bytes, meaningful if
 * count > 0; the blocks are linked through their first word. N says that a thread has taken it
 * upon itself to tell the owner ("the notice is out"). The version goes up whenever the queue is
 * emptied or the notice taken back, so that a compare-and-swap can't mistake a new state for an
 * old one. */
#ifndef SLAB_FREELIST_ATOMIC_H
#define SLAB_FREELIST_ATOMIC_H

#include "slab/ownership.h"

/* ---- the freelist: owner only ---------------------------------------------------------------
 *
 * Memory order, for all of them: relaxed is enough, since between two owners lies a release (the
 * old one's store of the owner word, or the pool's fetch-or that frees the slab) and an acquire
 * (the claim's compare-and-swap, or the pool's that takes it), so that the next owner sees the
 * freelist as the last one left it (C11 7.17.3, 5.1.2.4: synchronises-with, then happens-before);
 * and while there is an owner nobody else reads or writes it. Relaxed is also the least there is:
 * the freelist is an atomic only so that a debug print may look at it. */

/* For printing only: the head's value, stale as soon as it is read. relaxed: nothing is done with
 * it. */
#define SLAB_FREELIST_DEBUG_PTR(slab)                                                              \
    ((void *)atomic_load_explicit(&(slab)->freelist, memory_order_relaxed))

/* The link in a freed block. Plain: whoever holds the block holds the link; it is handed on with
 * the remote word's release, or with the ownership of the slab. */
HAK_INLINE void *slab_block_next(const void *block) {
    return *(void *const *)block;
}
HAK_INLINE void slab_block_set_next(void *block, void *next) {
    *(void **)block = next;
}

/* An empty list for a slab that begins its life, before it has an owner. relaxed: the caller got
 * the slab from the pool and nobody else knows it; the store of the owner word releases it. */
HAK_INLINE void slab_freelist_init(TinySlabMeta *slab) {
    atomic_store_explicit(&slab->freelist, NULL, memory_order_relaxed);
}

/* relaxed: the caller owns the slab, and wrote the value itself or got it with the ownership. */
HAK_INLINE void *slab_freelist_load_relaxed(const TinySlabMeta *slab) {
    hak_slab_check_owner(slab, __func__);
    return atomic_load_explicit(&slab->freelist, memory_order_relaxed);
}

/* relaxed: nobody else reads it before the owner word is released to them. */
HAK_INLINE void slab_freelist_store_relaxed(TinySlabMeta *slab, void *head) {
    hak_slab_check_owner(slab, __func__);
    atomic_store_explicit(&slab->freelist, head, memory_order_relaxed);
}

/* relaxed: as slab_freelist_load_relaxed. */
HAK_INLINE bool slab_freelist_is_empty(const TinySlabMeta *slab) {
    return slab_freelist_load_relaxed(slab) == NULL;
}

/* relaxed: as slab_freelist_load_relaxed. */
HAK_INLINE bool slab_freelist_is_nonempty(const TinySlabMeta *slab) {
    return slab_freelist_load_relaxed(slab) != NULL;
}

/* Takes the first block, or NULL; every caller has something to do then. relaxed: a load and a
 * store, not a read-modify-write, since there is no second writer. */
HAK_INLINE void *slab_freelist_pop_lockfree(TinySlabMeta *slab) {
    void *block = slab_freelist_load_relaxed(slab);
    if (block)
        slab_freelist_store_relaxed(slab, slab_block_next(block));
    return block;
}

/* Puts a block first. relaxed: as slab_freelist_pop_lockfree. */
HAK_INLINE void slab_freelist_push_lockfree(TinySlabMeta *slab, void *block) {
    slab_block_set_next(block, slab_freelist_load_relaxed(slab));
    slab_freelist_store_relaxed(slab, block);
}

/* ---- the remote queue ---------------------------------------------------------------------- */

#define SLAB_REMOTE_NOTICE ((uint64_t)1)

HAK_INLINE unsigned slab_remote_count_of(uint64_t word) {
    return (unsigned)(word >> 13) & 0x1fffu;
}
HAK_INLINE unsigned slab_remote_head_of(uint64_t word) {
    return (unsigned)(word >> 1) & 0xfffu;
}
HAK_INLINE uint64_t slab_remote_version_of(uint64_t word) {
    return word >> 26;
}
HAK_INLINE uint64_t slab_remote_word(uint64_t version, unsigned count, unsigned head,
                                     uint64_t notice) {
    return version << 26 | (uint64_t)count << 13 | (uint64_t)head << 1 | notice;
}

/* Blocks that wait. relaxed: a hint of whether draining is worth its while. */
HAK_INLINE unsigned slab_remote_count_relaxed(const TinySlabMeta *slab) {
    return slab_remote_count_of(atomic_load_explicit(&slab->remote, memory_order_relaxed));
}

/* The word by a read-modify-write: a push comes before it and is in it, or after it and sees all
 * that this thread did before. acq_rel for both. */
HAK_INLINE uint64_t slab_remote_load_ordered(TinySlabMeta *slab) {
    return atomic_fetch_or_explicit(&slab->remote, 0, memory_order_acq_rel);
}

/* True if no block waits and no notice is out: nobody but the owner knows the slab any more.
 * acquire: pairs with the acq_rel of the thread that took its notice back. */
HAK_INLINE bool slab_remote_is_quiet(const TinySlabMeta *slab) {
    uint64_t word = atomic_load_explicit(&slab->remote, memory_order_acquire);
    return slab_remote_count_of(word) == 0 && !(word & SLAB_REMOTE_NOTICE);
}

/* In the three exchanges below the word is first read relaxed, and on failure again: it is only
 * computed with, and the exchange checks it. */

/* True if a notice is out. relaxed: a hint; one may be put at any moment. */
HAK_INLINE bool slab_remote_has_notice(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->remote, memory_order_relaxed) & SLAB_REMOTE_NOTICE;
}

/* Adds a chain of `count` blocks of this slab, linked from `first` to `last`, by any thread.
 * Returns the word as it was before: without the notice in it, the caller has put the notice
 * there and must see that the owner is told.
 *
 * acq_rel: release, so that the drainer sees the links and all that was done to the blocks;
 * acquire, so that the owner word read afterwards is no older than the last drain. relaxed first:
 * see above. */
HAK_INLINE uint64_t slab_remote_push_chain(TinySlabMeta *slab, void *first, void *last,
                                           unsigned count) {
    unsigned head = (unsigned)(((char *)first - slab->base) >> 4);
    uint64_t old = atomic_load_explicit(&slab->remote, memory_order_relaxed);
    uint64_t word;
    do {
        unsigned waiting = slab_remote_count_of(old);
        slab_block_set_next(last,
                            waiting ? slab->base + ((size_t)slab_remote_head_of(old) << 4) : NULL);
        word = slab_remote_word(slab_remote_version_of(old), waiting + count, head,
                                SLAB_REMOTE_NOTICE);
    } while (!atomic_compare_exchange_weak_explicit(&slab->remote, &old, word, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return old;
}

/* Empties the queue, by the owner. Returns the number of blocks and the first in *chain; the last
 * one's link is NULL. With `notice_arrived` the notice is taken back too.
 *
 * acq_rel: acquire for the links that pushers wrote; release, so that a pusher that comes later
 * sees this thread's owner word. relaxed first: see above. */
HAK_INLINE unsigned slab_remote_take_all(TinySlabMeta *slab, void **chain, bool notice_arrived) {
    hak_slab_check_owner(slab, __func__);
    uint64_t old = atomic_load_explicit(&slab->remote, memory_order_relaxed);
    uint64_t word;
    do {
        uint64_t notice = notice_arrived ? 0 : old & SLAB_REMOTE_NOTICE;
        word = slab_remote_word(slab_remote_version_of(old) + 1, 0, 0, notice);
    } while (!atomic_compare_exchange_weak_explicit(&slab->remote, &old, word, memory_order_acq_rel,
                                                    memory_order_relaxed));
    unsigned count = slab_remote_count_of(old);
    *chain = count ? slab->base + ((size_t)slab_remote_head_of(old) << 4) : NULL;
    return count;
}

/* The word, for slab_remote_withdraw_notice. acquire: what is read of the slab's owner afterwards
 * is no older. */
HAK_INLINE uint64_t slab_remote_load(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->remote, memory_order_acquire);
}

/* The thread that put the notice found nobody to tell, and takes it back if the queue still is as
 * `seen`; false if not, and then looks at the owner again. The blocks stay.
 * acq_rel: release, so that nothing that this thread did with the slab comes after, when the slab
 * may be retired; acquire, so that the offer that follows comes after. relaxed on failure: see
 * above. */
HAK_INLINE bool slab_remote_withdraw_notice(TinySlabMeta *slab, uint64_t seen) {
    uint64_t word = slab_remote_word(slab_remote_version_of(seen) + 1, slab_remote_count_of(seen),
                                     slab_remote_head_of(seen), 0);
    return atomic_compare_exchange_strong_explicit(&slab->remote, &seen, word, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

#endif
