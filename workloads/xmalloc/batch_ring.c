/* The queue between threads that allocate and threads that free: a bounded ring of batches. */
#include "batch_ring.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wl_relax.h"

enum { YIELDS = 20 }; /* rounds in which a waiting thread gives up the processor before it sleeps */

void ring_init(batch_ring *ring, ring_cell *cells, batch *batches, uint64_t capacity,
               unsigned patience) {
    ring->cells = cells;
    ring->capacity = capacity;
    ring->patience = patience;
    for (uint64_t i = 0; i < capacity; i++) {
        atomic_init(&cells[i].turn, i);
        cells[i].held = &batches[i];
    }
}

/* ---- sleeping
 * ------------------------------------------------------------------------------------ */

static void futex(atomic_uint *word, int operation, unsigned value) {
    (void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/*
 * After a batch has passed. A sleeper first counts itself and then looks at the ring once more;
 * the two read-modify-writes of `sleepers` have an order, so either this one sees the sleeper, or
 * the sleeper sees what this thread did to the ring before.
 */
static void wake(ring_gate *gate, unsigned how_many) {
    if (atomic_fetch_add_explicit(&gate->sleepers, 0, memory_order_acq_rel) == 0)
        return;
    atomic_fetch_add_explicit(&gate->wakings, 1, memory_order_release);
    futex(&gate->wakings, FUTEX_WAKE, how_many);
}

/* ---- one attempt
 * --------------------------------------------------------------------------------- */

/* Cell number n (counted for ever) is written on turn n and read on turn n+1; then n+capacity may
 * be written there. */
static batch *try_exchange(batch_ring *ring, atomic_uint_fast64_t *end, uint64_t offset,
                           uint64_t next_turn, batch *given) {
    uint64_t number = atomic_load_explicit(end, memory_order_relaxed);
    for (;;) {
        ring_cell *cell = &ring->cells[number & (ring->capacity - 1)];
        uint64_t turn = atomic_load_explicit(&cell->turn, memory_order_acquire);
        int64_t ahead = (int64_t)(turn - (number + offset));
        if (ahead < 0)
            return NULL; /* its time has not come: full, or empty */
        if (ahead > 0) {
            number = atomic_load_explicit(end, memory_order_relaxed); /* another thread had it */
            continue;
        }
        if (atomic_compare_exchange_weak_explicit(end, &number, number + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            batch *taken = cell->held;
            cell->held = given;
            atomic_store_explicit(&cell->turn, number + next_turn, memory_order_release);
            return taken;
        }
    }
}

static batch *try_put(batch_ring *ring, batch *full) {
    return try_exchange(ring, &ring->tail, 0, 1, full);
}

batch *ring_try_take(batch_ring *ring, batch *empty) {
    return try_exchange(ring, &ring->head, 1, ring->capacity, empty);
}

/* ---- attempts until one succeeds
 * ------------------------------------------------------------------ */

typedef batch *attempt(batch_ring *ring, batch *given);

static batch *insist(batch_ring *ring, attempt *try_it, ring_gate *mine, ring_gate *others,
                     batch *given, bool until_closed) {
    batch *taken = try_it(ring, given);
    for (unsigned round = 0; taken == NULL; round++) {
        /* Closed is read before the last look: what was put before closing is then seen. */
        if (until_closed && ring_closed(ring)) {
            taken = try_it(ring, given);
            if (taken == NULL)
                return NULL;
            break;
        }
        if (round < ring->patience) {
            wl_relax();
        } else if (round < ring->patience + YIELDS) {
            sched_yield();
        } else {
            unsigned wakings = atomic_load_explicit(&mine->wakings, memory_order_acquire);
            atomic_fetch_add_explicit(&mine->sleepers, 1, memory_order_acq_rel);
            taken = try_it(ring, given);
            if (taken == NULL && !(until_closed && ring_closed(ring)))
                futex(&mine->wakings, FUTEX_WAIT, wakings);
            atomic_fetch_sub_explicit(&mine->sleepers, 1, memory_order_acq_rel);
            if (taken != NULL)
                break;
        }
        taken = try_it(ring, given);
    }
    wake(others, 1);
    return taken;
}

batch *ring_put(batch_ring *ring, batch *full) {
    return insist(ring, try_put, &ring->not_full, &ring->not_empty, full, false);
}

batch *ring_take(batch_ring *ring, batch *empty) {
    return insist(ring, ring_try_take, &ring->not_empty, &ring->not_full, empty, true);
}

void ring_close(batch_ring *ring) {
    atomic_store_explicit(&ring->closed, true, memory_order_release);
    wake(&ring->not_empty, INT_MAX);
}
