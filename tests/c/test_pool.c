/* The shared pool: runs of slabs, what is zero, purging, the bitmaps of hints. */
#include "check.h"
#include "heap/heap.h"
#include "superslab/hint_bitmap.h"
#include "superslab/superslab.h"

#include <string.h>

static void hints_are_found_in_order(void **state) {
    (void)state;
    static struct hak_hints map;
    static const uint32_t members[] = {0, 63, 64, 4095, 4096, 100000, HAK_SUPERSLAB_MAX - 1};
    enum { COUNT = sizeof members / sizeof *members };
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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(hints_are_found_in_order),
    cmocka_unit_test(runs_do_not_overlap_and_come_back),
    cmocka_unit_test(zeroed_is_true_or_not_said),
    cmocka_unit_test(extends_only_into_free_slabs),
};
CHECK_MAIN(tests)
