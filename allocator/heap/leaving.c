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

/* Slabs that a thread gives up itself when it ends, and that another one gives up for it at a time.
 * In a guard build few, so that heaps change hands as often as they can. */
#ifdef HAKMEM_GUARD
#define LEFT_BY_ITSELF 8u
#define LEFT_BY_OTHERS 2u
#else
#define LEFT_BY_ITSELF 1024u
#define LEFT_BY_OTHERS 256u
#endif

/* Leaves slabs of a class, `most` of them; returns how many. */
static unsigned abandon_class(struct hak_heap *heap, struct hak_heap_class *class, unsigned most) {
    bool adopt = hak_option(HAK_OPT_ADOPT);
    TinySlabMeta *in_use = class->partial;
    TinySlabMeta *slab;
    unsigned count = 0;
    /* The exhausted ones first: leaving one may bring it back as an empty one. */
    while (count < most && (slab = class->exhausted ? class->exhausted : class->partial)) {
        bool has_blocks = !slab->exhausted;
        heap->kept = NULL;
        hak_heap_unlink(heap, slab);
        count++;
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
    return count;
}

/* Leaves `most` slabs; true: none is left. Leaving a slab may bring another back, of any class: its
 * second look may find it in the next life. So until nothing is left. */
static bool abandon(struct hak_heap *heap, unsigned most) {
    unsigned before;
    heap->kept = NULL;
    do {
        before = most;
        for (uint64_t rest = heap->owning; rest && most; rest &= rest - 1)
            most -= abandon_class(heap, &heap->classes[hak_first_class(rest)], most);
    } while (most && most != before);
    if (most)
        heap->owning = 0;
    return most > 0;
}

static bool owns_more_than(const struct hak_heap *heap, unsigned most) {
    unsigned slabs = 0;
    for (uint64_t rest = heap->owning; rest; rest &= rest - 1) {
        const struct hak_heap_class *class = &heap->classes[hak_first_class(rest)];
        slabs += class->partials + class->exhausteds;
    }
    return slabs > most;
}

/* Gives up `most` slabs; true: all. The notices of the last ones are taken first, and no more are
 * accepted, so that none waits here while a slab's next owner is told nothing. Those of many slabs
 * are taken some in each part. */
static bool leave_part(struct hak_heap *heap, unsigned most, bool others) {
    if (others)
        hak_heap_process_pending(heap, false);
    bool last = !owns_more_than(heap, most) && !(others && heap->told);
    hak_heap_process_pending(heap, last);
    return abandon(heap, most) && last;
}

bool hak_heap_abandon_slabs(struct hak_heap *heap) {
    return leave_part(heap, LEFT_BY_ITSELF, false);
}

bool hak_heap_help_leaving(void) {
    struct hak_heap *heap = hak_heaps_take(HAK_HEAPS_LEAVING);
    if (!heap)
        return false;
    uintptr_t self = hak_self;
    hak_self = (uintptr_t)heap;
    if (!hak_instrumented)
        heap->magazines = &hak_thread; /* its thread's are gone; a signal handler may look */
    heap->ending = true;
    bool left_all = leave_part(heap, LEFT_BY_OTHERS, true);
    heap->ending = false;
    hak_self = self;
    hak_heaps_put(heap, left_all ? HAK_HEAPS_FREE : HAK_HEAPS_LEAVING);
    return true;
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
