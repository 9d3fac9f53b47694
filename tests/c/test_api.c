/* The functions as a program sees them: sizes, alignments, contents, errors, errno. */
#include "check.h"
#include "base/guard.h"
#include "hakmem.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* Not every C library declares it. */
void *pvalloc(size_t size);

static const size_t sizes[] = {
    0,       1,       15,      16,    17,    127,   128,   1000,  1024,   2032,    2033,
    2048,    4096,    8000,    32767, 32768, 32769, 65536, 65537, 500000, 1 << 20, (1 << 20) + 1,
    2000000, 5000000, 40000000};
#ifdef HAKMEM_SANITIZED
enum { SIZES = sizeof sizes / sizeof *sizes - 2 }; /* the largest take minutes there */
#else
enum { SIZES = sizeof sizes / sizeof *sizes };
#endif

static size_t at_most(size_t size, size_t most) {
    return size < most ? size : most;
}

static void blocks_hold_what_was_asked_for(void **state) {
    (void)state;
    void *blocks[SIZES];
    for (int i = 0; i < SIZES; i++) {
        blocks[i] = malloc(sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        assert_true(malloc_usable_size(blocks[i]) >= sizes[i]);
        fill_block(blocks[i], sizes[i]);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(blocks[i], blocks[j]);
    }
    for (int i = 0; i < SIZES; i++)
        verify_block(blocks[i], sizes[i]);
    for (int i = 0; i < SIZES; i++)
        free(blocks[i]);
}

static void usable_bytes_can_all_be_used(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        void *p = malloc(sizes[i]), *q = malloc(sizes[i]);
        size_t n = malloc_usable_size(p), m = malloc_usable_size(q);
        fill_block(p, n);
        fill_block(q, m);
        verify_block(p, n);
        free(p);
        verify_block(q, m);
        free(q);
    }
    assert_int_equal(malloc_usable_size(NULL), 0);
}

static void calloc_clears_used_memory(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        for (int round = 0; round < 3; round++) {
            unsigned char *p = malloc(sizes[i]);
            memset(p, 0xa5, malloc_usable_size(p));
            free(p);
            p = calloc(1, sizes[i]);
            assert_non_null(p);
            for (size_t k = 0; k < sizes[i]; k++)
                if (p[k])
                    fail_msg("byte %zu of %zu is not zero", k, sizes[i]);
            memset(p, 0x5a, sizes[i]);
            free(p);
        }
    }
}

static void realloc_keeps_the_contents(void **state) {
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 100; round++) {
        size_t size = sizes[next_random(&seed) % SIZES] + next_random(&seed) % 40;
        unsigned char *p = malloc(size + 1);
        for (size_t i = 0; i < size; i++)
            p[i] = (unsigned char)(i * 7);
        for (int step = 0; step < 4; step++) {
            size_t wanted = sizes[next_random(&seed) % SIZES] + 1 + next_random(&seed) % 40;
            p = realloc(p, wanted);
            assert_non_null(p);
            size_t kept = size < wanted ? size : wanted;
            for (size_t i = 0; i < kept; i += 1 + i / 64)
                if (p[i] != (unsigned char)(i * 7))
                    fail_msg("byte %zu of %zu was lost", i, kept);
            for (size_t i = kept; i < wanted; i++)
                p[i] = (unsigned char)(i * 7);
            size = wanted;
        }
        free(p);
    }
}

static void a_small_block_stays_while_it_fits(void **state) {
    (void)state;
    for (size_t size = 100; size <= 20000; size += size / 2) {
        char *p = malloc(size), *q;
        size_t usable = malloc_usable_size(p);
        if (hak_guarding()) { /* every resize moves */
            free(p);
            return;
        }
        for (size_t wanted = usable / 2 + 1; wanted <= usable; wanted += 1 + wanted / 64) {
            q = realloc(p, wanted);
            assert_ptr_equal(q, p);
        }
        q = realloc(p, usable + 1);
        assert_ptr_not_equal(q, p);
        free(q);
    }
}

static void realloc_grows_in_small_steps(void **state) {
    (void)state;
    char *p = NULL;
    size_t size = 8;
    for (; size < 48u << 20; size += size / 2) {
        p = realloc(p, size);
        assert_non_null(p);
        p[size - 1] = (char)size;
        p[size / 2] = 1;
    }
    for (; size > 8; size /= 2) {
        p = realloc(p, size);
        assert_non_null(p);
    }
    free(p);
}

static void realloc_of_nothing_and_to_nothing(void **state) {
    (void)state;
    void *p = realloc(NULL, 10);
    assert_non_null(p);
    assert_null(realloc(p, 0));
    assert_null(reallocarray(malloc(10), 0, 5));
}

static void too_much_is_refused(void **state) {
    (void)state;
    static const size_t wrong[] = {SIZE_MAX,         SIZE_MAX - 15,
                                   SIZE_MAX / 2 + 1, (size_t)PTRDIFF_MAX + 1,
                                   PTRDIFF_MAX,      PTRDIFF_MAX - 4096};
    void *block = malloc(100);
    fill_block(block, 100);
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        volatile size_t size = wrong[i]; /* the compiler need not know */
        errno = 0;
        assert_null(malloc(size));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(calloc(size, 1));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(realloc(block, size));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(aligned_alloc(64, size));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(pvalloc(size));
        assert_int_equal(errno, ENOMEM);
    }
    volatile size_t half = SIZE_MAX / 2; /* the compiler need not know */
    errno = 0;
    assert_null(calloc(half, 3));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    void *volatile same = block; /* refused, it is as it was */
    assert_null(reallocarray(same, half / 2, 8));
    assert_int_equal(errno, ENOMEM);
    verify_block(block, 100);
    free(block);
    /* A huge block that can't grow is as it was. */
    block = malloc(3000000);
    fill_block(block, 3000000);
    assert_null(realloc(block, PTRDIFF_MAX));
    verify_block(block, 3000000);
    free(block);
}

