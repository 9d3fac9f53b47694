/*
 * The queue between threads that allocate and threads that free: a bounded ring of batches, for
 * any number of threads at both ends.
 *
 * Each cell carries a turn number that says whether it waits to be written or to be read, after
 * the bounded queue that D. Vyukov described ("Bounded MPMC queue", 1024cores.net); one
 * compare-and-swap a batch claims a cell. A cell always holds a batch: who puts a full one in takes
 * the empty one out, and the other way round, so that batches go round without being copied and no
 * memory is asked for. A thread that finds the ring full or empty first waits awake, then lets
 * others run, then sleeps in the kernel until a batch has passed.
 */
#ifndef BATCH_RING_H
#define BATCH_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wl_block.h"

/* Blocks that travel together. One thread at a time has it. */
typedef struct {
    void **blocks; /* `room` of them; with --none always the same, set aside */
    wl_tag *tags;  /* the same number; only with --check */
    uint32_t count;
} batch;

typedef struct {
    _Alignas(128) atomic_uint_fast64_t turn;
    batch *held;
} ring_cell;

/* Threads asleep at one end, and the word they sleep on. */
typedef struct {
    _Alignas(128) atomic_uint sleepers;
    atomic_uint wakings; /* a futex: counts up when sleepers are woken */
} ring_gate;

typedef struct {
    _Alignas(128) atomic_uint_fast64_t head; /* next to be read */
    _Alignas(128) atomic_uint_fast64_t tail; /* next to be written */
    ring_gate not_full, not_empty;
    ring_cell *cells;
    uint64_t capacity;  /* cells; a power of two */
    unsigned patience;  /* rounds to wait awake */
    atomic_bool closed; /* no batch will be put in again */
} batch_ring;

/* `cells` is memory of `capacity` (a power of two) cells, each of which gets one of `batches`.
 * `patience`: rounds that a thread waits awake, 0 where threads outnumber the processors. */
void ring_init(batch_ring *ring, ring_cell *cells, batch *batches, uint64_t capacity,
               unsigned patience);

/* Puts a full batch in and returns an empty one; waits while the ring is full. Somebody must be
 * taking out. Any thread. */
batch *ring_put(batch_ring *ring, batch *full);

/* Takes a full batch out for an empty one; waits while the ring is empty. Returns NULL when it is
 * empty and closed; the caller keeps `empty` then. Any thread. */
batch *ring_take(batch_ring *ring, batch *empty);

/* The same without waiting: NULL where the ring is empty (or its next batch is still being put). */
batch *ring_try_take(batch_ring *ring, batch *empty);

/* Says that nothing more will be put in, and wakes all who wait for it. */
void ring_close(batch_ring *ring);

static inline bool ring_closed(batch_ring *ring) {
    return atomic_load_explicit(&ring->closed, memory_order_acquire);
}

#endif
