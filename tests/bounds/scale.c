/* How the worst single call grows with the number of slabs, of threads and of cached blocks. */
#include "worst.h"
#include "../stress/common.h"
#include "base/config.h"
#include "base/options.h"

#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK        HAK_SMALL_MAX /* bytes: two to a slab, of which one page each is touched */
#define CHURN        4000u         /* rounds of free and malloc */
#define STACK        ((size_t)65536)
#define RESIDENT_MAX ((size_t)2 << 30) /* bytes */

static uint64_t random_now = 1;

static size_t pick(size_t below) {
    return (size_t)(random_next(&random_now) % below);
}

/* Runs `job` in a thread of its own, one at a time. */
static void in_a_thread(void *(*job)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, job, argument) != 0)
        fail("no thread");
    pthread_join(thread, NULL);
}

/* ---- slabs: a heap of so many, all of one class ---------------------------------------------- */

static struct worst of_heap;
static void **held; /* `blocks` of them, two to a slab */
static size_t blocks;

static void fill(void) {
    for (size_t i = 0; i < blocks; i++)
        if (!held[i])
            held[i] = measured_malloc(BLOCK);
}

static void empty(size_t first, size_t step) {
    for (size_t i = first; i < blocks; i += step)
        if (held[i]) {
            measured_free(held[i]);
            held[i] = NULL;
        }
}

static void shuffle(void) {
    for (size_t i = blocks; i > 1; i--) {
        size_t k = pick(i);
        void *kept = held[i - 1];
        held[i - 1] = held[k];
        held[k] = kept;
    }
}

static void churn(void) {
    for (unsigned i = 0; i < CHURN; i++) {
        size_t k = pick(blocks);
        measured_free(held[k]);
        held[k] = measured_malloc(BLOCK);
    }
}

static void *free_half(void *start) {
    void *first = measured_start(BLOCK);
    empty((size_t)(uintptr_t)start, 2);
    measured_free(first);
    measured_end();
    worst_add(&of_heap, &worst_here);
    return NULL;
}

static void *own_all(void *ignored) {
    measured_free(measured_start(BLOCK));
    fill();
    measured_end();
    worst_add(&of_heap, &worst_here);
    return ignored;
}

/* Spans and huge blocks, grown and shrunk in steps. */
static void resize(void) {
    for (unsigned i = 0; i < 200; i++) {
        size_t size = 8;
        char *block = measured_malloc(size);
        for (; size < (size_t)3 << 20; size += size / 2 + pick(64))
            block = measured_realloc(block, size);
        for (; size > 100; size -= size / 3)
            block = measured_realloc(block, size);
        measured_free(block);
    }
}

static void heap_of(size_t slabs) {
    memset(&worst_here, 0, sizeof worst_here);
    memset(&of_heap, 0, sizeof of_heap);
    blocks = 2 * slabs;
    held = own_memory(blocks * sizeof *held);
    hak_option_change(HAK_OPT_PURGE_DELAY, 200);
    fill();
    shuffle();
    churn();
    in_a_thread(free_half,
                (void *)0); /* one notice for each slab, and then from each half the other */
    fill();
    in_a_thread(free_half, (void *)1);
    in_a_thread(free_half, (void *)0); /* slabs empty themselves into their owner's hands */
    fill();
    empty(0, 2);
    empty(1, 2);
    in_a_thread(own_all, NULL); /* all of them are left behind */
    shuffle();
    empty(0, 2); /* offers */
    fill();
    churn();
    empty(0, 1);
    in_a_thread(own_all, NULL);
    shuffle();
    empty(0, 2); /* offers, and then none of them is true any more */
    empty(1, 2);
    fill();
    hak_option_change(HAK_OPT_PURGE_DELAY, 0); /* each tick purges all that it may */
    empty(0, 2);
    empty(1, 2);
    fill();
    resize();
    churn();
    empty(0, 1);
    worst_add(&of_heap, &worst_here);
    munmap(held, blocks * sizeof *held);
}

/* ---- threads: so many, each with a heap and blocks of several classes -------------------------
 */

#define EACH 48u /* blocks that a thread holds */

static struct worst of_threads;
static sem_t started, go_on;
static _Atomic unsigned next_row;
static void **rows;

static void *one_of_many(void *ignored) {
    unsigned row = next_row++;
    uint64_t seed = random_state(7, row);
    void **mine = rows + (size_t)row * EACH;
    mine[0] = measured_start(64);
    for (unsigned i = 1; i < EACH; i++)
        mine[i] = measured_malloc(16u << random_next(&seed) % 5);
    sem_post(&started);
    while (sem_wait(&go_on) != 0)
        ;
    for (unsigned i = 0; i < EACH; i++) {
        measured_free(mine[i]);
        mine[i] = measured_malloc(16u << random_next(&seed) % 5);
    }
    for (unsigned i = 0; i < EACH; i += 2)
        measured_free(mine[i]); /* the others outlive the thread */
    measured_end();
    worst_add(&of_threads, &worst_here);
    return ignored;
}

