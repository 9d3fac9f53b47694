/* Slabs without an owner that have blocks to give: offered, and found again. */
#include "superslab/pool_parts.h"

/* SuperSlabs that one search looks into: each ends an offer, so that what is out of date is gone
 * after a few of them, and none takes long. */
#define OFFER_TRIES 16u

void hak_pool_offer(TinySlabMeta *slab, enum hak_offer list) {
    /* From the metadata's own address: the slab may be anybody's by now. */
    struct hak_superslab *ss = (struct hak_superslab *)((uintptr_t)slab & ~(uintptr_t)4095);
    /* relaxed: a hint, where the slab isn't the caller's */
    unsigned class_index = atomic_load_explicit(&slab->class_index, memory_order_relaxed);
    /* release: who finds the flag sees that the slab has no owner; else it would end the offer and
     * not claim. (The bit below may have been set by another slab's offer.) */
    atomic_store_explicit(&slab->offered[list], true, memory_order_release);
    hak_hint_set(&hak_pool_hints, HAK_SET_OFFER(class_index, list), ss->id);
}

TinySlabMeta *hak_pool_look_for_offer(unsigned class_index, enum hak_offer list) {
    uint32_t total = hak_pool_superslabs();
    for (unsigned tries = 0; tries < OFFER_TRIES; tries++) {
        int64_t id = hak_hint_find(&hak_pool_hints, HAK_SET_OFFER(class_index, list), 0, total);
        if (id < 0)
            break;
        /* Cleared before the slabs are looked at: an offer that comes later sets it again. */
        hak_hint_clear(&hak_pool_hints, HAK_SET_OFFER(class_index, list), (uint32_t)id);
        struct hak_superslab *ss = hak_pool_superslab((uint32_t)id);
        TinySlabMeta *found = NULL;
        for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS - 1; i++) {
            TinySlabMeta *slab = &ss->slabs[i];
            /* acquire: pairs with the offer's release. relaxed for the others: the claim that
             * follows decides; nothing of the slab is used before. */
            if (!atomic_load_explicit(&slab->offered[list], memory_order_acquire) ||
                atomic_load_explicit(&slab->owner, memory_order_relaxed) != HAK_OWNER_ABANDONED ||
                atomic_load_explicit(&slab->class_index, memory_order_relaxed) != class_index)
                continue;
            if (found) { /* there is one more: others should find it */
                hak_hint_set(&hak_pool_hints, HAK_SET_OFFER(class_index, list), (uint32_t)id);
                break;
            }
            found = slab;
        }
        if (found) {
            /* Whoever leaves it again with blocks to give offers it again: so every search ends,
             * even among many that have none.
             * relaxed: an offer that comes in between is of the slab that is claimed next. */
            atomic_store_explicit(&found->offered[list], false, memory_order_relaxed);
            return found;
        }
    }
    return NULL;
}
