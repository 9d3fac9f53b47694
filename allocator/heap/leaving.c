/* How a heap gives up its slabs: an empty one, those of a class that is drained, all at its end. */
#include "base/counters.h"
#include "base/options.h"
#include "heap/heap.h"

void hak_heap_retire_kept(struct hak_heap *heap) {
    TinySlabMeta *slab = heap->kept;
    if (!slab || !hak_heap_slab_is_free(slab))
        return;
    heap->kept = NULL;
    hak_heap_unlink(heap, slab);
    hak_slab_retire(slab);
}

/* Leaves a class's slabs. */
static void abandon_class(struct hak_heap *heap, struct hak_heap_class *class) {
    bool adopt = hak_option(HAK_OPT_ADOPT);
    TinySlabMeta *in_use = class->partial;
    TinySlabMeta *slab;
    /* The exhausted ones first: leaving one may bring it back as an empty one. */
    while ((slab = class->exhausted ? class->exhausted : class->partial)) {
        bool has_blocks = !slab->exhausted;
        heap->kept = NULL;
        hak_heap_unlink(heap, slab);
        slab_claim_then_drain(slab, false);
        if (hak_heap_slab_is_free(slab)) {
            hak_slab_retire(slab);
            continue;
        }
        /* For the next thread that gets this heap. */
        if (adopt && slab == in_use)
            hak_remember_hot(heap, slab);
        else if (adopt && has_blocks)
            hak_remember_sticky(heap, slab);
        hak_count(HAK_COUNT_ABANDONED, 1);
        hak_heap_leave_slab(heap, slab, true);
    }
}

void hak_heap_abandon_slabs(struct hak_heap *heap) {
    /* Leaving a slab may bring another back, of any class: its second look may find it in the next
     * life. So until nothing is left. */
    bool found;
    do {
        found = false;
        for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
            struct hak_heap_class *class = &heap->classes[c];
            found |= class->exhausted || class->partial;
            abandon_class(heap, class);
        }
    } while (found);
    heap->kept = NULL;
}

/* A slab of a list that may be left: not one whose notice is out, which would wait here while the
 * next owner is told nothing. */
static TinySlabMeta *leavable(const struct hak_heap *heap, TinySlabMeta *list) {
    while (list && (list == heap->kept || slab_remote_has_notice(list)))
        list = list->next;
    return list;
}

void hak_heap_leave_drained(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (hak_heaps_in_use() <= 1 || !hak_option(HAK_OPT_ADOPT))
        return;
    for (unsigned most = class->partials + class->exhausteds; most; most--) {
        TinySlabMeta *slab = leavable(heap, class->exhausted);
        if (!slab)
            slab = leavable(heap, class->partial);
        if (!slab)
            return;
        hak_heap_unlink(heap, slab);
        hak_count(HAK_COUNT_RETURNED, 1);
        hak_heap_leave_slab(heap, slab, false);
    }
}
