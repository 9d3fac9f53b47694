/* Magazines and heaps over time: idle ones shrink, late destructors borrow, failures stay local. */
#include "check.h"
#include "base/counters.h"
#include "base/options.h"
#include "base/size_class.h"
#include "heap/heap.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void magazines_are_within_bounds(void) {
    const struct hak_heap *heap = hak_heap_self();
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        const struct hak_heap_class *class = &heap->classes[c];
        if (!(heap->begun >> c & 1)) {
            assert_ptr_equal(hak_thread.top[c], hak_no_magazine);
            assert_ptr_equal(hak_thread.end[c], hak_no_magazine);
            continue;
        }
        assert_true(hak_thread.top[c] >= class->bottom);
        assert_true(hak_thread.top[c] <= hak_thread.end[c]);
        assert_true(hak_thread.end[c] <= class->bottom + class->most);
        assert_null(*class->bottom);
    }
}

/* A class that lay idle has a small magazine; what its next refill brings must fit into it. */
static void an_idle_magazine_is_refilled_within_its_slots(void **state) {
    (void)state;
    static void *idle[3000], *busy[400], *others[200];
    for (int i = 0; i < 2000; i++)
        idle[i] = malloc(64);
    for (double end = seconds() + 0.8; seconds() < end;) {
        for (int i = 0; i < 400; i++)
            busy[i] = malloc(512);
        for (int i = 0; i < 400; i++)
            free(busy[i]);
        usleep(300);
    }
    magazines_are_within_bounds();
    for (int n = 2000; n < 3000; n++) {
        idle[n] = malloc(64);
        magazines_are_within_bounds();
    }
    for (int i = 0; i < 3000; i++)
        free(idle[i]);
    magazines_are_within_bounds();
    for (int i = 0; i < 200; i++) {
        others[i] = malloc(80);
        assert_true(malloc_usable_size(others[i]) >= 80);
    }
    for (int i = 0; i < 200; i++)
        free(others[i]);
}

/* Bursts of many classes with pauses between them, contents checked. */
static void bursts_keep_their_blocks_apart(void **state) {
    (void)state;
    enum { CLASSES = 20, MOST = 300 };
    static void *blocks[CLASSES][MOST];
    static unsigned count[CLASSES];
    uint64_t seed = 99;
    for (double end = seconds() + 1.5; seconds() < end;) {
        unsigned c = (unsigned)(next_random(&seed) % CLASSES);
        unsigned target = (unsigned)(next_random(&seed) % MOST);
        size_t size = (c + 1) * 16;
        while (count[c] < target) {
            void *block = malloc(size);
            assert_true(malloc_usable_size(block) >= size);
            fill_block(block, size);
            blocks[c][count[c]++] = block;
        }
        while (count[c] > target) {
            void *block = blocks[c][--count[c]];
            verify_block(block, size);
            free(block);
        }
        if (next_random(&seed) % 64 == 0)
            usleep(1000);
    }
    magazines_are_within_bounds();
    for (unsigned c = 0; c < CLASSES; c++)
        while (count[c])
            free(blocks[c][--count[c]]);
}

static pthread_key_t late_key;
static void large_in_destructor(void *value) {
    static _Thread_local int rounds;
    if (rounds++ == 0) { /* the second round comes after the allocator's own destructor */
        assert_int_equal(pthread_setspecific(late_key, value), 0);
        return;
    }
    void *block = malloc(100000);
    memset(block, 1, 100000);
    free(block);
    block = malloc(3000000);
    free(block);
    free(value);
}
static void *end_with_large_blocks(void *argument) {
    (void)argument;
    assert_int_equal(pthread_setspecific(late_key, malloc(4000)), 0);
    return NULL;
}
static void late_large_blocks_lose_no_heap(void **state) {
    (void)state;
    free(malloc(1));
    assert_int_equal(pthread_key_create(&late_key, large_in_destructor), 0);
    uint64_t before = hak_counter(HAK_COUNT_HEAPS);
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, end_with_large_blocks, NULL), 0);
        pthread_join(thread, NULL);
    }
    assert_true(hak_counter(HAK_COUNT_HEAPS) <= before + 4);
}

static _Atomic int stop;
static void *resize_in_vain(void *argument) {
    atomic_int *failed = argument;
    char *block = malloc(4 << 20);
    block[0] = 1;
    volatile size_t absurd = (size_t)1 << 40; /* room for it there is, memory not */
    while (!atomic_load(&stop)) {
        errno = 0;
        if (realloc(block, absurd) || errno != ENOMEM)
            return failed;
    }
    assert_int_equal(block[0], 1);
    free(block);
    return NULL;
}
/* A move that fails half-way must leave alone what another thread mapped meanwhile. */
static void a_failed_resize_unmaps_nothing_else(void **state) {
    (void)state;
    pthread_t thread;
    atomic_store(&stop, 0);
    assert_int_equal(pthread_create(&thread, NULL, resize_in_vain, &stop), 0);
    for (double end = seconds() + 0.5; seconds() < end;) {
        char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(m != MAP_FAILED);
        for (int k = 0; k < 4000; k++)
            ((volatile char *)m)[k % 8 * 4096 + k % 64]++;
        munmap(m, 1 << 20);
    }
    atomic_store(&stop, 1);
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
}

static void occasional(size_t size, unsigned calls) {
    for (unsigned i = 0; i < calls; i++) {
        void *volatile block = malloc(size);
        free(block);
        usleep(1000);
    }
}

/* The second sleep is seen by the first call of a class that was used before the first one alone.
 */
static void sleep_after_sleep_is_seen(void **state) {
    (void)state;
    enum { BLOCKS = 100000, SLABS = BLOCKS / (HAK_SLAB_SIZE / 512) };
    static void *blocks[BLOCKS];
    long delay = hak_option(HAK_OPT_PURGE_DELAY);
    hak_option_value[HAK_OPT_PURGE_DELAY] = 100;
    for (unsigned i = 0; i < 200; i++)
        blocks[i] = malloc(16);
    for (unsigned i = 0; i < 200; i++)
        free(blocks[i]);
    usleep(300000);
    occasional(40000, 300);
    for (unsigned i = 0; i < BLOCKS; i++)
        memset(blocks[i] = malloc(512), 1, 512);
    uint64_t before = hak_counter(HAK_COUNT_PURGED_SLABS);
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    usleep(400000);
    occasional(16, 50);
    uint64_t after = hak_counter(HAK_COUNT_PURGED_SLABS);
    hak_option_value[HAK_OPT_PURGE_DELAY] = delay;
    assert_true(after >= before + SLABS * 3 / 4);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_idle_magazine_is_refilled_within_its_slots),
    cmocka_unit_test(bursts_keep_their_blocks_apart),
    cmocka_unit_test(late_large_blocks_lose_no_heap),
    cmocka_unit_test(a_failed_resize_unmaps_nothing_else),
    cmocka_unit_test(sleep_after_sleep_is_seen),
};
CHECK_MAIN(tests)
