/* The names beyond the everyday ones, and what the manuals owe in their corners. Also built without
 * the library, to run with it preloaded, and statically: then without its own names. */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Not every C library has them: C23's not yet, the others not at all, or no longer. */
extern void free_sized(void *block, size_t size);
extern void free_aligned_sized(void *block, size_t alignment, size_t size);
extern void cfree(void *block);
extern void *pvalloc(size_t size);

#ifdef HAKMEM_SANITIZED
enum { HUGE_BYTES = 3000000 };
#else
enum { HUGE_BYTES = 30000000 };
#endif

static const size_t sizes[] = {0,     1,     16,    100,   1024,    2000,      32768,
                               32769, 65536, 65537, 70000, 1000000, 1u << 20u, HUGE_BYTES};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void blocks_of_no_bytes_are_blocks(void **state) {
    (void)state;
    enum { COUNT = 9 };
    void *blocks[COUNT];
    volatile size_t none = 0;
    blocks[0] = malloc(none);
    blocks[1] = calloc(none, 5);
    blocks[2] = calloc(5, none);
    blocks[3] = realloc(NULL, none);
    blocks[4] = aligned_alloc(64, none);
    blocks[5] = memalign(64, none);
    blocks[6] = valloc(none);
    blocks[7] = pvalloc(none);
    assert_int_equal(posix_memalign(&blocks[8], 64, none), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(blocks[i]);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(blocks[i], blocks[j]);
    }
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
}

static void sized_frees_are_frees(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        errno = 1234;
        free_sized(malloc(sizes[i]), sizes[i]);
        free_sized(calloc(1, sizes[i]), sizes[i]);
        free_sized(realloc(malloc(1), sizes[i] + 1), sizes[i] + 1);
        for (size_t alignment = 16; alignment <= 65536; alignment *= 8)
            free_aligned_sized(aligned_alloc(alignment, sizes[i]), alignment, sizes[i]);
        cfree(malloc(sizes[i]));
        assert_int_equal(errno, 1234);
    }
    free_sized(NULL, 7);
    free_aligned_sized(NULL, 64, 64);
    cfree(NULL);
}

static void errno_is_left_alone_by_what_succeeds(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        errno = 1234;
        void *block = malloc(sizes[i]);
        block = realloc(block, sizes[i] + 5000);
        block = realloc(block, sizes[i] / 2 + 1);
        malloc_usable_size(block);
        free(block);
        free(calloc(3, sizes[i]));
        free(memalign(256, sizes[i]));
        assert_int_equal(errno, 1234);
    }
}

static void a_failed_realloc_leaves_the_block(void **state) {
    (void)state;
    for (int i = 1; i < SIZES; i++) {
        volatile size_t too_much = (size_t)PTRDIFF_MAX + 1;
        char *volatile block = malloc(sizes[i]);
        fill_block(block, sizes[i]);
        size_t usable = malloc_usable_size(block);
        for (int way = 0; way < 4; way++) {
            errno = 0;
            void *moved = way == 0   ? realloc(block, too_much)
                          : way == 1 ? realloc(block, PTRDIFF_MAX)
                          : way == 2 ? reallocarray(block, too_much, 2)
                                     : reallocarray(block, too_much / 4, 3);
            assert_null(moved);
            assert_int_equal(errno, ENOMEM);
            assert_int_equal(malloc_usable_size(block), usable);
        }
        verify_block(block, sizes[i]);
        free(block);
    }
}

static void realloc_to_nothing_frees(void **state) {
    (void)state;
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < SIZES; i++) {
            void *volatile block = malloc(sizes[i]);
            errno = 1234;
            assert_null(round % 2 ? realloc(block, 0) : reallocarray(block, 0, 9));
            assert_int_equal(errno, 1234);
        }
    }
}

static void calloc_clears_what_was_used(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SIZES; i++) {
            char *block = malloc(sizes[i]);
            memset(block, 0xEE, malloc_usable_size(block));
            free(block);
            block = calloc(sizes[i] ? sizes[i] : 1, 1);
            for (size_t at = 0; at < sizes[i]; at++)
                if (block[at])
                    fail_msg("byte %zu of %zu is not zero", at, sizes[i]);
            free(block);
        }
    }
}

static void whole_pages(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < SIZES; i++) {
        char *block = valloc(sizes[i]);
        assert_int_equal((uintptr_t)block % page, 0);
        free(block);
        block = pvalloc(sizes[i]);
        assert_int_equal((uintptr_t)block % page, 0);
        size_t rounded = (sizes[i] + page - 1) / page * page;
        assert_true(malloc_usable_size(block) >= rounded);
        memset(block, 1, rounded);
        free(block);
    }
}

