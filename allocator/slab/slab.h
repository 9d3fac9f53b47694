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

/* The calling thread's owner word: its heap's address, 0 while it has none. */
extern _Thread_local uintptr_t hak_self __attribute__((tls_model("initial-exec")));

#ifdef HAKMEM_DEBUG_OWNERSHIP
void hak_slab_check_owner(const TinySlabMeta *slab);
#else
HAK_INLINE void hak_slab_check_owner(const TinySlabMeta *slab) {
    (void)slab;
}
#endif

/* Makes a slab out of 64 KiB that were taken from the pool, owned by the calling thread. */
void hak_slab_begin(char *base, unsigned class_index);

/* Gives an empty and quiet slab back to the pool; by its owner. */
void hak_slab_retire(TinySlabMeta *slab);

/* Claims a slab without an owner for the calling thread. False if another was faster, or if there
 * is nothing to claim: leave the slab alone then. */
bool ss_owner_cas(TinySlabMeta *slab);

/* Moves what waits in the remote queue to the freelist; by the owner. `notice_arrived` as for
 * slab_remote_take_all. Returns the number of blocks. */
unsigned ss_remote_drain_to_freelist(TinySlabMeta *slab, bool notice_arrived);

/* Claims, and drains only then: the one way to reuse a slab that isn't the caller's. */
bool slab_claim_then_drain(TinySlabMeta *slab);

/* Gives up ownership and offers the slab for adoption; by the owner. */
void hak_slab_abandon(TinySlabMeta *slab);

/* Takes up to `most` blocks into slots[most - 1], slots[most - 2], ...; returns how many. The one
 * that should be used first comes last. By the owner. */
unsigned hak_slab_take(TinySlabMeta *slab, void **slots, unsigned most);

/* Puts a block of an own slab onto its freelist; returns the blocks that are still out. */
HAK_INLINE unsigned hak_slab_give(TinySlabMeta *slab, void *block) {
    hak_slab_check_owner(slab);
    /* The last one that was carved goes back to where it came from: its page may not be there yet,
     * and a link written into it would bring it. */
    if (slab->base + slab->bump - slab->block_size == (char *)block)
        slab->bump -= slab->block_size;
    else
        slab_freelist_push_lockfree(slab, block);
    unsigned used = atomic_load_explicit(&slab->used, memory_order_relaxed) - 1;
    atomic_store_explicit(&slab->used, used, memory_order_relaxed);
    return used;
}

/* True if a block could be taken without draining. By the owner. */
HAK_INLINE bool hak_slab_has_blocks(const TinySlabMeta *slab) {
    return slab->bump < slab->limit || slab_freelist_is_nonempty(slab);
}

#endif
