/* Recording a thread's last events. */
#include "base/events.h"

_Thread_local struct hak_event_ring *hak_events;

/* relaxed: only the thread itself, and a signal handler that interrupts it, look at its ring; the
 * release fence keeps the compiler from counting an event before it is there. */
HAK_COLD void hak_event_record(struct hak_event_ring *ring, enum hak_event_kind kind,
                               unsigned detail, const void *address) {
    uint32_t count = atomic_load_explicit(&ring->count, memory_order_relaxed);
    ring->events[count % HAK_EVENTS_KEPT] =
        (struct hak_event){.address = address, .kind = (uint32_t)kind, .detail = detail};
    atomic_signal_fence(memory_order_release);
    atomic_store_explicit(&ring->count, count + 1, memory_order_relaxed);
}
