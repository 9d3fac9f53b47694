/* The ways to reuse a slab that has no owner: the heap's own memory of slabs (hot, bench, sticky
 * ring), the mailbox, and adoption at the mmap gate.
 *
 * What leads to a slab is a hint: it may have been claimed by another thread, be back in this
 * heap's lists by another way, or be in another life. So each path ends in reclaim(), which claims
 * before it looks or drains, and leaves alone what it can't get. */
#include "base/counters.h"
#include "base/options.h"
#include "heap/heap.h"

/* Slabs that one look into the ring, the mailbox or the offers tries to claim: each that can't be
 * had is forgotten, so that the next look begins behind it. */
#define CLAIM_TRIES 8u

/* Claims a slab for its blocks of a class. False: it is not to be had, or not what was wanted. */
static bool reclaim(struct hak_heap *heap, TinySlabMeta *slab, unsigned class_index) {
    if (hak_slab_is_own(slab))
        return false;
    if (!slab_claim_then_drain(slab, false))
        return false;
    bool left_behind = slab->left_behind;
    bool has_blocks = hak_slab_has_blocks(slab);
    unsigned its_class = hak_slab_class(slab);
    if (its_class != class_index || !has_blocks || (left_behind && !hak_option(HAK_OPT_ADOPT))) {
        hak_heap_leave_slab(heap, slab, left_behind);
        /* Its letter may have been taken by one whose claim failed against this one. Only into the
         * other class's mailbox: a search of this one's must end. */
        if (!left_behind && has_blocks && its_class != class_index)
            hak_mailbox_post(slab, its_class);
        return false;
    }
    hak_count(HAK_COUNT_ADOPTED, left_behind);
    return true;
}

/* ---- what the heap remembers (stage 0) ------------------------------------------------------ */

#define CLASS_BITS ((uintptr_t)2 * HAK_CACHE_LINE - 1) /* free in a slab's metadata's address */
_Static_assert(HAK_CLASS_MAX <= 2 * HAK_CACHE_LINE - 1, "a class fits there");

void hak_remember_hot(struct hak_heap *heap, TinySlabMeta *slab) {
    heap->classes[hak_slab_class(slab)].hot = slab;
}

void hak_remember_sticky(struct hak_heap *heap, TinySlabMeta *slab) {
    unsigned class_index = hak_slab_class(slab);
    heap->sticky[heap->sticky_next] = (uintptr_t)slab | class_index;
    heap->sticky_classes |= hak_class_bit(class_index);
    heap->sticky_next = (heap->sticky_next + 1) % HAK_STICKY;
}

/* The hot or the bench slot. */
static TinySlabMeta *reuse_slot(struct hak_heap *heap, TinySlabMeta **slot, unsigned class_index,
                                enum hak_counter counter) {
    TinySlabMeta *slab = *slot;
    if (!slab)
        return NULL;
    *slot = NULL;
    if (!reclaim(heap, slab, class_index))
        return NULL;
    hak_count(counter, 1);
    return slab;
}

static TinySlabMeta *reuse_sticky(struct hak_heap *heap, unsigned class_index) {
    if (!(heap->sticky_classes >> class_index & 1))
        return NULL;
    for (unsigned i = 0, tries = 0; i < HAK_STICKY; i++) {
        if (tries == CLAIM_TRIES)
            return NULL;
        if ((heap->sticky[i] & CLASS_BITS) != class_index)
            continue;
        TinySlabMeta *slab = (TinySlabMeta *)(heap->sticky[i] & ~CLASS_BITS);
        heap->sticky[i] = 0;
        tries++;
        if (!reclaim(heap, slab, class_index))
            continue;
        hak_count(HAK_COUNT_REUSED_STICKY, 1);
        return slab;
    }
    heap->sticky_classes &= ~hak_class_bit(class_index);
    return NULL;
}

TinySlabMeta *hak_reuse_remembered(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    TinySlabMeta *slab = reuse_slot(heap, &class->hot, class_index, HAK_COUNT_REUSED_HOT);
    if (!slab)
        slab = reuse_slot(heap, &class->bench, class_index, HAK_COUNT_REUSED_BENCH);
    if (!slab)
        slab = reuse_sticky(heap, class_index);
    hak_count(HAK_COUNT_STAGE0_HINT, slab != NULL);
    return slab;
}

/* ---- what others gave up ------------------------------------------------------------------- */

static TinySlabMeta *reuse_offered(struct hak_heap *heap, unsigned class_index,
                                   enum hak_offer list) {
    if (!hak_option(HAK_OPT_ADOPT))
        return NULL;
    for (unsigned tries = 0; tries < CLAIM_TRIES; tries++) {
        TinySlabMeta *slab = hak_pool_look_for_offer(class_index, list);
        if (!slab || reclaim(heap, slab, class_index))
            return slab;
    }
    return NULL;
}

static TinySlabMeta *reuse_posted(struct hak_heap *heap, unsigned class_index) {
    for (unsigned tries = 0; tries < CLAIM_TRIES; tries++) {
        TinySlabMeta *slab = hak_mailbox_take(class_index);
        if (!slab)
            break;
        if (!reclaim(heap, slab, class_index))
            continue;
        hak_count(HAK_COUNT_REUSED_MAILBOX, 1);
        return slab;
    }
    return NULL;
}

TinySlabMeta *hak_reuse_returned(struct hak_heap *heap, unsigned class_index) {
    TinySlabMeta *slab = reuse_posted(heap, class_index);
    if (!slab)
        slab = reuse_offered(heap, class_index, HAK_OFFER_RETURNED);
    hak_count(HAK_COUNT_STAGE1_RETURNED, slab != NULL);
    return slab;
}

TinySlabMeta *hak_reuse_at_mmap_gate(struct hak_heap *heap, unsigned class_index) {
    TinySlabMeta *slab = reuse_offered(heap, class_index, HAK_OFFER_CAME_HOME);
    /* Something may have been returned since stage 1. */
    if (!slab)
        slab = reuse_offered(heap, class_index, HAK_OFFER_RETURNED);
    hak_count(HAK_COUNT_ADOPTED_AT_GATE, slab != NULL);
    return slab;
}
