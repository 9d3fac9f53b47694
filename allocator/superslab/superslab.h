/* SuperSlabs: 2 MiB regions at multiples of 2 MiB, cut into 32 slabs of 64 KiB.
 *
 *   0        64 KiB    128 KiB                                            2 MiB
 *   +--------+---------+---------+---------+--- ... ---+---------+---------+
 *   | header | slab 1  | slab 2  |  a span of 3 slabs  |  free   | slab 31 |
 *   +--------+---------+---------+---------+--- ... ---+---------+---------+
 *
 * The header is one page of 4 KiB somewhere in slab 0 (where exactly depends on the address, so
 * that the headers of many SuperSlabs don't share cache sets): what is free, and the metadata of
 * each slab in two cache lines of its own. The rest of slab 0 is never touched.
 *
 * A SuperSlab's slabs may belong to different size classes and owners. Regions come from the page
 * arena and stay SuperSlabs for ever: only the pages of free slabs are given back (where there is
 * no address space for something else, all but slab 0), so that a header may be looked at by anyone
 * at any time. */
#ifndef HAK_SUPERSLAB_H
#define HAK_SUPERSLAB_H

#include "base/config.h"

#include <stdatomic.h>

/* What is known of one slab. The owner's line is touched by the slab's owner alone (`used` may be
 * read by others while the slab has none); the other line is everyone's. */
typedef struct TinySlabMeta {
    /* -- the owner's cache line -- */
    _Atomic(void *) freelist;      /* blocks that came home, linked through their first word */
    char *base;                    /* the slab's first byte */
    struct TinySlabMeta *next;     /* in the owner's list of its slabs with blocks to give out, */
    struct TinySlabMeta *previous; /* or in that of its exhausted ones */
    _Atomic uint32_t bump;         /* bytes from base: what lies beyond was never handed out */
    uint32_t limit;                /* bytes from base: where the last whole block ends */
    uint32_t block_size;           /* bytes */
    _Atomic uint32_t used;         /* blocks that are out: with the program, in magazines, in
                                      the depot, or in the remote queue */
    bool exhausted;                /* which of the two lists it is in */
    bool left_behind;              /* its last owner ended, and didn't just give it up */
    uint32_t taken;                /* blocks that went out since it was last exhausted, */
    uint32_t drained;              /* and that came home through the remote queue */
    char unused_owner[4];

    /* -- the others' cache line -- */
    _Atomic uintptr_t owner;           /* HAK_OWNER_NONE, HAK_OWNER_ABANDONED, or a thread heap */
    _Atomic uint64_t remote;           /* the remote queue: see slab_freelist_atomic.h */
    struct TinySlabMeta *pending_next; /* in the owner's list of slabs with a remote queue */
    _Atomic uint32_t class_index;      /* size class; in the first slab of a span, its slabs */
    _Atomic bool offered[2];           /* by enum hak_offer: it is in that list; a hint */
    _Atomic uint8_t last_use;          /* HAK_USED_AS_SLAB, or the slabs of the span that began
                                          here last; 0: neither. For messages. */
    char unused_others[33];
} TinySlabMeta;

_Static_assert(sizeof(TinySlabMeta) == 2 * HAK_CACHE_LINE, "a slab's metadata is two cache lines");

#define HAK_OWNER_NONE      ((uintptr_t)0) /* not in use as a slab */
#define HAK_OWNER_ABANDONED ((uintptr_t)1) /* blocks are out, and no thread owns it */
#define HAK_OWNER_SPAN      ((uintptr_t)2) /* the first slab of a span */
#define HAK_OWNER_KEPT      ((uintptr_t)3) /* the same, but freed, and kept to be one again */

#define HAK_USED_AS_SLAB 0xffu

struct hak_superslab {
    uint32_t id;                  /* dense, from 0 in order of birth */
    _Atomic uint32_t free;        /* bit i: slab i is free; bit 0 is never set */
    _Atomic uint32_t dirty;       /* bit i: slab i is free and may have pages behind it */
    _Atomic uint32_t category;    /* which bitmap of the pool it is in */
    _Atomic uint64_t dirty_since; /* ms: when the oldest dirty slab may have become free */
    char unused[104];
    TinySlabMeta slabs[HAK_SUPERSLAB_SLABS - 1]; /* of slab 1 to 31 */
};

_Static_assert(sizeof(struct hak_superslab) == 4096, "a SuperSlab's header is one page of 4 KiB");
_Static_assert(offsetof(struct hak_superslab, slabs) == sizeof(TinySlabMeta),
               "the header's own part is as long as a slab's");

/* The header of the SuperSlab in which an address of a slab or span lies. */
HAK_INLINE struct hak_superslab *hak_superslab_of(const void *address) {
    uintptr_t base = (uintptr_t)address & ~(uintptr_t)(HAK_SUPERSLAB_SIZE - 1);
    uintptr_t colour = (base >> HAK_SUPERSLAB_SHIFT) & 15u;
    return (struct hak_superslab *)(base + colour * 4096u);
}

