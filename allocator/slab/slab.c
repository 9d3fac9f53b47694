/* A slab's life: birth, blocks out and home, claims, drains, retirement. */
#include "slab/slab.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/events.h"
#include "base/guard.h"
#include "base/mark.h"
#include "base/poison.h"
#include "base/size_class.h"
#include "page_map/page_map.h"

#ifdef HAKMEM_DEBUG_OWNERSHIP
#include <sys/syscall.h>
#include <unistd.h>
#endif

_Thread_local uintptr_t hak_self;

#ifdef HAKMEM_DEBUG_OWNERSHIP
void hak_slab_check_owner(const TinySlabMeta *slab, const char *where) {
    /* relaxed: as hak_slab_is_own */
    uintptr_t owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    if (owner != hak_self || !owner)
        hak_fatal("[OWNERSHIP ERROR] Thread %p draining slab %p owned by %p!\nhakmem: in %s(), by "
                  "thread %d\n",
                  (void *)hak_self, (void *)slab->base, (void *)owner, where,
                  (long)syscall(SYS_gettid));
}
#endif

/* Where blocks are checked: every link leads to a block of the slab that was once carved, and those
 * on the list and those that are out are all that were. At most a slab's blocks: 4,096. */
HAK_COLD static void validate_list(const TinySlabMeta *slab) {
    uint32_t carved = hak_slab_bump(slab) / slab->block_size;
    uint32_t used = hak_slab_used(slab);
    uint32_t listed = 0;
    for (const char *block = slab_freelist_load_relaxed(slab); block;
         block = slab_block_next(block)) {
        size_t offset = (size_t)(block - slab->base);
        if (offset >= hak_slab_bump(slab) || offset % slab->block_size)
            hak_fatal("hakmem: the free list of slab %p (blocks of %u bytes) leads to %p, which is "
                      "none of its blocks\n",
                      (void *)slab->base, (unsigned long)slab->block_size, (const void *)block);
        if (++listed > carved)
            hak_fatal("hakmem: the free list of slab %p (blocks of %u bytes) has a cycle\n",
                      (void *)slab->base, (unsigned long)slab->block_size);
    }
    if (listed + used != carved)
        hak_fatal("hakmem: slab %p: %u blocks on its free list and %u out are not the %u that it "
                  "ever gave\n",
                  (void *)slab->base, (unsigned long)listed, (unsigned long)used,
                  (unsigned long)carved);
}

HAK_INLINE void validate(const TinySlabMeta *slab) {
    if (hak_guarding())
        validate_list(slab);
}

void hak_slab_begin(char *base, unsigned class_index) {
    TinySlabMeta *slab = hak_slab_meta_of(base);
    uint32_t size = hak_class_size[class_index];
    if (hak_guarding())
        hak_guard_new_slab(base);
    hak_poison(base, HAK_SLAB_SIZE);
    slab_freelist_init(slab);
    slab->base = base;
    slab->next = slab->previous = NULL;
    slab->limit = (uint32_t)(HAK_SLAB_SIZE / size) * size;
    slab->block_size = size;
    slab->exhausted = false;
    slab->taken = slab->drained = 0;
    /* relaxed: the store of the owner word releases them */
    atomic_store_explicit(&slab->last_use, HAK_USED_AS_SLAB, memory_order_relaxed);
    atomic_store_explicit(&slab->bump, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->used, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->class_index, class_index, memory_order_relaxed);
    /* release: a thread that reads an offer bit and then this word sees the class of this life */
    atomic_store_explicit(&slab->owner, hak_self, memory_order_release);
    hak_event(HAK_EVENT_SLAB_NEW, class_index, base);
}

void hak_slab_retire(TinySlabMeta *slab) {
    hak_slab_check_owner(slab, __func__);
    HAK_ASSERT(slab_remote_is_quiet(slab) && hak_slab_used(slab) == 0);
    hak_page_map_set(slab->base, HAK_KIND_NONE);
    /* release: orders the slab's end before its next beginning for those who look at the word */
    atomic_store_explicit(&slab->owner, HAK_OWNER_NONE, memory_order_release);
    hak_count(HAK_COUNT_RETIRED, 1);
    hak_event(HAK_EVENT_SLAB_RETIRED, hak_slab_class(slab), slab->base);
    hak_pool_give(slab->base, 1);
}

_Noreturn void hak_slab_never_gave(const TinySlabMeta *slab, const void *block) {
    hak_fatal(
        "hakmem: invalid pointer %p: it was freed, but no block was ever handed out there, in a "
        "slab of blocks of %u bytes\n",
        block, (unsigned long)slab->block_size);
}

