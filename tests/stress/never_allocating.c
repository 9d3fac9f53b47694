/* One thread does all the freeing and never allocates; the others only allocate. What they have
 * live is bounded, and so must memory be: an allocator that keeps what a thread frees for that
 * thread's own use grows without end here.
 *
 * Each producer has a table of blocks; again and again it sends a random one to the releaser,
 * through a ring of its own, and allocates another in its place. */
#include "common.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>

enum { THREADS_MOST = 256, RING = 128, BLOCK_BYTES = 592 };
#define RATIO_MOST 1.25 /* resident over live */

static const char usage[] =
    "usage: never_allocating [--seconds S] [--threads N] [--live-mib MIB] [--allocated-before "
    "0|1]\n"
    "Producers keep a bounded live set of 592-byte blocks; one thread does all the freeing and\n"
    "allocates nothing. Fails when resident memory exceeds 1.25 times the live set.\n"
    "  --seconds S             how long it runs once the live set is complete (default 10)\n"
    "  --threads N             2 to 256, the freeing thread among them (default 16)\n"
    "  --live-mib MIB          the live set (default 370)\n"
    "  --allocated-before 0|1  1: the freeing thread called malloc before (default 0)\n"
    "  --seed N                what the random numbers begin with (default 1)\n"
    "Exit status: 0 it stayed below, 1 it did not, 2 wrong arguments.\n";

static uint64_t seconds = 10, threads = 16, live_mib = 370, allocated_before = 0, seed = 1;
static struct argument arguments[] = {
    {"seconds", 1, 1000000, &seconds, true},   {"threads", 2, THREADS_MOST, &threads, true},
    {"live-mib", 1, 1 << 20, &live_mib, true}, {"allocated-before", 0, 1, &allocated_before, true},
    {"seed", 0, UINT64_MAX, &seed, true},
};
enum { ARGUMENTS = sizeof arguments / sizeof *arguments };

/* One writer and one reader: a place is empty when it is NULL. */
struct producer {
    _Alignas(64) unsigned char *_Atomic ring[RING];
    _Alignas(64) _Atomic uint64_t allocated; /* blocks; written by the producer */
    _Alignas(64) _Atomic uint64_t freed;     /* blocks; written by the releaser */
    uint64_t random;
    uint64_t share; /* blocks in the table */
    unsigned char **table;
    pthread_t thread;
};

static struct producer *producers;
static uint64_t producer_count;
static _Atomic bool stopping;
static _Atomic uint64_t producers_left;

/* Only this thread writes the counter. release: whoever counts what was freed, and then what was
 * allocated, can't miss the allocation of a block of which it saw the end. */
static void add_one(_Atomic uint64_t *counter) {
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + 1, memory_order_release);
}

static unsigned char *new_block(struct producer *producer) {
    unsigned char *block = malloc(BLOCK_BYTES);
    if (!block)
        fail("malloc of %d bytes returned NULL", BLOCK_BYTES);
    /* Counted before it is touched: the live set is never smaller than what it has in memory. */
    add_one(&producer->allocated);
    memset(block, (int)((uintptr_t)block >> 4 & 0xff), BLOCK_BYTES);
    return block;
}

static void *produce(void *argument) {
    struct producer *producer = argument;
    for (uint64_t i = 0; i < producer->share; i++)
        producer->table[i] = new_block(producer);
    for (unsigned at = 0; !atomic_load_explicit(&stopping, memory_order_relaxed);
         at = (at + 1) % RING) {
        /* relaxed: nothing is read by way of an empty place */
        while (atomic_load_explicit(&producer->ring[at], memory_order_relaxed)) {
            if (atomic_load_explicit(&stopping, memory_order_relaxed))
                goto end;
            sched_yield();
        }
        uint64_t i = random_next(&producer->random) % producer->share;
        /* release: the releaser reads the contents */
        atomic_store_explicit(&producer->ring[at], producer->table[i], memory_order_release);
        producer->table[i] = new_block(producer);
    }
end:
    atomic_fetch_sub(&producers_left, 1);
    return NULL;
}

static void release_block(unsigned char *block) {
    unsigned char expected = (unsigned char)((uintptr_t)block >> 4);
    if (block[0] != expected || block[BLOCK_BYTES / 2] != expected ||
        block[BLOCK_BYTES - 1] != expected)
        fail("block %p has contents that were not written into it", (void *)block);
    free(block);
}

