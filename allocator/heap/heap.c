/* A heap's birth and end, and the allocator's set-up. */
#include "heap/heap.h"
#include "base/counters.h"
#include "base/guard.h"
#include "base/lock.h"
#include "base/options.h"
#include "large/large.h"
#include "os/barrier.h"
#include "os/os.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

/* ---- the thread-local block ---------------------------------------------------------------- */

void *hak_no_magazine[1];

#define EMPTY4  hak_no_magazine, hak_no_magazine, hak_no_magazine, hak_no_magazine
#define EMPTY16 EMPTY4, EMPTY4, EMPTY4, EMPTY4
_Thread_local struct hak_thread hak_thread = {
    .top = {EMPTY16, EMPTY16, EMPTY16, EMPTY16},
    .end = {EMPTY16, EMPTY16, EMPTY16, EMPTY16},
};

_Thread_local bool hak_thread_ended;

/* ---- birth and end ------------------------------------------------------------------------- */

static _Atomic unsigned heaps_in_use;

unsigned hak_heaps_in_use(void) {
    return atomic_load_explicit(&heaps_in_use, memory_order_relaxed); /* relaxed: a hint */
}
static pthread_key_t thread_end_key;
static bool thread_end_is_known; /* there is a key; set before the first heap */

static struct hak_heap *new_heap(void) {
    size_t bytes = sizeof(struct hak_heap) + hak_magazines_slots() * sizeof(void *);
    size_t hidden = hak_instrumented ? sizeof(struct hak_thread) : 0;
    struct hak_heap *heap = hak_os_meta(bytes + hidden, HAK_CACHE_LINE);
    if (!heap)
        return NULL;
    if (hidden) {
        heap->magazines = (struct hak_thread *)((char *)heap + bytes);
        for (unsigned c = 0; c < HAK_KIND_COUNT; c++)
            heap->magazines->top[c] = heap->magazines->end[c] = hak_no_magazine;
    }
    hak_counters_register(&heap->counters);
    hak_span_cache_register(&heap->spans);
    hak_count(HAK_COUNT_HEAPS, 1);
    /* relaxed: nobody knows the heap before it owns a slab, and hak_heap_enter releases it first */
    atomic_store_explicit(&heap->pending, HAK_PENDING_CLOSED, memory_order_relaxed);
    return heap;
}

struct hak_heap *hak_heap_enter(void) {
    hak_init();
    struct hak_heap *heap = hak_heaps_take(HAK_HEAPS_FREE);
    if (!heap)
        heap = new_heap();
    if (!heap) {
        errno = ENOMEM;
        return NULL;
    }
    atomic_fetch_add_explicit(&heaps_in_use, 1, memory_order_relaxed); /* relaxed: a hint */
    if (!hak_instrumented)
        heap->magazines = &hak_thread;
    hak_magazines_open(heap);
    /* release: whoever tells this heap something sees it open and whole */
    atomic_store_explicit(&heap->pending, 0, memory_order_release);
    hak_self = (uintptr_t)heap;
    hak_counters = &heap->counters;
    /* A heap that nobody would give back is borrowed for one call, or not given at all. */
    if (!thread_end_is_known)
        hak_thread_ended = true;
    if (!hak_thread_ended) {
        int kept = errno;
        if (pthread_setspecific(thread_end_key, heap) != 0) { /* it may need memory */
            hak_heap_exit();
            errno = ENOMEM;
            return NULL;
        }
        errno = kept;
        if (hak_option(HAK_OPT_CRASH_LOG))
            hak_trace_enter(&heap->trace);
    }
    return heap;
}

void hak_heap_exit(void) {
    struct hak_heap *heap = hak_heap_self();
    if (!heap)
        return;
    heap->ending = true;
    hak_magazines_empty(heap);
    heap->unfinished = heap->asleep = false;
    heap->looked_at = 0;
    if (heap->spare)
        hak_magazine_free(heap->spare);
    heap->spare = NULL;
    bool left_all = hak_heap_abandon_slabs(heap);
    heap->ending = false;
    heap->hint = NULL;
    hak_span_cache_empty(&heap->spans);
    heap->spans.hint = NULL;
    heap->spans.out = 0;
    hak_magazines_end(heap);
    hak_self = 0;
    hak_counters = NULL;
    if (hak_option(HAK_OPT_CRASH_LOG))
        hak_trace_leave(&heap->trace);
    atomic_fetch_sub_explicit(&heaps_in_use, 1, memory_order_relaxed); /* relaxed: a hint */
    hak_heaps_put(heap, left_all ? HAK_HEAPS_FREE : HAK_HEAPS_LEAVING);
}

static void at_thread_end(void *heap) {
    (void)heap;
    hak_thread_ended = true;
    hak_heap_exit();
}

/* ---- set-up and fork ----------------------------------------------------------------------- */

static void fork_prepare(void) {
    hak_os_fork_prepare();
    hak_forking = true;
}

static void fork_release(void) {
    hak_forking = false;
    hak_os_fork_release();
}

/* The thread that forked is the only one, with ids of its own. */
static void fork_child(void) {
    fork_release();
    hak_pool_fork_child();
    hak_huge_fork_child();
    hak_span_caches_fork_child();
    hak_magazines_fork_child();
    struct hak_heap *heap = hak_heap_self();
    atomic_store_explicit(&heaps_in_use, heap ? 1 : 0, memory_order_relaxed); /* relaxed: a hint */
    if (heap)
        hak_trace_forked(&heap->trace);
}

bool hak_instrumented;

enum { NOT_BEGUN, BEGUN, READY };
static _Atomic int init_state;

HAK_COLD static void init_slow(void) {
    int expected = NOT_BEGUN;
    /* acquire: as in hak_init; the winner has nothing to see */
    if (!atomic_compare_exchange_strong_explicit(&init_state, &expected, BEGUN,
                                                 memory_order_acquire, memory_order_acquire)) {
        while (atomic_load_explicit(&init_state, memory_order_acquire) != READY)
            sched_yield();
        return;
    }
    int kept = errno;
    hak_options_init();
    hak_guard_init();
    hak_instrumented = hak_guarding() || hak_option(HAK_OPT_STATS);
    hak_magazines_init();
    hak_os_barrier_init();
    hak_page_map_init();
    /* The program may have taken all there are (PTHREAD_KEYS_MAX): allocation is slow then. */
    thread_end_is_known = pthread_key_create(&thread_end_key, at_thread_end) == 0;
    /* release: pairs with the acquire of hak_init */
    atomic_store_explicit(&init_state, READY, memory_order_release);
    /* It may allocate. */
    pthread_atfork(fork_prepare, fork_release, fork_child);
    errno = kept;
}

void hak_init(void) {
    /* acquire: pairs with the release in init_slow, so that the options and tables are seen */
    if (HAK_LIKELY(atomic_load_explicit(&init_state, memory_order_acquire) == READY))
        return;
    init_slow();
}

struct hak_span_cache *hak_heap_spans(void) {
    struct hak_heap *heap = hak_heap_self();
    if (!heap && !hak_thread_ended && thread_end_is_known)
        heap = hak_heap_enter();
    return heap ? &heap->spans : NULL;
}
