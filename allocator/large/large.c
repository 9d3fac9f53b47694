/* Spans, and which of both kinds serves a request. */
#include "large/large.h"
#include "large/huge.h"
#include "large/span_cache.h"
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

/* From the thread's own free slabs, from the pool, and where both have none together, from a new
 * SuperSlab. */
static struct hak_slab_run take_slabs(unsigned count, struct hak_span_cache *cache) {
    struct hak_superslab *none = NULL, **hint = cache ? &cache->hint : &none;
    struct hak_slab_run run = {.base = NULL};
    if (cache)
        run.base = hak_span_cache_take(cache, count);
    if (!run.base)
        run = hak_pool_take(count, hint, false);
    if (!run.base) {
        if (cache)
            hak_span_cache_empty(cache);
        run = hak_pool_take(count, hint, true);
    }
    if (run.base && cache)
        hak_span_cache_count(cache, count);
    return run;
}

static void give_slabs(char *base, unsigned count, struct hak_span_cache *cache) {
    if (cache)
        hak_span_cache_put(cache, base, count);
    else
        hak_pool_give(base, count);
}

void *hak_large_again(size_t size, struct hak_span_cache *cache) {
    unsigned count = slabs_for(size);
    char *span = hak_span_cache_pop(cache, count);
    if (HAK_UNLIKELY(!span))
        return NULL;
    hak_span_set_owner(span, HAK_OWNER_SPAN);
    hak_event(HAK_EVENT_SPAN_NEW, count, span);
    hak_unpoison(span, size);
    return span;
}

bool hak_large_keep(void *block, struct hak_span_cache *cache) {
    unsigned count = span_slabs(block);
    hak_poison(block, (size_t)count << HAK_SLAB_SHIFT);
    /* Whether it is in use its metadata tell, and the page map is left alone: in a line of the map
     * lie the entries of 4 MiB, and so of other threads' blocks, which their frees read. First:
     * others may take it out at once. */
    hak_span_set_owner(block, HAK_OWNER_KEPT);
    if (HAK_UNLIKELY(!hak_span_cache_push(cache, block, count))) {
        hak_span_set_owner(block, HAK_OWNER_SPAN);
        return false;
    }
    hak_event(HAK_EVENT_SPAN_FREED, count, block);
    return true;
}

static void *span_new(size_t size, bool zero, struct hak_span_cache *cache) {
    size_t bytes = size ? size : 1;
    unsigned count = slabs_for(bytes);
    void *again = cache ? hak_large_again(bytes, cache) : NULL;
    if (again)
        return zero ? memset(again, 0, size) : again;
    struct hak_slab_run run = take_slabs(count, cache);
    if (!run.base)
        return NULL;
    TinySlabMeta *slab = hak_slab_meta_of(run.base);
    /* relaxed, here and where the span ends: who holds the block sees them by the hand-over of the
     * block, the next user of these slabs by the pool's release and acquire; others look at the
     * owner word only to find that the slab isn't theirs to claim, which holds for any value. */
    atomic_store_explicit(&slab->class_index, count, memory_order_relaxed);
    atomic_store_explicit(&slab->last_use, (uint8_t)count, memory_order_relaxed);
    hak_span_set_owner(run.base, HAK_OWNER_SPAN);
    if (!hak_page_map_set(run.base, HAK_KIND_SPAN)) {
        hak_span_set_owner(run.base, HAK_OWNER_NONE);
        give_slabs(run.base, count, cache);
        return NULL;
    }
    hak_event(HAK_EVENT_SPAN_NEW, count, run.base);
    hak_poison(run.base, (size_t)count << HAK_SLAB_SHIFT);
    hak_unpoison(run.base, size);
    if (zero && !run.zeroed)
        memset(run.base, 0, size);
    return run.base;
}

void *hak_large_new(size_t size, size_t alignment, unsigned how, struct hak_span_cache *cache) {
    bool zero = how & HAK_ZEROED;
    if (HAK_UNLIKELY(size > PTRDIFF_MAX || alignment > PTRDIFF_MAX - size)) {
        errno = ENOMEM;
        return NULL;
    }
    if (size <= HAK_SPAN_MAX && alignment <= HAK_SLAB_SIZE)
        return span_new(size, zero, cache);
    void *block = hak_huge_new(size, alignment, zero, how & HAK_GROWS);
    /* No room for a mapping of its own: SuperSlabs may still have some. */
    if (!block && size < HAK_SUPERSLAB_SIZE - HAK_SLAB_SIZE && alignment <= HAK_SLAB_SIZE)
        block = span_new(size, zero, cache);
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

void hak_large_free(void *block, unsigned kind, struct hak_span_cache *cache) {
    if (kind == HAK_KIND_HUGE) {
        hak_huge_free(block);
        return;
    }
    check_span(block);
    unsigned count = span_slabs(block);
    hak_span_end(block);
    hak_event(HAK_EVENT_SPAN_FREED, count, block);
    give_slabs(block, count, cache);
}

size_t hak_large_usable(const void *block, unsigned kind) {
    if (kind == HAK_KIND_HUGE)
        return hak_huge_usable(block);
    check_span(block);
    return (size_t)span_slabs(block) << HAK_SLAB_SHIFT;
}

void *hak_large_resize(void *block, unsigned kind, size_t size, struct hak_span_cache *cache) {
    if (kind == HAK_KIND_HUGE)
        return size > HAK_SPAN_MAX / 2 ? hak_huge_resize(block, size) : NULL;
    check_span(block);
    if (size <= HAK_SMALL_MAX || size > HAK_SPAN_MAX)
        return NULL;
    unsigned have = span_slabs(block), want = slabs_for(size);
    if (want > have && !(cache && hak_span_cache_extend(cache, block, have, want)) &&
        !hak_pool_extend(block, have, want))
        return NULL;
    /* relaxed: as in span_new */
    atomic_store_explicit(&hak_slab_meta_of(block)->class_index, want, memory_order_relaxed);
    atomic_store_explicit(&hak_slab_meta_of(block)->last_use, (uint8_t)want, memory_order_relaxed);
    hak_event(HAK_EVENT_SPAN_RESIZED, want, block);
    if (want < have)
        give_slabs((char *)block + ((size_t)want << HAK_SLAB_SHIFT), have - want, cache);
    return block;
}