/* The region of a SuperSlab, from its header's address or any other in it. */
HAK_INLINE char *hak_superslab_base(const void *address) {
    return (char *)((uintptr_t)address & ~(uintptr_t)(HAK_SUPERSLAB_SIZE - 1));
}

/* The number of the slab in which an address lies; 1 to 31. */
HAK_INLINE unsigned hak_slab_number(const void *address) {
    return (unsigned)((uintptr_t)address >> HAK_SLAB_SHIFT) & (HAK_SUPERSLAB_SLABS - 1);
}

/* The metadata of the slab in which an address lies; slab 1 to 31. */
HAK_INLINE TinySlabMeta *hak_slab_meta_of(const void *address) {
    /* What stands before slab 1's is as long as that. */
    return (TinySlabMeta *)hak_superslab_of(address) + hak_slab_number(address);
}

/* Bits `first` to `first + count - 1`. */
HAK_INLINE uint32_t hak_run_mask(unsigned first, unsigned count) {
    return (count >= 32 ? ~(uint32_t)0 : (((uint32_t)1 << count) - 1)) << first;
}

/* Bits at which a run of `count` (1 to 64) set bits starts. */
HAK_INLINE uint64_t hak_run_starts(uint64_t mask, size_t count) {
    size_t have = 1;
    while (have < count) {
        size_t step = count - have < have ? count - have : have;
        mask &= mask >> step;
        have += step;
    }
    return mask;
}

/* Slabs that were got from the pool. */
struct hak_slab_run {
    char *base;  /* NULL: no memory, errno is ENOMEM */
    bool zeroed; /* the pages read as zeros */
    bool grown;  /* it is the first of a new SuperSlab */
};

/* Takes `count` (1 to 31) neighbouring free slabs. `hint`, a SuperSlab or NULL, is tried first and
 * set to the one that served; `zeroed` tells whether they need clearing. `grow` asks for a new
 * SuperSlab where no other has room. Lock-free. */
struct hak_slab_run hak_pool_take(unsigned count, struct hak_superslab **hint, bool grow);

/* Gives back slabs that were taken, whole or in part. Their metadata must say HAK_OWNER_NONE. */
void hak_pool_give(char *base, unsigned count);

/* The same for slabs of one SuperSlab that need not be neighbours: bit i, 1 to 31, is slab i. */
void hak_pool_give_mask(struct hak_superslab *ss, uint32_t mask);

/* Takes the free slabs that follow a run of `count` at `base`, up to `wanted` in all; false when
 * not all of them are free. */
bool hak_pool_extend(char *base, unsigned count, unsigned wanted);

/* Lists of slabs without an owner and with blocks to give, two for each class: those that had
 * blocks when their owner gave them up, and those that were exhausted then, and to which blocks
 * came home since. A member is a SuperSlab that may have one. */
enum hak_offer { HAK_OFFER_RETURNED, HAK_OFFER_CAME_HOME };
void hak_pool_offer(TinySlabMeta *slab, enum hak_offer list);
/* A slab of the class that was offered and has no owner; NULL if none is found in a bounded search.
 * Ends the offer. The caller has still to claim it, and may call again if that fails. Any thread.
 */
TinySlabMeta *hak_pool_look_for_offer(unsigned class_index, enum hak_offer list);

/* Gives the pages of slabs that have been free for `delay` ms back to the system; looks at no
 * more than `most` SuperSlabs. Returns how many slabs it purged. */
size_t hak_pool_purge(uint64_t now, uint64_t delay, unsigned most);
/* Whether the last call came to the end of the SuperSlabs; the next one begins with the first then,
 * else where that one stopped. */
bool hak_pool_purge_is_through(void);

/* Gives back the address space that is reserved and unused, and that of SuperSlabs without a block,
 * but for their headers; what there is else may have it. They are the first to serve again, if
 * nothing else has come there by then. Returns the bytes. */
size_t hak_pool_release(void);

/* Between the first two no SuperSlab is released, whichever thread asks for it: what the page map
 * calls a slab after hak_pool_hold stays mapped. Any thread, more than once too; keeps nobody
 * waiting. The third is asked by who has taken a SuperSlab's slabs, and would release it. */
void hak_pool_hold(void);
void hak_pool_let_go(void);
bool hak_pool_is_held(void);

/* SuperSlabs that exist. */
uint32_t hak_pool_superslabs(void);

/* The SuperSlab of a number below hak_pool_superslabs(). */
struct hak_superslab *hak_pool_superslab(uint32_t id);

/* For tests, while no thread takes or gives: whether a SuperSlab's free slabs can be found. */
bool hak_pool_is_filed(uint32_t id);

/* In the child: the other threads' holds are gone with them. */
void hak_pool_fork_child(void);

#endif