bool ss_owner_cas(TinySlabMeta *slab) {
    /* relaxed: a look that spares those who come too late the exclusive cache line */
    uintptr_t expected = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    /* acquire: pairs with the release of the thread that abandoned it, so that its freelist, bump
     * and used are seen. release: a pusher that reads this heap from the word (give_notice) finds
     * its pending stack opened; unordered, its push could come before the opening and be
     * overwritten. A failure tells nothing that is used. */
    bool won = expected == HAK_OWNER_ABANDONED &&
               atomic_compare_exchange_strong_explicit(&slab->owner, &expected, hak_self,
                                                       memory_order_acq_rel, memory_order_relaxed);
    hak_count(won ? HAK_COUNT_CLAIMS : HAK_COUNT_CLAIMS_FAILED, 1);
    if (won)
        hak_event(HAK_EVENT_SLAB_CLAIMED, hak_slab_class(slab), slab->base);
    return won;
}

unsigned ss_remote_drain_to_freelist(TinySlabMeta *slab, bool notice_arrived) {
    hak_slab_check_owner(slab, __func__);
    void *chain;
    unsigned count = slab_remote_take_all(slab, &chain, notice_arrived);
    if (!count)
        return 0;
    hak_count(HAK_COUNT_DRAINS, 1);
    hak_count(HAK_COUNT_DRAINED_BLOCKS, count);
    void *rest = slab_freelist_load_relaxed(slab);
    if (rest) { /* at most a slab's blocks: 4,096 */
        void *last = chain;
        for (unsigned i = 1; i < count; i++)
            last = slab_block_next(last);
        slab_block_set_next(last, rest);
    }
    slab_freelist_store_relaxed(slab, chain);
    unsigned used = hak_slab_used(slab);
    if (count > used)
        hak_fatal(
            "hakmem: more blocks of %u bytes came home to slab %p than were out: a double free\n",
            (unsigned long)slab->block_size, (void *)slab->base);
    hak_slab_set_used(slab, used - count);
    slab->drained += count;
    validate(slab);
    return count;
}

bool slab_claim_then_drain(TinySlabMeta *slab, bool notice_arrived) {
    if (!hak_slab_is_own(slab) && !ss_owner_cas(slab))
        return false;
    ss_remote_drain_to_freelist(slab, notice_arrived);
    return true;
}

void hak_slab_abandon(TinySlabMeta *slab, bool left_behind) {
    hak_slab_check_owner(slab, __func__);
    slab->left_behind = left_behind;
    hak_event(HAK_EVENT_SLAB_LEFT, hak_slab_class(slab), slab->base);
    /* One whose blocks are all out is offered by the first thread that pushes one back. */
    bool worth_offering = hak_slab_has_blocks(slab);
    /* release: the next owner's claim acquires all that this one did to the slab */
    atomic_store_explicit(&slab->owner, HAK_OWNER_ABANDONED, memory_order_release);
    if (worth_offering)
        hak_pool_offer(slab, HAK_OFFER_RETURNED);
}

#define MIXED_LOOK 8 /* neighbours */

bool hak_slab_are_mixed(void *const *at, void *const *end) {
    if (end - at <= MIXED_LOOK)
        return false;
    unsigned changes = 0;
    for (unsigned i = 0; i < MIXED_LOOK; i++)
        changes += ((uintptr_t)at[i] ^ (uintptr_t)at[i + 1]) >= HAK_SLAB_SIZE;
    return changes > MIXED_LOOK / 4;
}

#define TIDY_FROM 64u  /* blocks on a freelist: of fewer it doesn't matter */
#define TIDY_LOOK 8u   /* links */
#define TIDY_STEP 256u /* bytes, at least: what a processor reads ahead */

/* Whether most of the first links lead further than to the next few blocks. */
static bool is_disordered(const TinySlabMeta *slab, uint32_t bump) {
    uint32_t near = 4 * slab->block_size > TIDY_STEP ? 4 * slab->block_size : TIDY_STEP;
    const char *block = slab_freelist_load_relaxed(slab);
    unsigned far = 0;
    for (unsigned i = 0; i < TIDY_LOOK; i++) {
        if ((size_t)(block - slab->base) >= bump)
            return false; /* for hak_slab_take to tell */
        const char *next = slab_block_next(block);
        ptrdiff_t step = (ptrdiff_t)((uintptr_t)next - (uintptr_t)block);
        far += step > (ptrdiff_t)near || step < -(ptrdiff_t)near;
        block = next;
    }
    return far > TIDY_LOOK / 2;
}

