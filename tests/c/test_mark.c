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

/* An address that no process can have, whose lower bits are those of a block. */
static void upper_bits_are_no_block(void **state) {
    (void)state;
    free(malloc(1));
    const struct hak_marks *marks = hak_marks_now();
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++)
        for (uint64_t offset = 0; offset + hak_class_size[c] <= HAK_SLAB_SIZE;
             offset += hak_class_size[c])
            for (uint64_t high = 1; high <= UINT16_MAX; high += offset ? 257 : 1) {
                uint64_t product = (offset << HAK_PLACE_SHIFT | high) * marks->step[c];
                /* and the sum with an address doesn't pass 2^64 */
                if (!(product & HAK_NO_PLACE) || product > ~(uint64_t)0 - ((uint64_t)1 << 47))
                    fail_msg("class %u, offset %u, upper bits %x", c, (unsigned)offset,
                             (unsigned)high);
            }
}

static void a_mark_comes_and_goes(void **state) {
    (void)state;
    free(malloc(1)); /* sets the table up */
    static _Alignas(64) char place[64];
    memset(place, 0, sizeof place);
    assert_false(hak_is_marked(place));
    hak_mark(place);
    assert_true(hak_is_marked(place));
    hak_unmark(place);
    assert_false(hak_is_marked(place));
}

/* Words in a region that are the mark. */
static size_t marks_in(const void *region, size_t size) {
    size_t found = 0;
    for (const uintptr_t *word = region; size >= sizeof *word; word++, size -= sizeof *word)
        found += *word == (uintptr_t)hak_marks_now();
    return found;
}

#define MANY 40000u
static void *blocks[MANY];

/* What a program is given never has a mark anywhere in it, whatever the memory was before. */
static void no_mark_is_handed_out(void **state) {
    (void)state;
    static const size_t sizes[] = {16,   200000, 16,  48,    600,    32, 70000, 16,
                                   5000, 96,     800, 32768, 130000, 16, 1000,  300000};
    for (unsigned life = 0; life < 3 * sizeof sizes / sizeof *sizes; life++) {
        size_t size = sizes[life % (sizeof sizes / sizeof *sizes)];
        size_t count = 8000000 / size < MANY ? 8000000 / size : MANY;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = malloc(size);
            assert_non_null(blocks[i]);
            if (marks_in(blocks[i], size))
                fail_msg("life %u: a block of %zu bytes has a mark in it", life, size);
        }
        if (life % 4 == 3) { /* into slabs that follow, as far as that goes */
            for (size_t i = 0; i < count; i += 2)
                free(blocks[i]);
            for (size_t i = 1; i < count; i += 2) {
                blocks[i] = realloc(blocks[i], size * 2);
                assert_non_null(blocks[i]);
                assert_int_equal(marks_in(blocks[i], size * 2), 0);
                free(blocks[i]);
            }
        } else {
            for (size_t i = 0; i < count; i++)
                free(blocks[i]);
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_begin_at_their_places_and_nowhere_else),
    cmocka_unit_test(upper_bits_are_no_block),
    cmocka_unit_test(a_mark_comes_and_goes),
    cmocka_unit_test(no_mark_is_handed_out),
};
CHECK_MAIN(tests)