#ifdef __GLIBC__
/* glibc's header calls mallinfo deprecated; programs call it all the same. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#else
struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
extern struct mallinfo mallinfo(void);
extern struct mallinfo2 mallinfo2(void);
extern int malloc_trim(size_t pad);
extern int malloc_info(int options, FILE *stream);
extern void malloc_stats(void);
extern int mallopt(int parameter, int value);
enum {
    M_MXFAST = 1,
    M_TRIM_THRESHOLD = -1,
    M_TOP_PAD = -2,
    M_MMAP_THRESHOLD = -3,
    M_MMAP_MAX = -4,
    M_CHECK_ACTION = -5,
    M_PERTURB = -6,
    M_ARENA_TEST = -7,
    M_ARENA_MAX = -8
};
#endif

static void mallinfo_follows_the_program(void **state) {
    (void)state;
    struct mallinfo2 before = mallinfo2();
    struct mallinfo small = mallinfo();
    assert_int_equal(small.hblks, before.hblks);
    assert_in_range((size_t)small.uordblks, before.uordblks, before.uordblks + 4096);
    enum { COUNT = 1000, BYTES = 1000 };
    static char *blocks[COUNT];
    size_t usable = 0;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(BYTES);
        usable += malloc_usable_size(blocks[i]);
    }
    char *volatile huge = malloc(HUGE_BYTES);
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(after.hblks, before.hblks + 1);
    assert_true(after.hblkhd >= before.hblkhd + HUGE_BYTES);
    assert_int_equal(after.uordblks, before.uordblks + usable + malloc_usable_size(huge));
    assert_true(after.arena >= before.arena);
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    free(huge);
    struct mallinfo2 end = mallinfo2();
    assert_int_equal(end.hblks, before.hblks);
    assert_int_equal(end.uordblks, before.uordblks);
    assert_true(end.keepcost >= HUGE_BYTES);
    assert_true(end.fordblks >= end.fsmblks);
}

static void trim_gives_memory_back_and_says_so(void **state) {
    (void)state;
    char *volatile blocks[20];
    for (int i = 0; i < 20; i++) {
        blocks[i] = malloc(500000);
        memset(blocks[i], 1, 500000);
    }
    for (int i = 0; i < 20; i++)
        free(blocks[i]);
    assert_true(mallinfo2().keepcost >= 20 * 500000);
    assert_int_equal(malloc_trim(0), 1);
    assert_int_equal(mallinfo2().keepcost, 0);
    assert_int_equal(malloc_trim(0), 0);
}

/* The sum of an attribute's values in a text, and how often it is there. */
static size_t sum_of(const char *text, const char *attribute, size_t *count) {
    size_t sum = 0;
    for (*count = 0; (text = strstr(text, attribute)); (*count)++) {
        text += strlen(attribute);
        sum += strtoul(text, NULL, 10);
    }
    return sum;
}

static void information_is_a_tree_of_xml(void **state) {
    (void)state;
    char *volatile huge = malloc(HUGE_BYTES), *volatile small = malloc(48);
    char *text = NULL;
    size_t length = 0, count;
    FILE *stream = open_memstream(&text, &length);
    assert_int_equal(malloc_info(1, stream), EINVAL);
    fflush(stream);
    assert_int_equal(length, 0);
    assert_int_equal(malloc_info(0, stream), 0);
    fclose(stream);
    assert_memory_equal(text, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n", 43);
    assert_string_equal(text + length - 10, "</malloc>\n");
    sum_of(text, "<heap ", &count);
    assert_int_equal(count, 1);
    sum_of(text, "</heap>", &count);
    assert_int_equal(count, 1);
    sum_of(text, "<size from=\"48\" to=\"48\" ", &count);
    assert_int_equal(count, 1);
    assert_true(sum_of(text, "<total type=\"mmap\" count=\"", &count) >= 1);
    assert_int_equal(count, 1);
    assert_true(sum_of(text, "<system type=\"current\" size=\"", &count) >= HUGE_BYTES);
    assert_int_equal(count, 2);
    free(text);
    free(huge);
    free(small);
}

static void parameters_are_taken_or_refused(void **state) {
    (void)state;
    assert_int_equal(mallopt(M_MXFAST, 0), 1);
    assert_int_equal(mallopt(M_MXFAST, 160), 1);
    assert_int_equal(mallopt(M_MXFAST, 161), 0);
    assert_int_equal(mallopt(M_TOP_PAD, 65536), 1);
    assert_int_equal(mallopt(M_MMAP_THRESHOLD, 131072), 1);
    assert_int_equal(mallopt(M_MMAP_THRESHOLD, -1), 0);
    assert_int_equal(mallopt(M_MMAP_MAX, 0), 1);
    assert_int_equal(mallopt(M_ARENA_MAX, 1), 1);
    assert_int_equal(mallopt(M_ARENA_MAX, 0), 0);
    assert_int_equal(mallopt(M_ARENA_TEST, 4), 1);
    assert_int_equal(mallopt(M_TRIM_THRESHOLD, 131072), 1);
    assert_int_equal(mallopt(M_TRIM_THRESHOLD, -2), 0);
    assert_int_equal(mallopt(M_PERTURB, 0xAA), 0);
    assert_int_equal(mallopt(M_CHECK_ACTION, 1), 0);
    assert_int_equal(mallopt(12345, 1), 0);
}

/* Reads what a function writes to standard error. */
static size_t stderr_of(void (*function)(void), char *text, size_t size) {
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(pipes[1], STDERR_FILENO);
    function();
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(pipes[1]);
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(pipes[0], text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    close(pipes[0]);
    text[length] = '\0';
    return length;
}

static void stats_are_a_table_on_standard_error(void **state) {
    (void)state;
    static char text[32768];
    stderr_of(malloc_stats, text, sizeof text);
    assert_memory_equal(text, "hakmem: statistics of process ", 30);
    assert_non_null(strstr(text, "\n  live "));
    assert_non_null(strstr(text, "\nhakmem: counters now\n"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_of_no_bytes_are_blocks),
    cmocka_unit_test(sized_frees_are_frees),
    cmocka_unit_test(errno_is_left_alone_by_what_succeeds),
    cmocka_unit_test(a_failed_realloc_leaves_the_block),
    cmocka_unit_test(realloc_to_nothing_frees),
    cmocka_unit_test(calloc_clears_what_was_used),
    cmocka_unit_test(whole_pages),
    cmocka_unit_test(mallinfo_follows_the_program),
    cmocka_unit_test(trim_gives_memory_back_and_says_so),
    cmocka_unit_test(information_is_a_tree_of_xml),
    cmocka_unit_test(parameters_are_taken_or_refused),
    cmocka_unit_test(stats_are_a_table_on_standard_error),
};
CHECK_MAIN(tests)
