/* Slabs: 64 KiB of blocks of one size class, and who may touch what of them.
 *
 *  1. A slab has at most one owner, a thread heap. Only the owner touches its freelist, its bump
 *     offset and its count of used blocks.
 *  2. Any other thread gives a block back by pushing it, or a chain of them, onto the remote queue.
 *  3. Only the owner drains the remote queue into the freelist. Who wants to reuse a slab that it
 *     doesn't own claims it first; slab_claim_then_drain is the one function that does both.
 *
 * A build with HAKMEM_DEBUG_OWNERSHIP=1 checks rules 1 and 3 at every step. */
#ifndef HAK_SLAB_H
#define HAK_SLAB_H

#include "slab/slab_freelist_atomic.h"

/* Makes a slab out of 64 KiB that were taken from the pool, owned by the calling thread. */
void hak_slab_begin(char *base, unsigned class_index);

/* Gives an empty and quiet slab back to the pool; by its owner. */
void hak_slab_retire(TinySlabMeta *slab);

/* Claims a slab without an owner for the calling thread. False if it has one, or if another thread
 * was faster: leave the slab alone then. */
bool ss_owner_cas(TinySlabMeta *slab);

/* Moves what waits in the remote queue to the freelist; by the owner. `notice_arrived` as for
 * slab_remote_take_all. Returns the number of blocks. slab_claim_then_drain is its only caller. */
unsigned ss_remote_drain_to_freelist(TinySlabMeta *slab, bool notice_arrived);

/* Claims, and drains only then: the one way to reuse a slab. An own slab needs no claim. False:
 * the slab is not the caller's, and nothing was done. `notice_arrived`, for an own slab only, as
 * for slab_remote_take_all. */
bool slab_claim_then_drain(TinySlabMeta *slab, bool notice_arrived);

/* Gives up ownership; by the owner, who may have ended (`left_behind`) or only have no use for the
 * slab. One that has blocks to give is offered. */
void hak_slab_abandon(TinySlabMeta *slab, bool left_behind);

/* The mailbox: for each class a few places for slabs that live threads have given up, free for
 * anyone to claim. A letter may be out of date: its slab claimed by another way, or in another
 * life. Any thread. */
bool hak_mailbox_has_room(unsigned class_index);
/* Posts a slab that was abandoned; false, and nothing was done, when there is no room. */
bool hak_mailbox_post(TinySlabMeta *slab, unsigned class_index);
/* Takes a letter out, NULL if there is none; the caller has still to claim the slab. */
TinySlabMeta *hak_mailbox_take(unsigned class_index);

/* Orders the freelist by address, if it is long and in disorder: to follow it then costs a cache
 * miss a block. By the owner, who begins to take from the slab. At most two looks at each block of
 * the slab. False: all blocks were looked at for nothing, since some are free elsewhere. */
bool hak_slab_tidy(TinySlabMeta *slab);

/* Takes up to `most` blocks into slots[most - 1], slots[most - 2], ...; returns how many. The one
 * that should be used first comes last. By the owner. */
unsigned hak_slab_take(TinySlabMeta *slab, void **slots, unsigned most);

/* Blocks that are out. relaxed: the owner alone writes it; who reads it of a slab that it doesn't
 * own has seen, by an acquire, that the slab has no owner, and so sees what the last one released;
 * or takes it for a hint. */
HAK_INLINE unsigned hak_slab_used(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->used, memory_order_relaxed);
}

/* By the owner. relaxed: released with the owner word. */
HAK_INLINE void hak_slab_set_used(TinySlabMeta *slab, unsigned used) {
    hak_slab_check_owner(slab, __func__);
    atomic_store_explicit(&slab->used, used, memory_order_relaxed);
}

/* The size class. relaxed: written before the slab's life began, and with it released; for a slab
 * that the caller doesn't own a hint. */
HAK_INLINE unsigned hak_slab_class(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->class_index, memory_order_relaxed);
}

/* Where what was never handed out begins, in bytes from the base. relaxed: the owner alone writes
 * it, and reads what it wrote itself or, by the claim's acquire, what the last owner did; who holds
 * a block is ordered after its carving, and so reads no less than its end; to others it is a hint.
 */
HAK_INLINE uint32_t hak_slab_bump(const TinySlabMeta *slab) {
    return atomic_load_explicit(&slab->bump, memory_order_relaxed);
}

/* By the owner. relaxed: released with the owner word, or with the block. */
HAK_INLINE void hak_slab_set_bump(TinySlabMeta *slab, uint32_t bump) {
    hak_slab_check_owner(slab, __func__);
    atomic_store_explicit(&slab->bump, bump, memory_order_relaxed);
}

/* Ends the program: it freed a place in the slab at which no block was ever handed out. */
_Noreturn void hak_slab_never_gave(const TinySlabMeta *slab, const void *block) HAK_COLD;

/* Whether blocks that lie side by side are often of different slabs. Then each is given on its own:
 * where a run ends can't be guessed, and a wrong guess costs more than to do everything for each
 * block. */
bool hak_slab_are_mixed(void *const *at, void *const *end);

/* Puts blocks of an own slab onto its freelist: the first of those from `at` to before `end`, and
 * the ones right after it that lie in the same slab. Returns where it stopped. By the owner. */
HAK_INLINE void *const *hak_slab_give(TinySlabMeta *slab, void *const *at, void *const *end) {
    hak_slab_check_owner(slab, __func__);
    const uintptr_t base = (uintptr_t)*at & ~(uintptr_t)(HAK_SLAB_SIZE - 1);
    const uint32_t size = slab->block_size;
    uint32_t bump = hak_slab_bump(slab);
    uint32_t used = hak_slab_used(slab);
    void *head = slab_freelist_load_relaxed(slab);
    do {
        void *block = *at;
        uintptr_t offset = (uintptr_t)block - base;
        if (offset >= bump) {
            if (HAK_LIKELY(offset >= HAK_SLAB_SIZE))
                break;
            hak_slab_never_gave(slab, block);
        }
        /* The last one that was carved goes back to where it came from: its page may not be there
         * yet, and a link written into it would bring it. */
        if (offset + size == bump) {
            bump = (uint32_t)offset;
        } else {
            slab_block_set_next(block, head);
            head = block;
        }
        used--;
    } while (++at < end);
    slab_freelist_store_relaxed(slab, head);
    hak_slab_set_bump(slab, bump);
    hak_slab_set_used(slab, used);
    return at;
}

/* True if a block could be taken without draining. By the owner. */
HAK_INLINE bool hak_slab_has_blocks(const TinySlabMeta *slab) {
    return hak_slab_bump(slab) < slab->limit || slab_freelist_is_nonempty(slab);
}

#endif
