/* What time brings: memory that nobody uses goes back to the slabs and to the system, a bounded
 * part of it in each call. */
#include "base/options.h"
#include "base/size_class.h"
#include "heap/heap.h"
#include "large/large.h"
#include "os/os.h"

#include <errno.h>

#define TICK_EVERY  16u  /* slow paths between two looks at the clock */
#define SLEEP_LEAST 100u /* ms without a look that are taken for a sleep, at least */

#define AWAKE_AFTER 200u /* ms: what isn't given back by then is left to other ticks */

/* What one call may do at most, so that none takes long; the next slow paths go on. */
#define TRIM_MOST  32u /* magazines given home from the depot */
#define CACHE_MOST 64u /* threads whose free slabs for spans are looked at */
#define PURGE_MOST 16u /* SuperSlabs looked at */
#define UNMAP_MOST 2u  /* huge blocks unmapped */

/* Magazines that nobody took from the depot for an interval go back to the slabs, or all of them
 * if the program slept; TRIM_MOST of them at a time. False: there are more. */
static bool trim_depot(struct hak_heap *heap) {
    /* Class to begin with. relaxed: only where to begin; about one thread is here at a time. */
    static _Atomic unsigned next;
    unsigned first = atomic_load_explicit(&next, memory_order_relaxed);
    unsigned budget = TRIM_MOST;
    for (unsigned i = 0; i < HAK_CLASS_MAX; i++) {
        unsigned c = 1 + (first + i) % HAK_CLASS_MAX;
        struct hak_magazine *magazine;
        while (budget && (magazine = heap->asleep ? hak_depot_take(c) : hak_depot_take_idle(c))) {
            budget--;
            hak_heap_give_blocks(heap, magazine->slots, magazine->count);
            hak_magazine_free(magazine);
        }
        if (!budget) {
            atomic_store_explicit(&next, c - 1, memory_order_relaxed);
            return false;
        }
        hak_depot_next_interval(c);
    }
    return true;
}

size_t hak_heap_collect(void) {
    hak_init();
    struct hak_heap *heap = hak_heap_self();
    if (heap)
        hak_magazines_empty(heap);
    while (hak_heap_help_leaving()) {
    }
    hak_span_caches_trim(hak_span_caches(), heap ? &heap->spans : NULL, true, UINT32_MAX);
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        struct hak_magazine *magazine;
        while ((magazine = hak_depot_take(c))) {
            hak_heap_give_blocks(heap, magazine->slots, magazine->count);
            hak_magazine_free(magazine);
        }
    }
    if (heap) {
        hak_heap_process_pending(heap, false);
        hak_heap_retire_kept(heap);
    }
    /* Each purge goes on where the last one stopped: twice to see all. */
    uint64_t now = hak_os_now_ms();
    size_t slabs = hak_pool_purge(now, 0, UINT32_MAX) + hak_pool_purge(now, 0, UINT32_MAX);
    return (slabs << HAK_SLAB_SHIFT) + hak_huge_purge(now, 0, UINT32_MAX);
}

void hak_heap_make_room(bool huge) {
    int kept = errno;
    hak_heap_collect();
    if (huge)
        hak_pool_release();
    errno = kept;
}

/* The next part of what is due. After a sleep everything is that has no use, however late it came
 * free: first the depot's blocks go home, then the pages behind them. */
static void give_back(struct hak_heap *heap, uint64_t now, uint64_t delay) {
    /* Others may free faster than this thread gives back. */
    if (heap->asleep && now > heap->woke_at + AWAKE_AFTER) {
        heap->asleep = heap->unfinished = heap->untrimmed = false;
        hak_magazines_begin_again(heap);
        return;
    }
    if (heap->asleep)
        delay = 0;
    if (heap->untrimmed && !trim_depot(heap) && heap->asleep)
        return;
    heap->untrimmed = false;
    if (heap->asleep) {
        if (hak_heap_help_leaving())
            return;
        hak_heap_process_pending(heap, false);
        hak_heap_retire_kept(heap);
    }
    heap->untrimmed_spans =
        hak_span_caches_trim(heap->untrimmed_spans, &heap->spans, !delay, CACHE_MOST);
    if (heap->untrimmed_spans)
        return;
    hak_pool_purge(now, delay, PURGE_MOST);
    if (hak_huge_purge(now, delay, UNMAP_MOST) || !hak_pool_purge_is_through())
        return;
    if (heap->asleep) {
        heap->asleep = false;
        hak_magazines_begin_again(heap);
    }
    heap->unfinished = false;
}

HAK_NOINLINE static void tick_slow(struct hak_heap *heap) {
    long option = hak_option(HAK_OPT_PURGE_DELAY);
    if (HAK_UNLIKELY(option < 0)) { /* maybe changed in the middle of giving back */
        if (heap->asleep)
            hak_magazines_begin_again(heap);
        heap->asleep = heap->unfinished = heap->untrimmed = false;
        return;
    }
    uint64_t delay = (uint64_t)option, sleep = delay > SLEEP_LEAST ? delay : SLEEP_LEAST;
    static _Atomic uint64_t due; /* ms */
    uint64_t now = hak_os_now_ms();
    uint64_t looked_at = heap->looked_at;
    heap->looked_at = now;
    if (heap->unfinished) {
        give_back(heap, now, delay);
        return;
    }
    uint64_t old = atomic_load_explicit(&due, memory_order_relaxed);
    uint64_t next = now + delay / 4 + 1;
    /* What is due later than that was so by a delay that the program has made shorter since.
     * relaxed: which thread does the work is all that is decided here */
    bool mine = !(now < old && old <= next) &&
                atomic_compare_exchange_strong_explicit(&due, &old, next, memory_order_relaxed,
                                                        memory_order_relaxed);
    if (mine && !old)
        return; /* the first tick of all begins the first interval */
    /* No thread has looked at the clock for so long: the program slept, or its work is over. */
    heap->asleep = mine && now >= old + sleep;
    if (heap->asleep) {
        heap->woke_at = now;
        hak_magazines_begin_again(heap); /* and hold nothing until it is awake */
    } else if (looked_at && now >= looked_at + sleep + sleep / 4)
        hak_magazines_begin_again(heap); /* this thread did */
    else if (mine)
        hak_magazines_shrink_idle(heap);
    if (!mine)
        return;
    heap->unfinished = heap->untrimmed = true;
    heap->untrimmed_spans = hak_span_caches();
    give_back(heap, now, delay);
}

void hak_heap_tick_now(void) {
    struct hak_heap *heap = hak_heap_self();
    /* A thread that the depot serves needs nothing of its own slabs, but others may. */
    hak_heap_process_pending(heap, false);
    hak_heap_help_leaving();
    tick_slow(heap);
}

void hak_heap_tick(void) {
    struct hak_heap *heap = hak_heap_self();
    if (heap && HAK_UNLIKELY(!(++heap->ticks % TICK_EVERY) || heap->unfinished)) {
        int kept = errno;
        hak_heap_tick_now();
        errno = kept;
    }
}
