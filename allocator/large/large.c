/* Spans, and which of both kinds serves a request. */
#include "large/large.h"
#include "large/huge.h"
#include "base/diag.h"
#include "base/events.h"
#include "base/poison.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <string.h>

static unsigned slabs_for(size_t size) {
    return (unsigned)((size + HAK_SLAB_SIZE - 1) >> HAK_SLAB_SHIFT);
}

static unsigned span_slabs(const void *block) {
    const TinySlabMeta *slab = hak_slab_meta_of(block);
    /* relaxed: the caller holds the block, and so the span */
    return atomic_load_explicit(&slab->class_index, memory_order_relaxed);
}

static void *span_new(size_t size, bool zero, struct hak_superslab **hint) {
    unsigned count = slabs_for(size ? size : 1);
    struct hak_slab_run run = hak_pool_take(count, hint, true);
    if (!run.base)
        return NULL;
    TinySlabMeta *slab = hak_slab_meta_of(run.base);
    /* relaxed, here and where the span ends: who holds the block sees them by the hand-over of the
     * block, the next user of these slabs by the pool's release and acquire; others look at the
     * owner word only to find that the slab isn't theirs to claim, which holds for any value. */
    atomic_store_explicit(&slab->class_index, count, memory_order_relaxed);
    atomic_store_explicit(&slab->last_use, (uint8_t)count, memory_order_relaxed);
    atomic_store_explicit(&slab->owner, HAK_OWNER_SPAN, memory_order_relaxed);
    if (!hak_page_map_set(run.base, HAK_KIND_SPAN)) {
        atomic_store_explicit(&slab->owner, HAK_OWNER_NONE, memory_order_relaxed);
        hak_pool_give(run.base, count);
        return NULL;
    }
    hak_event(HAK_EVENT_SPAN_NEW, count, run.base);
    hak_poison(run.base, (size_t)count << HAK_SLAB_SHIFT);
    hak_unpoison(run.base, size);
    if (zero && !run.zeroed)
        memset(run.base, 0, size);
    return run.base;
}

void *hak_large_new(size_t size, size_t alignment, bool zero, struct hak_superslab **hint) {
    if (HAK_UNLIKELY(size > PTRDIFF_MAX || alignment > PTRDIFF_MAX - size)) {
        errno = ENOMEM;
        return NULL;
    }
    if (size <= HAK_SPAN_MAX && alignment <= HAK_SLAB_SIZE)
        return span_new(size, zero, hint);
    void *block = hak_huge_new(size, alignment, zero);
    /* No room for a mapping of its own: SuperSlabs may still have some. */
    if (!block && size < HAK_SUPERSLAB_SIZE - HAK_SLAB_SIZE && alignment <= HAK_SLAB_SIZE)
        block = span_new(size, zero, hint);
    return block;
}

bool hak_large_begins(const void *block, unsigned kind) {
    if (kind == HAK_KIND_HUGE)
        return hak_huge_begins(block);
    return !((uintptr_t)block & (HAK_SLAB_SIZE - 1));
}

static void check_span(const void *block) {
    if (!hak_large_begins(block, HAK_KIND_SPAN))
        hak_fatal(
            "hakmem: invalid pointer %p: it points into a block of %u bytes, not at its start\n",
            block, (unsigned long)span_slabs(block) << HAK_SLAB_SHIFT);
}

void hak_large_free(void *block, unsigned kind) {
    if (kind == HAK_KIND_HUGE) {
        hak_huge_free(block);
        return;
    }
    check_span(block);
    TinySlabMeta *slab = hak_slab_meta_of(block);
    unsigned count = span_slabs(block);
    hak_page_map_set(block, HAK_KIND_NONE);
    /* relaxed: as in span_new */
    atomic_store_explicit(&slab->owner, HAK_OWNER_NONE, memory_order_relaxed);
    hak_event(HAK_EVENT_SPAN_FREED, count, block);
    hak_pool_give(block, count);
}

size_t hak_large_usable(const void *block, unsigned kind) {
    if (kind == HAK_KIND_HUGE)
        return hak_huge_usable(block);
    check_span(block);
    return (size_t)span_slabs(block) << HAK_SLAB_SHIFT;
}

void *hak_large_resize(void *block, unsigned kind, size_t size) {
    if (kind == HAK_KIND_HUGE)
        return size > HAK_SPAN_MAX / 2 ? hak_huge_resize(block, size) : NULL;
    check_span(block);
    if (size <= HAK_SMALL_MAX || size > HAK_SPAN_MAX)
        return NULL;
    unsigned have = span_slabs(block), want = slabs_for(size);
    if (want > have && !hak_pool_extend(block, have, want))
        return NULL;
    /* relaxed: as in span_new */
    atomic_store_explicit(&hak_slab_meta_of(block)->class_index, want, memory_order_relaxed);
    atomic_store_explicit(&hak_slab_meta_of(block)->last_use, (uint8_t)want, memory_order_relaxed);
    hak_event(HAK_EVENT_SPAN_RESIZED, want, block);
    if (want < have)
        hak_pool_give((char *)block + ((size_t)want << HAK_SLAB_SHIFT), have - want);
    return block;
}
