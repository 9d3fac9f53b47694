/* The shared pool: runs of slabs, what is zero, purging, the bitmaps of hints. */
#include "check.h"
#include "heap/heap.h"
#include "superslab/hint_bitmap.h"
#include "superslab/superslab.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static void hints_are_found_in_order(void **state) {
    (void)state;
    static struct hak_hints map;
    static const uint32_t members[] = {0, 63, 64, 4095, 4096, 100000, HAK_SUPERSLAB_MAX - 1};
    enum { COUNT = sizeof members / sizeof *members };
    static struct hak_hint_chunk chunks[COUNT];
    assert_int_equal(hak_hint_find(&map, 17, 0, HAK_SUPERSLAB_MAX), -1); /* no chunk at all */
    for (int i = COUNT - 1; i >= 0; i--) /* some in one chunk; most chunks are not there */
        hak_hint_add_chunk(&map, members[i], &chunks[i]);
    for (int i = COUNT - 1; i >= 0; i--)
        hak_hint_set(&map, 17, members[i]);
    int64_t at = -1;
    for (int i = 0; i < COUNT; i++) {
        at = hak_hint_find(&map, 17, (uint32_t)(at + 1), HAK_SUPERSLAB_MAX);
        assert_int_equal(at, members[i]);
    }
    assert_int_equal(hak_hint_find(&map, 17, 4097, 64 * 1024), -1); /* bounded by the count */
    for (int i = 0; i < COUNT; i++) {
        assert_true(hak_hint_clear(&map, 17, members[i]));
        assert_false(hak_hint_clear(&map, 17, members[i]));
    }
    hak_hint_set(&map, 16, 5); /* another set */
    assert_int_equal(hak_hint_find(&map, 17, 0, HAK_SUPERSLAB_MAX), -1);
}

static void runs_do_not_overlap_and_come_back(void **state) {
    (void)state;
    hak_init();
    struct hak_superslab *hint = NULL;
    enum { RUNS = 200 };
    char *base[RUNS];
    unsigned count[RUNS];
    uint64_t seed = 7;
    for (int i = 0; i < RUNS; i++) {
        count[i] = 1 + (unsigned)(next_random(&seed) % 16);
        struct hak_slab_run run = hak_pool_take(count[i], &hint, true);
        assert_non_null(run.base);
        base[i] = run.base;
        assert_int_equal((uintptr_t)base[i] % HAK_SLAB_SIZE, 0);
        assert_ptr_equal(hak_superslab_of(base[i]),
                         hak_superslab_of(base[i] + count[i] * HAK_SLAB_SIZE - 1));
        assert_int_not_equal((uintptr_t)base[i] % HAK_SUPERSLAB_SIZE, 0); /* the header's slab */
        for (int j = 0; j < i; j++)
            assert_true(base[i] + count[i] * HAK_SLAB_SIZE <= base[j] ||
                        base[j] + count[j] * HAK_SLAB_SIZE <= base[i]);
    }
    uint32_t before = hak_pool_superslabs();
    for (int i = 0; i < RUNS; i++)
        hak_pool_give(base[i], count[i]);
    for (int i = 0; i < RUNS; i++)
        base[i] = hak_pool_take(count[i], &hint, true).base;
    assert_true(hak_pool_superslabs() <= before + 4); /* the same memory serves again */
    for (int i = 0; i < RUNS; i++)
        hak_pool_give(base[i], count[i]);
}

static void zeroed_is_true_or_not_said(void **state) {
    (void)state;
    hak_init();
    struct hak_superslab *hint = NULL;
    static const char zeros[HAK_SLAB_SIZE];
    for (int round = 0; round < 50; round++) {
        struct hak_slab_run run = hak_pool_take(2, &hint, true);
        assert_non_null(run.base);
        if (run.zeroed)
            assert_memory_equal(run.base + HAK_SLAB_SIZE, zeros, HAK_SLAB_SIZE);
        memset(run.base, 0xab, 2 * HAK_SLAB_SIZE);
        hak_pool_give(run.base, 2);
        if (round % 5 == 4)
            hak_pool_purge(UINT64_MAX / 2, 0, 1000);
    }
    hak_pool_purge(UINT64_MAX / 2, 0, 1000);
    struct hak_slab_run run = hak_pool_take(2, &hint, true);
    assert_true(run.zeroed);
    hak_pool_give(run.base, 2);
}

/* SuperSlabs without a block give their address space back, come again where nothing else has come,
 * and wait where something has. */
