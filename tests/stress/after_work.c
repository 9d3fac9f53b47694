/* Does memory go back when the work is over? Threads do work of some kind, free what they had but
 * for the survivors, and end or sleep; then the main thread waits, makes a number of small calls,
 * and what is resident is compared with the bytes that are live. No call asks for memory back. */
#include "common.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MOST = 256, ALLOWED_PERCENT = 110, CHUNK = 128, CALL_MOST = 1024 };
#define ALLOWED_MORE ((size_t)2 << 20) /* bytes */

static const char usage[] =
    "usage: after_work [--work KIND] [--threads N] [--mib MIB] [--max-size BYTES] ...\n"
    "Works, frees, waits, makes a few small calls, and fails when more is resident then than 1.1\n"
    "times the live bytes and 2 MiB.\n"
    "  --work KIND          0 each thread builds blocks of random sizes, and frees them in random\n"
    "                       order; 1 half of the threads allocate, the others free; 2 all free "
    "and\n"
    "                       allocate in one table at random, others' blocks too; 3 as 0, but over\n"
    "                       and over (default 0)\n"
    "  --threads N          1 to 256, the main thread among them (default 1)\n"
    "  --mib MIB            live at the same time, of all threads (default 200)\n"
    "  --min-size BYTES     of the blocks, whose sizes' logarithms are uniform (default 8)\n"
    "  --max-size BYTES     (default 2048)\n"
    "  --rounds N           how often a block is replaced, of work 1, 2 and 3 (default 4)\n"
    "  --survivors PERMILLE of the blocks, which stay live (default 0)\n"
    "  --together 0|1       1: the survivors are those that were allocated first (default 0)\n"
    "  --alive 0|1          1: the other threads sleep until the end, instead of ending (default "
    "0)\n"
    "  --main-works 0|1     0: the main thread only waits and calls (default 1)\n"
    "  --wait-ms MS         before the calls (default 1000)\n"
    "  --calls N            half of them malloc, half free (default 1000)\n"
    "  --call-max BYTES     the largest of them, sizes' logarithms uniform (default 1024)\n"
    "  --judge 0|1          0: prints the figures and is content (default 1)\n"
    "  --seed N             what the random numbers begin with (default 1)\n"
    "Exit status: 0 it went back, 1 it did not, 2 wrong arguments.\n";

enum { BUILD, RELAY, EXCHANGE, SWING };
static uint64_t work = BUILD, threads = 1, mib = 200, min_size = 8, max_size = 2048, rounds = 4,
                survivors = 0, together = 0, alive = 0, main_works = 1, wait_ms = 1000,
                calls = 1000, call_max = 1024, judge = 1, seed = 1;
static struct argument arguments[] = {
    {"work", BUILD, SWING, &work, true},
    {"threads", 1, THREADS_MOST, &threads, true},
    {"mib", 1, 1 << 20, &mib, true},
    {"min-size", 8, 1 << 28, &min_size, true},
    {"max-size", 8, 1 << 28, &max_size, true},
    {"rounds", 0, 1000000, &rounds, true},
    {"survivors", 0, 1000, &survivors, true},
    {"together", 0, 1, &together, true},
    {"alive", 0, 1, &alive, true},
    {"main-works", 0, 1, &main_works, true},
    {"wait-ms", 0, 1000000, &wait_ms, true},
    {"calls", 0, 1000000000, &calls, true},
    {"call-max", 8, 1 << 28, &call_max, true},
    {"judge", 0, 1, &judge, true},
    {"seed", 0, UINT64_MAX, &seed, true},
};
enum { ARGUMENTS = sizeof arguments / sizeof *arguments };

/* All threads share a table of blocks; each thread has a part of it. */
struct place {
    unsigned char *_Atomic block;
};

static struct place *table;
static size_t places;         /* of all threads */
static size_t part;           /* places of a thread */
static size_t live_bytes_max; /* about, while all blocks are there */
static pthread_barrier_t built, done, over;

struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t random;
};
static struct worker workers[THREADS_MOST];

/* Sizes whose logarithms are uniform. */
static size_t random_size(uint64_t *random, size_t low, size_t high) {
    double unit = (double)(random_next(random) >> 11) * 0x1p-53;
    size_t size = (size_t)((double)low * pow((double)high / (double)low, unit));
    return size < low ? low : size > high ? high : size;
}

/* A block that begins with its size. Every page of it becomes resident. */
static unsigned char *new_block(size_t size) {
    unsigned char *block = malloc(size);
    if (!block)
        fail("malloc of %zu bytes returned NULL", size);
    memset(block, (int)(size & 0xff), size);
    uint32_t written = (uint32_t)size;
    memcpy(block, &written, sizeof written);
    return block;
}

static size_t size_of(const unsigned char *block) {
    uint32_t size;
    memcpy(&size, block, sizeof size);
    return size;
}

static void release_block(unsigned char *block) {
    size_t size = size_of(block);
    if (size < 8 || (size > 8 && block[size - 1] != (size & 0xff)))
        fail("block %p has contents that were not written into it", (void *)block);
    free(block);
}

/* release: whoever takes the block reads its contents */
static void fill(struct place *place, size_t size) {
    atomic_store_explicit(&place->block, new_block(size), memory_order_release);
}

static void empty(struct place *place) {
    unsigned char *block = atomic_exchange_explicit(&place->block, NULL, memory_order_acquire);
    if (block)
        release_block(block);
}

/* The first of a part survive, or random ones. */
static bool survives(size_t index, uint64_t *random) {
    if (together)
        return index % part * 1000 < survivors * part;
    return random_next(random) % 1000 < survivors;
}

static void build(struct worker *worker) {
    size_t first = worker->number * part;
    for (size_t i = 0; i < part; i++)
        fill(&table[first + i], random_size(&worker->random, min_size, max_size));
}

/* Frees a part of the table but for the survivors, in random order: places are visited by an
 * affine map (Hull and Dobell, "Random Number Generators", SIAM Review 1962: full period). */
static void drain(struct worker *worker, size_t first, bool some_survive) {
    size_t period = 1;
    while (period < part)
        period *= 2;
    size_t at = random_next(&worker->random) % period;
    for (size_t i = 0; i < period; i++) {
        at = (at * 1664525 + 1013904223) & (period - 1);
        if (at < part && !(some_survive && survives(first + at, &worker->random)))
            empty(&table[first + at]);
    }
}

/* Even threads allocate again and again in their own part, odd ones free in their neighbour's. */
static void relay(struct worker *worker) {
    size_t first = (worker->number & ~1u) * part;
    for (size_t i = 0; i < rounds * part; i++) {
        struct place *place = &table[first + random_next(&worker->random) % part];
        if (worker->number & 1)
            empty(place);
        else if (!atomic_load_explicit(&place->block, memory_order_acquire))
            fill(place, random_size(&worker->random, min_size, max_size));
    }
}

/* Takes whatever lies at a random place of the table, frees it, and puts another block into a
 * place of its own part. */
static void exchange(struct worker *worker) {
    size_t first = worker->number * part;
    for (size_t i = 0; i < rounds * part; i++) {
        empty(&table[random_next(&worker->random) % (part * threads)]);
        struct place *own = &table[first + random_next(&worker->random) % part];
        if (!atomic_load_explicit(&own->block, memory_order_acquire))
            fill(own, random_size(&worker->random, min_size, max_size));
    }
}

/* Frees all its blocks and builds them up again. */
static void swing(struct worker *worker) {
    for (size_t i = 0; i < rounds; i++) {
        drain(worker, worker->number * part, false);
        build(worker);
    }
}

