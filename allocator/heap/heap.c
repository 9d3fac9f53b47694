/* A heap's birth and end, its magazines, and the slow ends of malloc and free. */
#include "heap/heap.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/events.h"
#include "base/guard.h"
#include "base/lock.h"
#include "base/mark.h"
#include "base/options.h"
#include "base/size_class.h"
#include "large/large.h"
#include "os/os.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* The first refill of a class takes no more than this, in bytes: a program that has few blocks of a
 * large class shouldn't pay for pages behind others. */
#define FIRST_REFILL_BYTES 4096u
#define FIRST_SLOTS_BYTES                                                                          \
    16384u                /* of blocks in a magazine, before the class is seen to need more */
#define ALONE_SHARE 8u    /* of the depot, for large classes of a thread that is alone */
#define ALONE_FROM  2048u /* bytes: the blocks that a lone thread keeps there at all are larger */
#define TICK_EVERY  16u   /* slow paths between two looks at the clock */

/* What one tick may do at most, so that no call of malloc takes long. */
#define TRIM_MOST  64u /* magazines given home from the depot */
#define PURGE_MOST 64u /* SuperSlabs looked at */
#define UNMAP_MOST 4u  /* huge blocks unmapped */

/* ---- the thread-local block ---------------------------------------------------------------- */

/* The magazine of whoever has none: its NULL makes it empty, top == end makes it full. */
static void *no_magazine[1];

#define EMPTY4  no_magazine, no_magazine, no_magazine, no_magazine
#define EMPTY16 EMPTY4, EMPTY4, EMPTY4, EMPTY4
_Thread_local struct hak_thread hak_thread = {
    .top = {EMPTY16, EMPTY16, EMPTY16, EMPTY16},
    .end = {EMPTY16, EMPTY16, EMPTY16, EMPTY16},
};

/* This thread's heap was given back at its end; what it still asks for is served by a heap that is
 * borrowed for one call. */
static _Thread_local bool thread_ended __attribute__((tls_model("initial-exec")));

static void forget_magazines(void) {
    for (unsigned c = 0; c < HAK_KIND_COUNT; c++)
        hak_thread.top[c] = hak_thread.end[c] = no_magazine;
}

/* ---- birth and end ------------------------------------------------------------------------- */

static _Atomic unsigned heaps_in_use;

unsigned hak_heaps_in_use(void) {
    return atomic_load_explicit(&heaps_in_use, memory_order_relaxed); /* relaxed: a hint */
}
static pthread_key_t thread_end_key;
static bool thread_end_is_known; /* there is a key; set before the first heap */

/* Room for a full magazine of the depot, and as much again. */
static unsigned slots_of(unsigned class_index) {
    return 2 * hak_magazine_batch(class_index);
}

/* The same for every heap, since a magazine of the depot must fit into any. */
static uint16_t most_of(unsigned class_index) {
    size_t bytes = (size_t)hak_option(HAK_OPT_MAGAZINE_MAX) << 10;
    size_t most = bytes / hak_class_size[class_index] & ~(size_t)1;
    if (most < 2)
        most = 2;
    return (uint16_t)(most < slots_of(class_index) ? most : slots_of(class_index));
}

/* A magazine shrinks to no less. */
static unsigned slots_at_first(const struct hak_heap_class *class, unsigned class_index) {
    unsigned slots = (unsigned)hak_option(HAK_OPT_MAGAZINE_MIN);
    unsigned fitting = FIRST_SLOTS_BYTES / hak_class_size[class_index];
    if (slots > fitting)
        slots = fitting ? fitting : 1;
    return slots < class->most ? slots : class->most;
}

static uint16_t first_refill(unsigned class_index, unsigned capacity) {
    unsigned blocks = FIRST_REFILL_BYTES / hak_class_size[class_index];
    if (blocks > capacity / 2)
        blocks = capacity / 2;
    return (uint16_t)(blocks ? blocks : 1);
}

