/* The heaps that no thread uses: stacks without a lock, so that a thread that stops in the middle
 * of its beginning or its end keeps nobody else from theirs. */
#include "base/link.h"
#include "heap/heap.h"

static _Atomic uint64_t stacks[HAK_HEAP_STACKS]; /* links to the last that was put */

struct hak_heap *hak_heaps_take(enum hak_heap_stack stack) {
    _Atomic uint64_t *last = &stacks[stack];
    /* acquire, here and on failure: pairs with the release in hak_heaps_put */
    uint64_t old = atomic_load_explicit(last, memory_order_acquire);
    struct hak_heap *heap, *next;
    do {
        heap = hak_link_target(old);
        if (!heap)
            return NULL;
        /* May be another thread's by now; the tag makes the exchange fail then. relaxed: heaps stay
         * heaps for ever, and a value that is used was seen by the acquire of the head. */
        next = atomic_load_explicit(&heap->next, memory_order_relaxed);
        /* acq_rel: acquire as above; release: what others have put stays seen */
    } while (!atomic_compare_exchange_weak_explicit(last, &old, hak_link_after(old, next),
                                                    memory_order_acq_rel, memory_order_acquire));
    return heap;
}

void hak_heaps_put(struct hak_heap *heap, enum hak_heap_stack stack) {
    _Atomic uint64_t *last = &stacks[stack];
    /* relaxed, and on failure: the head is only stored as a link */
    uint64_t old = atomic_load_explicit(last, memory_order_relaxed);
    do
        /* relaxed: released with the head */
        atomic_store_explicit(&heap->next, hak_link_target(old), memory_order_relaxed);
    /* release: the next thread with this heap sees it as it was left */
    while (!atomic_compare_exchange_weak_explicit(last, &old, hak_link_after(old, heap),
                                                  memory_order_release, memory_order_relaxed));
}