static void threads_of(unsigned threads) {
    memset(&worst_here, 0, sizeof worst_here);
    memset(&of_threads, 0, sizeof of_threads);
    rows = own_memory((size_t)threads * EACH * sizeof *rows);
    pthread_t *all = own_memory(threads * sizeof *all);
    next_row = 0;
    sem_init(&started, 0, 0);
    sem_init(&go_on, 0, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&all[i], &attributes, one_of_many, NULL) != 0)
            fail("the system has no room for thread %u of %u", i + 1, threads);
        while (sem_wait(&started) != 0)
            ;
    }
    /* The main thread frees what all of them allocated, a block of each in turn. */
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < (size_t)threads * EACH; i++) {
            size_t k = i % threads * EACH + i / threads;
            measured_free(rows[k]);
            rows[k] = measured_malloc(16u << pick(5));
        }
    for (unsigned i = 0; i < threads; i++)
        sem_post(&go_on);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    for (size_t i = 1; i < (size_t)threads * EACH; i += 2) {
        measured_free(rows[i]);
        measured_free(measured_malloc(16u << pick(5)));
    }
    worst_add(&of_threads, &worst_here);
    munmap(rows, (size_t)threads * EACH * sizeof *rows);
    munmap(all, threads * sizeof *all);
}

/* ---- cached blocks: the smallest ones, so many of them ----------------------------------------
 */

static struct worst of_cache;

static void *free_all(void *ignored) {
    void *first = measured_start(16);
    empty(0, 1);
    measured_free(first);
    measured_end();
    worst_add(&of_cache, &worst_here);
    return ignored;
}

static void fill_small(void) {
    for (size_t i = 0; i < blocks; i++)
        held[i] = measured_malloc(16);
}

/* All blocks are freed by another thread, and allocated by this one again, and once by itself. */
static void cached_of(size_t count) {
    memset(&worst_here, 0, sizeof worst_here);
    memset(&of_cache, 0, sizeof of_cache);
    blocks = count;
    held = own_memory(blocks * sizeof *held);
    hak_option_change(HAK_OPT_PURGE_DELAY, 0);
    for (unsigned round = 0; round < 2; round++) {
        fill_small();
        shuffle();
        in_a_thread(free_all, NULL);
        fill_small();
        empty(0, 3);
        empty(1, 1);
    }
    worst_add(&of_cache, &worst_here);
    munmap(held, blocks * sizeof *held);
}

/* ---- the scales ------------------------------------------------------------------------------ */

static void print(const char *scale, uint64_t number, const struct worst *worst) {
    for (int k = 0; k < KINDS; k++)
        if (worst->done[k])
            printf("%s %" PRIu64 ": %s: at most %" PRIu64 " steps, %" PRIu64
                   " system calls, of %" PRIu64 " calls\n",
                   scale, number, kind_names[k], worst->steps[k], worst->calls[k], worst->done[k]);
    fflush(stdout);
    if (resident_bytes() > RESIDENT_MAX)
        fail("%zu bytes are resident", resident_bytes());
}

static uint64_t slabs_most = 4096, threads_most = 256, cached_most = 65536;

static const char usage[] =
    "usage: bounds_scale [--slabs N] [--threads N] [--cached N]\n"
    "Counts the work of each call of malloc, free and realloc, in basic blocks of the allocator "
    "and\n"
    "in system calls, and prints the worst for heaps of 1, 4, 16, ... up to N slabs of 64 KiB, "
    "for\n"
    "1, 4, 16, ... up to N threads, and for 16, 64, ... up to N cached blocks of 16 bytes.\n"
    "  --slabs N    up to 131072, 8 GiB (default 4096; 1.2 GiB resident for 131072)\n"
    "  --threads N  up to 4096 (default 256)\n"
    "  --cached N   up to 4194304 (default 65536)\n";

int main(int argc, char **argv) {
    struct argument table[] = {{"slabs", 1, 131072, &slabs_most, false},
                               {"threads", 1, 4096, &threads_most, false},
                               {"cached", 16, 4194304, &cached_most, false}};
    arguments_read(argc, argv, table, sizeof table / sizeof *table, usage);
    repeat_announce(argv[0], table, sizeof table / sizeof *table);
    for (uint64_t n = 1; n <= slabs_most; n *= 4) {
        heap_of(n);
        print("slabs", n, &of_heap);
        if (n < slabs_most && n * 4 > slabs_most)
            n = slabs_most / 4;
    }
    for (uint64_t n = 1; n <= threads_most; n *= 4) {
        threads_of((unsigned)n);
        print("threads", n, &of_threads);
    }
    for (uint64_t n = 16; n <= cached_most; n *= 4) {
        cached_of(n);
        print("cached", n, &of_cache);
    }
    puts("done");
    return 0;
}