static struct hak_heap *new_heap(void) {
    size_t slots = 0;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++)
        slots += 1 + slots_of(c);
    size_t bytes = sizeof(struct hak_heap) + slots * sizeof(void *);
    size_t hidden = hak_instrumented ? sizeof(struct hak_thread) : 0;
    struct hak_heap *heap = hak_os_meta(bytes + hidden, HAK_CACHE_LINE);
    if (!heap)
        return NULL;
    if (hidden)
        heap->magazines = (struct hak_thread *)((char *)heap + bytes);
    hak_counters_register(&heap->counters);
    hak_count(HAK_COUNT_HEAPS, 1);
    void **next = heap->slots;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        heap->classes[c].bottom = next; /* zero, as all memory of the system is */
        heap->classes[c].most = most_of(c);
        next += 1 + slots_of(c);
    }
    /* relaxed: nobody knows the heap before it owns a slab, and hak_heap_enter releases it first */
    atomic_store_explicit(&heap->pending, HAK_PENDING_CLOSED, memory_order_relaxed);
    return heap;
}

struct hak_heap *hak_heap_enter(void) {
    hak_init();
    struct hak_heap *heap = hak_heaps_take();
    if (!heap)
        heap = new_heap();
    if (!heap) {
        errno = ENOMEM;
        return NULL;
    }
    atomic_fetch_add_explicit(&heaps_in_use, 1, memory_order_relaxed); /* relaxed: a hint */
    if (!hak_instrumented)
        heap->magazines = &hak_thread;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        struct hak_heap_class *class = &heap->classes[c];
        class->capacity = (uint16_t)slots_at_first(class, c);
        class->refill = first_refill(c, class->capacity);
        class->misses = 0;
        heap->magazines->top[c] = class->bottom;
        heap->magazines->end[c] = class->bottom + class->capacity;
    }
    /* release: whoever tells this heap something sees it open and whole */
    atomic_store_explicit(&heap->pending, 0, memory_order_release);
    hak_self = (uintptr_t)heap;
    hak_counters = &heap->counters;
    /* A heap that nobody would give back is borrowed for one call, or not given at all. */
    if (!thread_end_is_known)
        thread_ended = true;
    if (!thread_ended) {
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

/* Everything goes home: in the depot the blocks would reach another thread, and share cache lines
 * with those that stay here. */
static void empty_magazine(struct hak_heap *heap, unsigned class_index) {
    void **bottom = heap->classes[class_index].bottom;
    hak_heap_give_blocks(heap, bottom + 1, (unsigned)(heap->magazines->top[class_index] - bottom));
    heap->magazines->top[class_index] = bottom;
}

void hak_heap_exit(void) {
    struct hak_heap *heap = hak_heap_self();
    if (!heap)
        return;
    heap->ending = true;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++)
        empty_magazine(heap, c);
    if (heap->spare)
        hak_magazine_free(heap->spare);
    heap->spare = NULL;
    hak_heap_process_pending(heap, true);
    hak_heap_abandon_slabs(heap);
    heap->hint = NULL;
    heap->ending = false;
    forget_magazines();
    hak_self = 0;
    hak_counters = NULL;
    if (hak_option(HAK_OPT_CRASH_LOG))
        hak_trace_leave(&heap->trace);
    atomic_fetch_sub_explicit(&heaps_in_use, 1, memory_order_relaxed); /* relaxed: a hint */
    hak_heaps_put(heap);
}

