/* Where a block may begin, and the marks of free blocks. */
#include "check.h"
#include "base/mark.h"
#include "base/size_class.h"
#include "page_map/page_map.h"

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

/* No pointer, and nothing that a program would compute from one of its own. */
static void a_mark_is_no_address(void **state) {
    (void)state;
    void *block = malloc(100);
    free(block);
    assert_true(hak_is_marked(block));
    if (*hak_mark_place(block) >> HAK_ADDRESS_BITS == 0) /* tables and heap are mapped far up */
        assert_true((uintptr_t)block >> (HAK_ADDRESS_BITS - 1) == 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_begin_at_their_places_and_nowhere_else),
    cmocka_unit_test(a_mark_is_a_blocks_own),
    cmocka_unit_test(a_mark_is_no_address),
};
CHECK_MAIN(tests)
