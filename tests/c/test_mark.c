/* Where a block may begin, and the marks of free blocks. */
#include "check.h"
#include "base/mark.h"
#include "base/size_class.h"

#include <stdlib.h>
#include <string.h>

static void blocks_begin_at_their_places_and_nowhere_else(void **state) {
    (void)state;
    free(malloc(1)); /* sets the table up */
    const char *base = (const char *)(uintptr_t)0x7f0000010000u;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        size_t size = hak_class_size[c];
        for (size_t offset = 0; offset < HAK_SLAB_SIZE; offset++) {
            bool right = offset % size == 0 && offset + size <= HAK_SLAB_SIZE;
            if (hak_begins_block(base + offset, c) != right)
                fail_msg("class of %zu bytes, offset %zu", size, offset);
        }
    }
    assert_false(hak_begins_block(base, HAK_KIND_NONE));
    assert_false(hak_begins_block(base, HAK_KIND_SPAN));
    assert_false(hak_begins_block(base, HAK_KIND_HUGE));
}

static void a_mark_is_a_blocks_own(void **state) {
    (void)state;
    free(malloc(1)); /* sets the table up */
    static _Alignas(64) char place[256];
    memset(place, 0, sizeof place);
    assert_false(hak_is_marked(place));
    hak_mark(place);
    assert_true(hak_is_marked(place));
    memcpy(place + 64, place, 64);
    assert_false(hak_is_marked(place + 64)); /* a copy */
    hak_unmark(place);
    assert_false(hak_is_marked(place));
}

static void a_mark_tells_no_address(void **state) {
    (void)state;
    free(malloc(1)); /* sets the table up */
    static _Alignas(64) char place[128];
    hak_mark(place);
    hak_mark(place + 64);
    uintptr_t mark = *hak_mark_place(place);
    assert_true(mark != 0 && mark != (uintptr_t)place && mark != (uintptr_t)hak_marks_now());
    assert_true(mark != *hak_mark_place(place + 64));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_begin_at_their_places_and_nowhere_else),
    cmocka_unit_test(a_mark_is_a_blocks_own),
    cmocka_unit_test(a_mark_tells_no_address),
};
CHECK_MAIN(tests)