static void at_thread_end(void *heap) {
    (void)heap;
    thread_ended = true;
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

/* ---- magazines ----------------------------------------------------------------------------- */

static void set_capacity(struct hak_heap *heap, unsigned class_index, unsigned capacity) {
    struct hak_heap_class *class = &heap->classes[class_index];
    class->capacity = (uint16_t)(capacity < class->most ? capacity : class->most);
    heap->magazines->end[class_index] = class->bottom + class->capacity;
}

void *hak_heap_refill(unsigned class_index) {
    struct hak_heap *heap = hak_heap_self();
    if (HAK_UNLIKELY(!heap) && !(heap = hak_heap_enter()))
        return NULL;
    hak_heap_tick();
    struct hak_heap_class *class = &heap->classes[class_index];
    /* Making the heap known to the thread library may have allocated, and so filled it already. */
    void **top = heap->magazines->top[class_index];
    if (HAK_UNLIKELY(top != class->bottom)) {
        heap->magazines->top[class_index] = top - 1;
        return *top;
    }
    class->misses++;
    void **blocks = class->bottom + 1;
    unsigned count;
    struct hak_magazine *magazine = hak_depot_take(class_index);
    if (magazine) {
        count = magazine->count;
        memcpy(blocks, magazine->slots, count * sizeof *blocks);
        hak_event(HAK_EVENT_DEPOT_TAKE, class_index, blocks[0]);
        if (heap->spare)
            hak_magazine_free(magazine);
        else
            heap->spare = magazine;
    } else {
        unsigned wanted = thread_ended ? 1 : class->refill;
        count = hak_heap_take_blocks(heap, class_index, blocks, wanted);
        if (HAK_UNLIKELY(!count)) {
            hak_heap_make_room(false);
            count = hak_heap_take_blocks(heap, class_index, blocks, wanted);
        }
        if (class->refill < class->most / 2u)
            class->refill = (uint16_t)(class->refill * 2u < class->most / 2u ? class->refill * 2u
                                                                             : class->most / 2u);
    }
    if (class->capacity < count)
        set_capacity(heap, class_index, count);
    void *block = count ? blocks[count - 1] : NULL;
    if (!magazine)
        hak_event(HAK_EVENT_REFILL, class_index, block);
    heap->magazines->top[class_index] = class->bottom + (count ? count - 1 : 0);
    if (HAK_UNLIKELY(thread_ended))
        hak_heap_exit();
    return block;
}

/* What a class may have in the depot. A thread that is alone has nobody to exchange with, and what
 * lies there keeps slabs from becoming empty, a few blocks each of very many. Small ones are
 * therefore given home, which takes little more time; of large ones, of which a slab has few, some
 * magazines stay for the thread's ups and downs. */
static size_t depot_bytes(unsigned class_index) {
    size_t bytes = (size_t)hak_option(HAK_OPT_DEPOT) << 10;
    if (hak_heaps_in_use() > 1)
        return bytes;
    return hak_class_size[class_index] > ALONE_FROM ? bytes / ALONE_SHARE : 0;
}

/* Moves the older half of a magazine to the depot, or to the slabs if the depot is full. */
static void shed(struct hak_heap *heap, unsigned class_index, unsigned batch) {
    struct hak_heap_class *class = &heap->classes[class_index];
    void **blocks = class->bottom + 1;
    unsigned count = (unsigned)(heap->magazines->top[class_index] - class->bottom);
    struct hak_magazine *magazine = heap->spare ? heap->spare : hak_magazine_new();
    heap->spare = NULL;
    bool put = false;
    if (magazine) {
        magazine->count = batch;
        memcpy(magazine->slots, blocks, batch * sizeof *blocks);
        put = hak_depot_put(class_index, magazine, depot_bytes(class_index));
        if (!put)
            heap->spare = magazine;
    }
    hak_event(put ? HAK_EVENT_DEPOT_PUT : HAK_EVENT_FLUSH, class_index, blocks[0]);
    if (!put) {
        /* Notices first: a slab whose notice waits here can't be given up to those who need it. */
        hak_heap_process_pending(heap, false);
        hak_heap_give_blocks(heap, blocks, batch);
    }
    memmove(blocks, blocks + batch, (count - batch) * sizeof *blocks);
    heap->magazines->top[class_index] = class->bottom + count - batch;
}

void hak_heap_overflow(void *block, unsigned class_index) {
    struct hak_heap *heap = hak_heap_self();
    if (HAK_UNLIKELY(!heap) && !(heap = hak_heap_enter())) {
        hak_heap_give_blocks(NULL, &block, 1);
        return;
    }
    struct hak_heap_class *class = &heap->classes[class_index];
    if (heap->magazines->top[class_index] == heap->magazines->end[class_index]) {
        hak_heap_tick();
        class->misses++;
        if (class->capacity < class->most)
            set_capacity(heap, class_index, 2u * class->capacity);
        else
            shed(heap, class_index, class->most / 2);
    }
    *++heap->magazines->top[class_index] = block;
    if (HAK_UNLIKELY(thread_ended))
        hak_heap_exit();
}

struct hak_superslab **hak_heap_hint(void) {
    struct hak_heap *heap = hak_heap_self();
    if (!heap && !thread_ended && thread_end_is_known)
        heap = hak_heap_enter();
    return heap ? &heap->hint : NULL;
}

/* ---- what time brings ---------------------------------------------------------------------- */

/* Magazines of which the thread made no use since the last look give half of what they hold back.
 */
static void shrink_idle(struct hak_heap *heap) {
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        struct hak_heap_class *class = &heap->classes[c];
        unsigned misses = class->misses;
        class->misses = 0;
        unsigned least = slots_at_first(class, c);
        if (misses || class->capacity <= least)
            continue;
        unsigned capacity = class->capacity / 2u > least ? class->capacity / 2u : least;
        unsigned count = (unsigned)(heap->magazines->top[c] - class->bottom);
        if (count > capacity)
            shed(heap, c, count - capacity);
        set_capacity(heap, c, capacity);
        if (class->refill > capacity)
            class->refill = (uint16_t)capacity;
    }
}

