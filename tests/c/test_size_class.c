/* Size classes: every request gets the smallest block that holds it. */
#include "check.h"
#include "base/size_class.h"

static void every_size_gets_the_smallest_class(void **state) {
    (void)state;
    for (size_t size = 0; size <= HAK_SMALL_MAX; size++) {
        unsigned c = hak_size_class(size);
        assert_in_range(c, 1, HAK_CLASS_MAX);
        assert_true(hak_class_size[c] >= size);
        if (c > 1)
            assert_true(hak_class_size[c - 1] < size);
    }
}

static void sizes_grow_and_are_aligned(void **state) {
    (void)state;
    assert_int_equal(hak_class_size[0], 0);
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        assert_true(hak_class_size[c] > hak_class_size[c - 1]);
        assert_int_equal(hak_class_size[c] % HAK_MIN_ALIGN, 0);
    }
    assert_int_equal(hak_class_size[HAK_CLASS_MAX], HAK_SMALL_MAX);
}

static void waste_is_bounded(void **state) {
    (void)state;
    for (size_t size = 129; size <= HAK_SMALL_MAX; size++) {
        size_t waste = hak_class_size[hak_size_class(size)] - size;
        if (size <= 2048)
            assert_true(waste * 8 < size);
        else if (size <= 10880)
            assert_true(waste * 6 < size);
        else /* as few a slab as there are, the next larger class can't be nearer */
            assert_true(hak_size_class(size) == HAK_CLASS_MAX || waste * 2 < size);
    }
}

static void powers_of_two_are_classes(void **state) {
    (void)state;
    for (size_t size = 16; size <= HAK_SMALL_MAX; size *= 2)
        assert_int_equal(hak_class_size[hak_size_class(size)], size);
}

static void aligned_requests_get_the_smallest_class_that_is(void **state) {
    (void)state;
    for (size_t alignment = HAK_MIN_ALIGN; alignment <= HAK_SMALL_MAX; alignment *= 2)
        for (size_t size = 0; size <= HAK_SMALL_MAX; size += 1 + size / 64) {
            unsigned c = hak_size_class(size);
            while (hak_class_size[c] % alignment != 0)
                c++;
            assert_int_equal(hak_size_class_aligned(alignment, size), c);
        }
}

static void slabs_have_no_long_tails(void **state) {
    (void)state;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++)
        assert_true(HAK_SLAB_SIZE % hak_class_size[c] * 38 < HAK_SLAB_SIZE);
}

/* With a header of their own databases ask for a little more than a power of two. */
static void pages_with_a_header_waste_little(void **state) {
    (void)state;
    assert_in_range(hak_class_size[hak_size_class(1032)], 1032, 1040);
    assert_in_range(hak_class_size[hak_size_class(2056)], 2056, 2112);
    assert_int_equal(hak_class_size[hak_size_class(4368)], 4368);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_size_gets_the_smallest_class),
    cmocka_unit_test(sizes_grow_and_are_aligned),
    cmocka_unit_test(waste_is_bounded),
    cmocka_unit_test(powers_of_two_are_classes),
    cmocka_unit_test(aligned_requests_get_the_smallest_class_that_is),
    cmocka_unit_test(slabs_have_no_long_tails),
    cmocka_unit_test(pages_with_a_header_waste_little),
};
CHECK_MAIN(tests)
