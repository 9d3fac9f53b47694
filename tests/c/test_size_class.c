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
        assert_true(waste * 4 < size); /* four classes a doubling: under a quarter */
        if (size <= 2048)
            assert_true(waste * 8 < size);
    }
}

static void powers_of_two_are_classes(void **state) {
    (void)state;
    for (size_t size = 16; size <= HAK_SMALL_MAX; size *= 2)
        assert_int_equal(hak_class_size[hak_size_class(size)], size);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_size_gets_the_smallest_class),
    cmocka_unit_test(sizes_grow_and_are_aligned),
    cmocka_unit_test(waste_is_bounded),
    cmocka_unit_test(powers_of_two_are_classes),
};
CHECK_MAIN(tests)
