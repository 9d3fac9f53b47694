/* A thread's last events in the allocator, for the crash log: which blocks and slabs went where.
 *
 * Slow paths alone record, and only in threads that were given a ring: HAKMEM_CRASH_LOG=1. */
#ifndef HAK_EVENTS_H
#define HAK_EVENTS_H

#include "base/config.h"

#include <stdatomic.h>

/* What happened, how the log puts it, and whether its detail is a size class or a number of slabs'
 * sizes (64 KiB). */
#define HAK_EVENTS(X)                                                                              \
    X(REFILL, "took blocks", CLASS)                                                                \
    X(FLUSH, "gave blocks back", CLASS)                                                            \
    X(DEPOT_TAKE, "took a magazine from the depot", CLASS)                                         \
    X(DEPOT_PUT, "put a magazine into the depot", CLASS)                                           \
    X(SLAB_NEW, "began a slab", CLASS)                                                             \
    X(SLAB_CLAIMED, "claimed a slab", CLASS)                                                       \
    X(SLAB_LEFT, "gave up a slab", CLASS)                                                          \
    X(SLAB_RETIRED, "gave an empty slab back", CLASS)                                              \
    X(SPAN_NEW, "allocated a span", SLABS)                                                         \
    X(SPAN_RESIZED, "resized a span", SLABS)                                                       \
    X(SPAN_FREED, "freed a span", SLABS)                                                           \
    X(HUGE_NEW, "allocated a huge block", SLABS)                                                   \
    X(HUGE_RESIZED, "resized a huge block", SLABS)                                                 \
    X(HUGE_FREED, "freed a huge block", SLABS)

enum hak_event_kind {
#define X(name, text, detail) HAK_EVENT_##name,
    HAK_EVENTS(X)
#undef X
        HAK_EVENT_KINDS
};

struct hak_event {
    const void *address; /* of the block or slab, after the event */
    uint32_t kind;       /* enum hak_event_kind */
    uint32_t detail;     /* a size class, or a number of slabs' sizes */
};

#define HAK_EVENTS_KEPT 16u /* a power of two */

struct hak_event_ring {
    _Atomic uint32_t count; /* events ever; the next one goes to count % HAK_EVENTS_KEPT */
    struct hak_event events[HAK_EVENTS_KEPT];
};

/* The calling thread's ring, or NULL: nothing is recorded. */
extern _Thread_local struct hak_event_ring *hak_events __attribute__((tls_model("initial-exec")));

void hak_event_record(struct hak_event_ring *ring, enum hak_event_kind kind, unsigned detail,
                      const void *address);

/* Records what the calling thread did just now. Never on a hit path. */
HAK_INLINE void hak_event(enum hak_event_kind kind, unsigned detail, const void *address) {
    struct hak_event_ring *ring = hak_events;
    if (HAK_UNLIKELY(ring != NULL))
        hak_event_record(ring, kind, detail, address);
}

#endif
