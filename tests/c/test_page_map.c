/* The page map, flat or two-level (HAKMEM_PAGE_MAP=2): what was set is found, all else is nothing.
 */
#include "check.h"
#include "base/options.h"
#include "heap/heap.h"
#include "page_map/page_map.h"

#include <stdlib.h>
#include <sys/mman.h>

static void set_is_found_and_neighbours_are_not(void **state) {
    (void)state;
    hak_init();
    char *p = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    p = (char *)hak_round_up((uintptr_t)p, HAK_SLAB_SIZE);
    assert_true(hak_page_map_set(p + HAK_SLAB_SIZE, 17));
    assert_int_equal(hak_page_map_get(p), HAK_KIND_NONE);
    assert_int_equal(hak_page_map_get(p + HAK_SLAB_SIZE), 17);
    assert_int_equal(hak_page_map_get(p + 2 * HAK_SLAB_SIZE - 1), 17);
    assert_int_equal(hak_page_map_get(p + 2 * HAK_SLAB_SIZE), HAK_KIND_NONE);
    assert_true(hak_page_map_set(p + HAK_SLAB_SIZE, HAK_KIND_NONE));
    assert_int_equal(hak_page_map_get(p + HAK_SLAB_SIZE), HAK_KIND_NONE);
}

static void any_value_may_be_asked_for(void **state) {
    (void)state;
    hak_init();
    uint64_t seed = 42;
    assert_int_equal(hak_page_map_get(NULL), HAK_KIND_NONE);
    assert_int_equal(hak_page_map_get((void *)UINTPTR_MAX), HAK_KIND_NONE);
    assert_int_equal(hak_page_map_get((void *)0x6261), HAK_KIND_NONE);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(hak_page_map_get((void *)(next_random(&seed) | (uintptr_t)1 << 63)),
                         HAK_KIND_NONE);
    /* Of five levels of page tables, tagged, and everything in between. */
    void *ours = malloc(100);
    assert_int_not_equal(hak_page_map_get(ours), HAK_KIND_NONE);
    for (unsigned bit = HAK_ADDRESS_BITS; bit < 64; bit++) {
        uintptr_t high = (uintptr_t)1 << bit;
        assert_int_equal(hak_page_map_get((void *)high), HAK_KIND_NONE);
        assert_int_equal(hak_page_map_get((void *)(high - 1)), HAK_KIND_NONE);
        assert_int_equal(hak_page_map_get((void *)((uintptr_t)ours | high)), HAK_KIND_NONE);
        assert_int_equal(hak_page_map_get((void *)((uintptr_t)ours - high)), HAK_KIND_NONE);
    }
    free(ours);
}

static void blocks_are_found_whatever_the_form(void **state) {
    (void)state;
    void *small = malloc(100), *large = malloc(100000), *huge = malloc(5000000);
    assert_in_range(hak_page_map_get(small), 1, HAK_CLASS_MAX);
    assert_int_equal(hak_page_map_get(large), HAK_KIND_SPAN);
    assert_int_equal(hak_page_map_get(huge), HAK_KIND_HUGE);
    assert_int_equal(hak_page_map_is_flat(), hak_option(HAK_OPT_PAGE_MAP) == 1);
    for (int i = 0; i < 10000; i++) { /* magazines fill and empty on both paths */
        void *p = malloc((size_t)i % 500);
        void *q = malloc(77);
        assert_non_null(p);
        free(q);
        free(p);
    }
    free(huge);
    free(large);
    free(small);
}

static void the_last_unit_has_an_entry(void **state) {
    (void)state;
    hak_init();
    char *last = (char *)(((uintptr_t)1 << HAK_ADDRESS_BITS) - HAK_SLAB_SIZE);
    assert_true(hak_page_map_set(last, 17));
    assert_int_equal(hak_page_map_get(last + 5), 17);
    assert_int_equal(hak_page_map_get(last - 1), HAK_KIND_NONE);
    assert_int_equal(hak_page_map_get(last + HAK_SLAB_SIZE), HAK_KIND_NONE);
    assert_false(hak_page_map_set(last + HAK_SLAB_SIZE, 17));
    assert_true(hak_page_map_set(last, HAK_KIND_NONE));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_last_unit_has_an_entry),
    cmocka_unit_test(set_is_found_and_neighbours_are_not),
    cmocka_unit_test(any_value_may_be_asked_for),
    cmocka_unit_test(blocks_are_found_whatever_the_form),
};
CHECK_MAIN(tests)