static void do_work(struct worker *worker) {
    if (work != RELAY || !(worker->number & 1))
        build(worker);
    pthread_barrier_wait(&built);
    if (work == RELAY)
        relay(worker);
    if (work == EXCHANGE)
        exchange(worker);
    if (work == SWING)
        swing(worker);
    pthread_barrier_wait(&done);
    if (work == RELAY && worker->number & 1)
        drain(worker, (worker->number - 1) * part, true);
    if (work == EXCHANGE) /* half of the blocks are others', wherever they were allocated */
        drain(worker, (worker->number + 1) % threads * part, true);
    else if (work == BUILD || work == SWING || worker->number + 1 == threads)
        drain(worker, worker->number * part, true);
}

static void *run(void *argument) {
    do_work(argument);
    if (alive) {
        pthread_barrier_wait(&over); /* the work is */
        pthread_barrier_wait(&over); /* the program is */
    }
    return NULL;
}

static size_t live_bytes(void) {
    size_t sum = 0;
    for (size_t i = 0; i < places; i++) {
        const unsigned char *block = atomic_load(&table[i].block);
        sum += block ? size_of(block) : 0;
    }
    return sum;
}

/* The calls after the work: each block is freed before the next is asked for. */
static void call(void) {
    uint64_t random = random_state(seed, THREADS_MOST);
    for (uint64_t i = 0; i < calls / 2; i++)
        free(new_block(random_size(&random, 8, call_max)));
}

static void set_up(void) {
    if (min_size > max_size)
        arguments_refuse("--min-size %" PRIu64 " is more than --max-size %" PRIu64, min_size,
                         max_size);
    double low = (double)min_size, high = (double)max_size;
    double mean = high > low ? (high - low) / log(high / low) : low;
    live_bytes_max = (size_t)mib << 20;
    part = (size_t)((double)live_bytes_max / mean / (double)threads) + 1;
    places = part * threads;
    table = own_memory(places * sizeof *table);
    pthread_barrier_init(&built, NULL, (unsigned)threads);
    pthread_barrier_init(&done, NULL, (unsigned)threads);
    pthread_barrier_init(&over, NULL, (unsigned)(threads + !main_works));
    for (unsigned i = 0; i < threads; i++)
        workers[i] = (struct worker){.number = i, .random = random_state(seed, i)};
}

static void work_all(void) {
    for (unsigned i = main_works != 0; i < threads; i++)
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0)
            fail("thread %u can't be started", i);
    if (main_works)
        do_work(&workers[0]);
    if (alive)
        pthread_barrier_wait(&over);
    else
        for (unsigned i = main_works != 0; i < threads; i++)
            pthread_join(workers[i].thread, NULL);
}

static size_t over_base(size_t base) {
    size_t resident = resident_bytes();
    return resident > base ? resident - base : 0;
}

static double in_mib(size_t bytes) {
    return (double)bytes / 1048576;
}

int main(int argc, char **argv) {
    arguments_read(argc, argv, arguments, ARGUMENTS, usage);
    repeat_announce(argv[0], arguments, ARGUMENTS);
    set_up();
    size_t base = resident_bytes();
    double begin = now_seconds();
    work_all();
    double worked = now_seconds() - begin;
    size_t at_end = over_base(base);
    sleep_ms((unsigned)wait_ms);
    call();
    size_t resident = over_base(base);
    size_t live = live_bytes();
    size_t allowed = live * ALLOWED_PERCENT / 100 + ALLOWED_MORE;
    printf("work %.2f s, live %.2f MiB, resident at its end %.2f MiB, after the calls %.2f MiB, "
           "allowed %.2f MiB\n",
           worked, in_mib(live), in_mib(at_end), in_mib(resident), in_mib(allowed));
    fflush(stdout); /* fail() leaves without it */
    if (alive) {
        pthread_barrier_wait(&over);
        for (unsigned i = main_works != 0; i < threads; i++)
            pthread_join(workers[i].thread, NULL);
    }
#ifndef HAKMEM_SANITIZED
    if (judge && resident > allowed)
        fail("%.2f MiB are resident, %.2f MiB live; at most %.2f MiB are allowed", in_mib(resident),
             in_mib(live), in_mib(allowed));
#endif
    return 0;
}