static void *release(void *argument) {
    (void)argument;
    if (allocated_before) {
        void *mine[100];
        for (unsigned i = 0; i < 100; i++) {
            mine[i] = malloc(BLOCK_BYTES);
            if (!mine[i])
                fail("malloc of %d bytes returned NULL", BLOCK_BYTES);
        }
        for (unsigned i = 0; i < 100; i++)
            free(mine[i]);
    }
    unsigned place[THREADS_MOST] = {0};
    for (bool last = false; !last;) {
        last = !atomic_load(&producers_left);
        bool any = false;
        for (uint64_t p = 0; p < producer_count; p++) {
            struct producer *producer = &producers[p];
            for (unsigned i = 0; i < RING; i++) {
                unsigned char *block =
                    atomic_exchange_explicit(&producer->ring[place[p]], NULL, memory_order_acquire);
                if (!block)
                    break;
                release_block(block);
                add_one(&producer->freed);
                place[p] = (place[p] + 1) % RING;
                any = true;
            }
        }
        if (!any)
            sched_yield();
    }
    for (uint64_t p = 0; p < producer_count; p++)
        for (uint64_t i = 0; i < producers[p].share; i++)
            release_block(producers[p].table[i]);
    return NULL;
}

struct figures {
    double most, sum;
    uint64_t samples, blocks_freed;
    size_t most_resident, live_then;
};

static void sample(struct figures *figures, size_t base, size_t complete) {
    uint64_t freed = 0, allocated = 0;
    for (uint64_t p = 0; p < producer_count; p++)
        freed += atomic_load_explicit(&producers[p].freed, memory_order_acquire);
    size_t resident = resident_bytes();
    for (uint64_t p = 0; p < producer_count; p++)
        allocated += atomic_load_explicit(&producers[p].allocated, memory_order_acquire);
    size_t live = (size_t)(allocated - freed) * BLOCK_BYTES;
    resident = resident > base ? resident - base : 0;
    figures->blocks_freed = freed;
    /* While it grows, what is allocated between the readings would count for too much. */
    double ratio = (double)resident / (double)(live < complete ? complete : live);
    if (live >= complete) {
        figures->sum += ratio;
        figures->samples++;
    }
    if (ratio > figures->most) {
        figures->most = ratio;
        figures->most_resident = resident;
        figures->live_then = live < complete ? complete : live;
    }
}

int main(int argc, char **argv) {
    arguments_read(argc, argv, arguments, ARGUMENTS, usage);
    repeat_announce(argv[0], arguments, ARGUMENTS);
    producer_count = threads - 1;
    uint64_t share = (live_mib << 20) / BLOCK_BYTES / producer_count;
    size_t complete = (size_t)(share * producer_count) * BLOCK_BYTES;
    producers = own_memory(producer_count * sizeof *producers);
    for (uint64_t p = 0; p < producer_count; p++) {
        producers[p].random = random_state(seed, p);
        producers[p].share = share;
        producers[p].table = own_memory(share * sizeof *producers[p].table);
    }
    atomic_store(&producers_left, producer_count);
    size_t base = resident_bytes();

    pthread_t releaser;
    if (pthread_create(&releaser, NULL, release, NULL) != 0)
        fail("the freeing thread can't be started");
    for (uint64_t p = 0; p < producer_count; p++)
        if (pthread_create(&producers[p].thread, NULL, produce, &producers[p]) != 0)
            fail("thread %" PRIu64 " can't be started", p);

    struct figures figures = {.most = 0};
    double end = 0; /* unknown until the live set is complete */
    for (bool whole = false; !whole || now_seconds() < end; sleep_ms(10)) {
        sample(&figures, base, complete);
        if (!whole && figures.samples)
            end = now_seconds() + (double)seconds;
        whole = figures.samples > 0;
    }
    atomic_store(&stopping, true);
    for (uint64_t p = 0; p < producer_count; p++)
        pthread_join(producers[p].thread, NULL);
    pthread_join(releaser, NULL);

    printf("live %.1f MiB, resident at most %.1f MiB: ratio %.3f at most, %.3f on average of "
           "%" PRIu64 " samples; turned over %.1f times\n",
           (double)figures.live_then / 1048576, (double)figures.most_resident / 1048576,
           figures.most, figures.sum / (double)figures.samples, figures.samples,
           (double)figures.blocks_freed * BLOCK_BYTES / (double)complete);
    fflush(stdout); /* fail() leaves without it */
#ifndef HAKMEM_SANITIZED
    if (figures.most > RATIO_MOST)
        fail("resident memory was %.3f times the live set (%.1f of %.1f MiB); at most %.2f times "
             "are allowed",
             figures.most, (double)figures.most_resident / 1048576,
             (double)figures.live_then / 1048576, RATIO_MOST);
#endif
    return 0;
}