bool hak_slab_tidy(TinySlabMeta *slab) {
    hak_slab_check_owner(slab, __func__);
    uint32_t size = slab->block_size, bump = hak_slab_bump(slab);
    unsigned carved = bump / size, listed = carved - hak_slab_used(slab);
    if (listed < TIDY_FROM || 2 * listed < carved || !is_disordered(slab, bump))
        return true;
    /* All free blocks have their mark, wherever they are. If there are no more than are listed,
     * then it is these; other threads may mark what they free meanwhile. */
    uint64_t marked[HAK_SLAB_SIZE / HAK_MIN_ALIGN / 64] = {0};
    unsigned found = 0;
    for (unsigned i = 0; i < carved; i++) {
        uint64_t is = hak_is_marked(slab->base + i * size);
        marked[i / 64] |= is << i % 64;
        found += (unsigned)is;
    }
    if (found != listed)
        return false;
    char *next = NULL;
    for (unsigned i = carved; i--;) {
        if (marked[i / 64] >> i % 64 & 1) {
            slab_block_set_next(slab->base + i * size, next);
            next = slab->base + i * size;
        }
    }
    slab_freelist_store_relaxed(slab, next);
    hak_count(HAK_COUNT_TIDIED, 1);
    validate(slab);
    return true;
}

unsigned hak_slab_take(TinySlabMeta *slab, void **slots, unsigned most) {
    hak_slab_check_owner(slab, __func__);
    validate(slab);
    void **slot = slots + most; /* the last one that was filled */
    char *base = slab->base;
    uint32_t bump = hak_slab_bump(slab);
    while (slot != slots) {
        /* Looked at before it is followed: a block that was written to after it was freed. */
        const char *head = slab_freelist_load_relaxed(slab);
        if (!head)
            break;
        if (HAK_UNLIKELY((size_t)(head - base) >= bump))
            hak_fatal("hakmem: the free list of slab %p (blocks of %u bytes) leads to %p: "
                      "a block was written to after it was freed\n",
                      (void *)base, (unsigned long)slab->block_size, (const void *)head);
        void *block = slab_freelist_pop_lockfree(slab);
        if (!block)
            break;
        *--slot = block;
    }
    if (slot != slots) {
        /* Only now what was never used: its pages may not be there yet. */
        const struct hak_marks *marks = hak_marks_now();
        uint32_t size = slab->block_size, limit = slab->limit;
        for (; bump < limit && slot != slots; bump += size) {
            *--slot = base + bump;
            hak_mark_by(base + bump, marks);
        }
        hak_slab_set_bump(slab, bump);
    }
    unsigned taken = most - (unsigned)(slot - slots);
    hak_slab_set_used(slab, hak_slab_used(slab) + taken);
    slab->taken += taken;
    return taken;
}

/* ---- the mailbox --------------------------------------------------------------------------- */

#define LETTERS 8u /* places of a class: one cache line */
static struct {
    _Alignas(HAK_CACHE_LINE) _Atomic(TinySlabMeta *) letters[LETTERS];
} mailbox[HAK_CLASS_MAX + 1];

/* Letters of each class, once who posts or takes one has said so: asked for where blocks come home
 * or a slab is needed, which is often; below 0 where a letter is taken before that. */
static _Atomic int letter_count[HAK_CLASS_MAX + 1];

bool hak_mailbox_has_room(unsigned class_index) {
    /* relaxed: a hint */
    return atomic_load_explicit(&letter_count[class_index], memory_order_relaxed) < (int)LETTERS;
}

bool hak_mailbox_post(TinySlabMeta *slab, unsigned class_index) {
    for (unsigned i = 0; i < LETTERS; i++) {
        TinySlabMeta *none = NULL;
        /* release: who takes the letter sees that the slab has no owner; else the letter would be
         * gone and the slab not claimed. relaxed look and failure: another place will do. */
        if (!atomic_load_explicit(&mailbox[class_index].letters[i], memory_order_relaxed) &&
            atomic_compare_exchange_strong_explicit(&mailbox[class_index].letters[i], &none, slab,
                                                    memory_order_release, memory_order_relaxed)) {
            /* relaxed: a count that is only compared */
            atomic_fetch_add_explicit(&letter_count[class_index], 1, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

TinySlabMeta *hak_mailbox_take(unsigned class_index) {
    /* relaxed: a hint; a letter that isn't counted yet is found by the next who looks */
    if (atomic_load_explicit(&letter_count[class_index], memory_order_relaxed) <= 0)
        return NULL;
    for (unsigned i = 0; i < LETTERS; i++) {
        /* relaxed: a look, that leaves the cache line shared; acquire: as told in hak_mailbox_post
         */
        if (!atomic_load_explicit(&mailbox[class_index].letters[i], memory_order_relaxed))
            continue;
        TinySlabMeta *slab =
            atomic_exchange_explicit(&mailbox[class_index].letters[i], NULL, memory_order_acquire);
        if (slab) {
            /* relaxed: as where it is added */
            atomic_fetch_sub_explicit(&letter_count[class_index], 1, memory_order_relaxed);
            return slab;
        }
    }
    return NULL;
}
