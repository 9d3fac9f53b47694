/* Slots and queues through which blocks change hands. */
#include "shared.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SLOTS = 4096, QUEUES = 4, QUEUE_BATCHES = 32 };

static struct slot {
    _Atomic int busy;
    struct block block;
} slots[SLOTS];

static struct queue {
    pthread_mutex_t lock;
    unsigned first, count;
    struct batch batches[QUEUE_BATCHES];
} queues[QUEUES];

void shared_prepare(void) {
    for (unsigned i = 0; i < QUEUES; i++)
        pthread_mutex_init(&queues[i].lock, NULL);
}

bool shared_swap(uint64_t draw, struct block *block) {
    struct slot *slot = &slots[draw % SLOTS];
    /* acquire and release: what was written into the block by the thread that put it there */
    if (atomic_exchange_explicit(&slot->busy, 1, memory_order_acquire))
        return false;
    struct block taken = slot->block;
    slot->block = *block;
    *block = taken;
    atomic_store_explicit(&slot->busy, 0, memory_order_release);
    return true;
}

bool shared_send(uint64_t draw, const struct batch *batch) {
    struct queue *queue = &queues[draw % QUEUES];
    pthread_mutex_lock(&queue->lock);
    bool room = queue->count < QUEUE_BATCHES;
    if (room)
        queue->batches[(queue->first + queue->count++) % QUEUE_BATCHES] = *batch;
    pthread_mutex_unlock(&queue->lock);
    return room;
}

bool shared_receive(uint64_t draw, struct batch *batch) {
    struct queue *queue = &queues[draw % QUEUES];
    pthread_mutex_lock(&queue->lock);
    bool any = queue->count > 0;
    if (any) {
        *batch = queue->batches[queue->first];
        queue->first = (queue->first + 1) % QUEUE_BATCHES;
        queue->count--;
    }
    pthread_mutex_unlock(&queue->lock);
    return any;
}

bool shared_take_any(struct batch *batch) {
    for (unsigned i = 0; i < QUEUES; i++)
        if (shared_receive(i, batch))
            return true;
    batch->count = 0;
    for (unsigned i = 0; i < SLOTS && batch->count < BATCH_BLOCKS; i++) {
        struct block *place = &batch->blocks[batch->count];
        *place = (struct block){.address = NULL};
        if (shared_swap(i, place) && place->address)
            batch->count++;
    }
    return batch->count > 0;
}