/* Magazines that nobody took from the depot for an interval go back to the slabs, TRIM_MOST of them
 * at a time. */
static void trim_depot(struct hak_heap *heap) {
    /* Class to begin with. relaxed: only where to begin; about one thread is here at a time. */
    static _Atomic unsigned next;
    unsigned first = atomic_load_explicit(&next, memory_order_relaxed);
    unsigned budget = TRIM_MOST;
    for (unsigned i = 0; i < HAK_CLASS_MAX; i++) {
        unsigned c = 1 + (first + i) % HAK_CLASS_MAX;
        struct hak_magazine *magazine;
        while (budget && (magazine = hak_depot_take_idle(c))) {
            budget--;
            hak_heap_give_blocks(heap, magazine->slots, magazine->count);
            hak_magazine_free(magazine);
        }
        if (!budget) {
            atomic_store_explicit(&next, c - 1, memory_order_relaxed);
            return;
        }
        hak_depot_next_interval(c);
    }
}

size_t hak_heap_collect(void) {
    hak_init();
    struct hak_heap *heap = hak_heap_self();
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        if (heap)
            empty_magazine(heap, c);
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

HAK_NOINLINE static void tick_slow(struct hak_heap *heap) {
    long delay = hak_option(HAK_OPT_PURGE_DELAY);
    if (delay < 0)
        return;
    static _Atomic uint64_t due; /* ms */
    uint64_t now = hak_os_now_ms();
    uint64_t old = atomic_load_explicit(&due, memory_order_relaxed);
    uint64_t next = now + (uint64_t)delay / 4 + 1;
    /* What is due later than that was so by a delay that the program has made shorter since.
     * relaxed: which thread does the work is all that is decided here */
    if ((now < old && old <= next) ||
        !atomic_compare_exchange_strong_explicit(&due, &old, next, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    if (!old)
        return; /* the first tick of all begins the first interval */
    shrink_idle(heap);
    trim_depot(heap);
    hak_pool_purge(now, (uint64_t)delay, PURGE_MOST);
    hak_huge_purge(now, (uint64_t)delay, UNMAP_MOST);
}

void hak_heap_tick(void) {
    struct hak_heap *heap = hak_heap_self();
    if (!heap || HAK_LIKELY(++heap->ticks % TICK_EVERY))
        return;
    /* A thread that the depot serves needs nothing of its own slabs, but others may. */
    hak_heap_process_pending(heap, false);
    tick_slow(heap);
}