static void released_ones_come_again(void **state) {
    (void)state;
    hak_init();
    struct hak_superslab *hint = NULL;
    struct hak_slab_run run = hak_pool_take(31, &hint, true); /* a whole one */
    char *body = run.base;
    memset(body, 0xab, 31 * HAK_SLAB_SIZE);
    hak_pool_give(body, 31);
    assert_true(hak_pool_release() >= HAK_SUPERSLAB_SIZE - HAK_SLAB_SIZE);
    uint32_t before = hak_pool_superslabs();
    void *squatter = mmap(body, HAK_SLAB_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_equal(squatter, body);
    struct hak_slab_run other = hak_pool_take(31, &hint, true);
    assert_non_null(other.base);
    assert_true(other.base != body);
    munmap(squatter, HAK_SLAB_SIZE);
    before = before > hak_pool_superslabs() ? before : hak_pool_superslabs();
    char *again[200];
    unsigned count = 0;
    bool seen = false;
    while (count < 200 && !seen) { /* all others that were released are in use before, at most */
        run = hak_pool_take(31, &hint, true);
        assert_true(run.zeroed);
        assert_int_equal(run.base[HAK_SLAB_SIZE], 0);
        again[count++] = run.base;
        seen = run.base == body;
    }
    assert_true(seen);
    assert_int_equal(hak_pool_superslabs(), before);
    while (count)
        hak_pool_give(again[--count], 31);
    hak_pool_give(other.base, 31);
}

static void extends_only_into_free_slabs(void **state) {
    (void)state;
    hak_init();
    struct hak_superslab *hint = NULL;
    struct hak_slab_run a = hak_pool_take(4, &hint, true);
    hak_pool_give(a.base + 2 * HAK_SLAB_SIZE, 2);
    assert_true(hak_pool_extend(a.base, 2, 4));
    assert_false(hak_pool_extend(a.base, 4, 33));
    hak_pool_give(a.base + 3 * HAK_SLAB_SIZE, 1);
    struct hak_superslab *same = hint;
    struct hak_slab_run b = hak_pool_take(1, &same, true);
    if (b.base == a.base + 3 * HAK_SLAB_SIZE)
        assert_false(hak_pool_extend(a.base, 3, 4));
    hak_pool_give(b.base, 1);
    hak_pool_give(a.base, 3);
}

/* ---- threads take and give at once: no free slab may be hidden afterwards -------------------- */

#ifdef HAKMEM_SANITIZED
#define HAK_POOL_TEST_ROUNDS 500
#else
#define HAK_POOL_TEST_ROUNDS 30000
#endif
enum { POOL_THREADS = 3, POOL_ROUNDS = HAK_POOL_TEST_ROUNDS, POOL_SLABS = 31 };
static pthread_barrier_t barrier;
static _Atomic unsigned hidden;

static void count_hidden(void) {
    for (uint32_t id = 0; id < hak_pool_superslabs(); id++)
        if (!hak_pool_is_filed(id))
            hidden++;
}

static void *take_and_give(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument + 1;
    char *held[8];
    for (int round = 0; round < POOL_ROUNDS; round++) {
        unsigned count = 0;
        for (int i = 0; i < 40; i++) {
            if (count && next_random(&seed) & 1) {
                hak_pool_give(held[--count], 1);
            } else if (count < 8) {
                struct hak_superslab *none = NULL;
                held[count++] = hak_pool_take(1, &none, true).base;
            }
        }
        while (count)
            hak_pool_give(held[--count], 1);
        pthread_barrier_wait(&barrier);
        if (!argument)
            count_hidden();
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void no_free_slab_is_hidden(void **state) {
    (void)state;
    hak_init();
    struct hak_superslab *none = NULL;
    char *base[POOL_SLABS];
    for (int i = 0; i < POOL_SLABS; i++)
        base[i] = hak_pool_take(1, &none, true).base;
    for (int i = 1; i < POOL_SLABS; i += 8) /* four single slabs, soon all taken, soon free */
        hak_pool_give(base[i], 1);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, POOL_THREADS), 0);
    pthread_t threads[POOL_THREADS];
    for (uintptr_t i = 0; i < POOL_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)i), 0);
    for (int i = 0; i < POOL_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(hidden, 0);
    for (int i = 0; i < POOL_SLABS; i++)
        if (i % 8 != 1)
            hak_pool_give(base[i], 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(hints_are_found_in_order),
    cmocka_unit_test(runs_do_not_overlap_and_come_back),
    cmocka_unit_test(zeroed_is_true_or_not_said),
    cmocka_unit_test(released_ones_come_again),
    cmocka_unit_test(extends_only_into_free_slabs),
    cmocka_unit_test(no_free_slab_is_hidden),
};
CHECK_MAIN(tests)
