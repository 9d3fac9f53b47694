/* Threads: blocks freed elsewhere, exits, adoption, late destructors, fork. */
#include "check.h"
#include "base/counters.h"
#include "heap/heap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bytes; 0 in sanitizer builds, where it would be the size of the shadow memory. */
static size_t resident(void) {
#ifdef HAKMEM_SANITIZED
    return 0;
#endif
    long pages[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages[0], &pages[1]), 2);
    fclose(f);
    return (size_t)pages[1] * (size_t)sysconf(_SC_PAGESIZE);
}

static void start(pthread_t *thread, void *(*function)(void *), void *argument) {
    assert_int_equal(pthread_create(thread, NULL, function, argument), 0);
}

/* ---- random hand-over among threads -------------------------------------------------------- */

enum { SHARED = 4096 };
#ifdef HAKMEM_SANITIZED
enum { SCALE = 8, LATE_ROUNDS = 0 }; /* ThreadSanitizer's own end comes before the last rounds */
#else
enum { SCALE = 1, LATE_ROUNDS = 3 };
#endif
struct cell {
    size_t size;
    unsigned char bytes[];
};
static struct cell *_Atomic shared[SHARED];
static _Atomic unsigned long mixed_operations;

static size_t random_size(uint64_t *seed) {
    uint64_t r = next_random(seed);
    switch (r & 15) {
    case 0:
        return (r >> 8) % 300000;
    case 1:
        return (r >> 8) % 40000;
    case 2:
    case 3:
        return (r >> 8) % 5000;
    default:
        return (r >> 8) % 500;
    }
}

static struct cell *new_cell(uint64_t *seed) {
    size_t size = random_size(seed);
    struct cell *cell = NULL;
    switch (next_random(seed) % 8) {
    case 0:
        cell = calloc(1, sizeof *cell + size);
        break;
    case 1:
        cell = aligned_alloc((size_t)16 << next_random(seed) % 9, sizeof *cell + size);
        break;
    case 2:
        cell = realloc(malloc(size / 2 + 1), sizeof *cell + size);
        break;
    default:
        cell = malloc(sizeof *cell + size);
        break;
    }
    assert_non_null(cell);
    cell->size = size;
    fill_block(cell->bytes, size > 256 ? 256 : size);
    return cell;
}

static void free_cell(struct cell *cell) {
    if (!cell)
        return;
    verify_block(cell->bytes, cell->size > 256 ? 256 : cell->size);
    free(cell);
}

struct mixer {
    uint64_t seed;
    unsigned operations;
    unsigned generation;
};

static void *mix(void *argument) {
    struct mixer *mixer = argument;
    for (unsigned i = 0; i < mixer->operations; i++) {
        struct cell *cell = next_random(&mixer->seed) & 1 ? new_cell(&mixer->seed) : NULL;
        unsigned slot = (unsigned)(next_random(&mixer->seed) % SHARED);
        /* acq_rel: the contents were written before, and are read after */
        free_cell(atomic_exchange_explicit(&shared[slot], cell, memory_order_acq_rel));
    }
    atomic_fetch_add(&mixed_operations, mixer->operations);
    if (mixer->generation--) { /* as larson does: the next thread goes on, this one ends */
        pthread_t next;
        start(&next, mix, mixer);
        pthread_join(next, NULL);
    }
    return NULL;
}

static void hand_over(unsigned threads, unsigned operations, unsigned generations) {
    struct mixer mixers[16];
    pthread_t ids[16];
    for (unsigned i = 0; i < threads; i++) {
        mixers[i] = (struct mixer){.seed = 0x9e3779b97f4a7c15u * (i + 1),
                                   .operations = operations,
                                   .generation = generations};
        start(&ids[i], mix, &mixers[i]);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    for (unsigned i = 0; i < SHARED; i++)
        free_cell(atomic_exchange(&shared[i], NULL));
}

static void blocks_survive_hand_over(void **state) {
    (void)state;
    hand_over(2, 20000 / SCALE, 2);
    hand_over(4, 10000 / SCALE, 3);
    hand_over(16, 2000 / SCALE, 4);
    assert_true(hak_counter(HAK_COUNT_REMOTE_PUSHES) > 0);
    assert_true(hak_counter(HAK_COUNT_ABANDONED) > 0);
}

/* ---- exits --------------------------------------------------------------------------------- */

enum { KEPT = 20000 };
static void **kept_blocks;

static void *allocate_and_end(void *argument) {
    size_t size = *(size_t *)argument;
    for (int i = 0; i < KEPT; i++) {
        kept_blocks[i] = malloc(size);
        memset(kept_blocks[i], i, size);
    }
    return NULL;
}

static void blocks_outlive_their_thread_and_leave_no_memory(void **state) {
    (void)state;
    kept_blocks = calloc(KEPT, sizeof *kept_blocks);
    size_t size = 500, before = resident();
    for (int round = 0; round < 32 / SCALE + 5; round++) {
        pthread_t thread;
        start(&thread, allocate_and_end, &size);
        pthread_join(thread, NULL);
        for (int i = 0; i < KEPT; i++) {
            assert_int_equal(((unsigned char *)kept_blocks[i])[size - 1], (unsigned char)i);
            free(kept_blocks[i]);
        }
    }
    /* What one thread kept, and a quarter more, however many there were. */
    assert_true(resident() < before + KEPT * size * 5 / 4 + (2u << 20));
    free(kept_blocks);
}

static void *short_life(void *argument) {
    (void)argument;
    void *blocks[20];
    for (int i = 0; i < 20; i++)
        blocks[i] = malloc((size_t)i * 100);
    for (int i = 0; i < 20; i++)
        free(blocks[i]);
    return NULL;
}

static void short_threads_leave_no_memory(void **state) {
    (void)state;
    size_t first = 0;
    for (int i = 0; i < 2000 / SCALE + 200; i++) {
        pthread_t thread;
        start(&thread, short_life, NULL);
        pthread_join(thread, NULL);
        if (i == 150)
            first = resident();
    }
    assert_true(resident() < first + (2 << 20));
    assert_true(hak_counter(HAK_COUNT_HEAPS) < 100);
}

static pthread_key_t late_key;
static void late_destructor(void *value) {
    /* May run after the allocator's own: allocate, free, free what was allocated before. */
    free(value);
    void *p = malloc(100);
    memset(p, 1, 100);
    free(p);
    static _Thread_local int rounds;
    if (rounds++ < LATE_ROUNDS)
        assert_int_equal(pthread_setspecific(late_key, malloc(50)), 0);
    else
        free(malloc(10));
}
static void *with_late_destructor(void *argument) {
    (void)argument;
    assert_int_equal(pthread_setspecific(late_key, malloc(50)), 0);
    return malloc(60);
}
static void destructors_may_allocate(void **state) {
    (void)state;
    free(malloc(1));
    assert_int_equal(pthread_key_create(&late_key, late_destructor),
                     0); /* after ours: runs after it */
    uint64_t before = hak_counter(HAK_COUNT_HEAPS);
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        void *block;
        start(&thread, with_late_destructor, NULL);
        pthread_join(thread, &block);
        free(block);
    }
    assert_true(hak_counter(HAK_COUNT_HEAPS) <= before + 4); /* none was lost */
}