static void alignments_are_kept(void **state) {
    (void)state;
    for (size_t alignment = 1; alignment <= (size_t)16 << 20; alignment *= 2) {
        for (int i = 0; i < SIZES; i++) {
            void *p = aligned_alloc(alignment, sizes[i]);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % alignment, 0);
            assert_true(malloc_usable_size(p) >= sizes[i]);
            fill_block(p, at_most(sizes[i], 5000));
            void *q = memalign(alignment, 100);
            assert_int_equal((uintptr_t)q % alignment, 0);
            fill_block(q, 100);
            verify_block(p, at_most(sizes[i], 5000));
            if (i % 3 == 0) {
                p = realloc(p, sizes[i] + 1000);
                assert_non_null(p);
            }
            free(p);
            verify_block(q, 100);
            free(q);
        }
    }
}

static void wrong_alignments_are_refused(void **state) {
    (void)state;
    static const size_t wrong[] = {0, 3, 24, 48, 100, SIZE_MAX};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        assert_null(aligned_alloc(wrong[i], 64));
        assert_int_equal(errno, EINVAL);
        void *p = &errno;
        errno = 5;
        assert_int_equal(posix_memalign(&p, wrong[i], 64), EINVAL);
        assert_ptr_equal(p, &errno);
        assert_int_equal(errno, 5);
    }
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 4, 64), EINVAL); /* no multiple of a pointer's size */
    assert_int_equal(posix_memalign(&p, (size_t)1 << 62, 64), ENOMEM);
    assert_int_equal(posix_memalign(&p, 8, 64), 0);
    assert_non_null(p);
    free(p);
}

static void memalign_rounds_its_alignment_up(void **state) {
    (void)state;
    static const size_t asked[] = {0, 1, 3, 24, 48, 100, 5000};
    static const size_t given[] = {16, 16, 16, 32, 64, 128, 8192};
    for (unsigned i = 0; i < sizeof asked / sizeof *asked; i++) {
        volatile size_t alignment = asked[i];
        void *p = memalign(alignment, 50);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % given[i], 0);
        free(p);
    }
    volatile size_t absurd = SIZE_MAX;
    errno = 0;
    assert_null(memalign(absurd, 50));
    assert_int_equal(errno, EINVAL);
}

static void page_functions(void **state) {
    (void)state;
    void *p = valloc(10), *q = pvalloc(4097);
    assert_int_equal((uintptr_t)p % 4096, 0);
    assert_int_equal((uintptr_t)q % 4096, 0);
    assert_true(malloc_usable_size(q) >= 8192);
    free(p);
    free(q);
}

static void free_keeps_errno(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        void *p = malloc(sizes[i]);
        errno = 1234;
        free(p);
        assert_int_equal(errno, 1234);
    }
    errno = 1234;
    free(NULL);
    assert_int_equal(errno, 1234);
}

static void own_names_serve_the_same_blocks(void **state) {
    (void)state;
    void *p = hak_malloc(100);
    free(p);
    p = malloc(100);
    hak_free(p);
    p = hak_calloc(3, 1000);
    p = hak_reallocarray(p, 5, 1000);
    assert_true(hak_malloc_usable_size(p) >= 5000);
    p = hak_realloc(p, 20);
    free(p);
    assert_int_equal(hak_posix_memalign(&p, 64, 10), 0);
    free(p);
    free(hak_aligned_alloc(128, 10));
    free(hak_memalign(128, 10));
    free(hak_valloc(1));
    free(hak_pvalloc(1));
    assert_string_equal(hak_version(), HAKMEM_VERSION);
}

static void many_of_every_size(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    for (int i = 0; i < 17; i++) {
        for (int k = 0; k < COUNT; k++) {
            blocks[k] = malloc(sizes[i]);
            assert_non_null(blocks[k]);
            fill_block(blocks[k], sizes[i] < 64 ? sizes[i] : 64);
        }
        for (int k = 0; k < COUNT; k++) {
            verify_block(blocks[k], sizes[i] < 64 ? sizes[i] : 64);
            free(blocks[k]);
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_hold_what_was_asked_for),
    cmocka_unit_test(usable_bytes_can_all_be_used),
    cmocka_unit_test(calloc_clears_used_memory),
    cmocka_unit_test(realloc_keeps_the_contents),
    cmocka_unit_test(a_small_block_stays_while_it_fits),
    cmocka_unit_test(realloc_grows_in_small_steps),
    cmocka_unit_test(realloc_of_nothing_and_to_nothing),
    cmocka_unit_test(too_much_is_refused),
    cmocka_unit_test(alignments_are_kept),
    cmocka_unit_test(wrong_alignments_are_refused),
    cmocka_unit_test(memalign_rounds_its_alignment_up),
    cmocka_unit_test(page_functions),
    cmocka_unit_test(free_keeps_errno),
    cmocka_unit_test(own_names_serve_the_same_blocks),
    cmocka_unit_test(many_of_every_size),
};
CHECK_MAIN(tests)