/* ---- one thread allocates, another frees ---------------------------------------------------- */

enum { QUEUE = 1024 };
static void *_Atomic queue[QUEUE];
struct pair {
    unsigned long blocks;
    size_t size;
};
static void *produce(void *argument) {
    const struct pair *pair = argument;
    for (unsigned long i = 0; i < pair->blocks; i++) {
        void *block = malloc(pair->size);
        memset(block, (int)i, pair->size);
        void *empty = NULL;
        while (!atomic_compare_exchange_weak_explicit(&queue[i % QUEUE], &empty, block,
                                                      memory_order_release, memory_order_relaxed)) {
            empty = NULL;
            sched_yield();
        }
    }
    return NULL;
}
static void *consume(void *argument) {
    const struct pair *pair = argument;
    for (unsigned long i = 0; i < pair->blocks; i++) {
        void *block;
        while (!(block = atomic_exchange_explicit(&queue[i % QUEUE], NULL, memory_order_acquire)))
            sched_yield();
        assert_int_equal(((unsigned char *)block)[pair->size - 1], (unsigned char)i);
        free(block);
    }
    return NULL;
}
static void freeing_elsewhere_does_not_grow_memory(void **state) {
    (void)state;
    static const size_t sizes[] = {16, 64, 592, 4000, 40000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pair pair = {.blocks = 200000 / SCALE / (1 + sizes[i] / 64), .size = sizes[i]};
        size_t before = resident();
        pthread_t producer, consumer;
        start(&producer, produce, &pair);
        start(&consumer, consume, &pair);
        pthread_join(producer, NULL);
        pthread_join(consumer, NULL);
        assert_true(resident() < before + QUEUE * sizes[i] * 2 + (8u << 20));
    }
}

/* ---- fork ---------------------------------------------------------------------------------- */

static _Atomic int stop;
static void *busy(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    while (!atomic_load(&stop))
        free_cell(new_cell(&seed));
    return NULL;
}
static void fork_under_load(void **state) {
    (void)state;
    pthread_t threads[3];
    atomic_store(&stop, 0);
    for (uintptr_t i = 0; i < 3; i++)
        start(&threads[i], busy, (void *)(i + 77));
    void *mine[100];
    for (int i = 0; i < 100; i++) {
        mine[i] = malloc((size_t)i * 50 + 1);
        memset(mine[i], i, (size_t)i * 50 + 1);
    }
    for (int round = 0; round < 56 / SCALE; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (int i = 0; i < 100; i++) {
                if (((unsigned char *)mine[i])[i * 50] != i)
                    _exit(1);
                free(mine[i]);
            }
            uint64_t seed = 5;
            for (int i = 0; i < 2000; i++)
                free_cell(new_cell(&seed));
            pid_t grandchild = fork();
            if (grandchild == 0) {
                free(malloc(1000));
                _exit(0);
            }
            int status;
            _exit(waitpid(grandchild, &status, 0) == grandchild && status == 0 ? 0 : 2);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 100; i++)
        free(mine[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_survive_hand_over),
    cmocka_unit_test(blocks_outlive_their_thread_and_leave_no_memory),
    cmocka_unit_test(short_threads_leave_no_memory),
    cmocka_unit_test(destructors_may_allocate),
    cmocka_unit_test(freeing_elsewhere_does_not_grow_memory),
    cmocka_unit_test(fork_under_load),
};
CHECK_MAIN(tests)
