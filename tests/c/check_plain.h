/* A small stand-in for cmocka, for builds for a machine that cmocka is not installed for.
 *
 * It has the names that our tests use and nothing else: the same command line, the same exit
 * status, the same closing line. Two things are stricter than cmocka: an assertion that fails in a
 * child process or in another thread than the case's ends that process with status 1, instead of
 * jumping into a frame that is not its own. A case that dies by a signal ends the program. */
#ifndef HAK_CHECK_PLAIN_H
#define HAK_CHECK_PLAIN_H

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct CMUnitTest {
    const char *name;
    void (*function)(void **state);
};
#define cmocka_unit_test(case_function)                                                            \
    { #case_function, case_function }

static const char *plain_filter;            /* NULL: every case */
static pid_t plain_process;                 /* the process that runs the cases, */
static _Thread_local jmp_buf *plain_resume; /* and in its thread where a failure leads */

/* Says where and why, and ends the case. */
__attribute__((noreturn, format(printf, 3, 4))) static inline void
plain_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: error: ", file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (plain_resume && getpid() == plain_process)
        longjmp(*plain_resume, 1);
    _exit(1);
}

static inline void plain_range(uintmax_t value, uintmax_t low, uintmax_t high, const char *file,
                               int line) {
    if (value < low || value > high)
        plain_fail(file, line, "%ju is not from %ju to %ju", value, low, high);
}

static inline void plain_equal(uintmax_t a, uintmax_t b, int wanted, const char *file, int line) {
    if ((a == b) != wanted)
        plain_fail(file, line, "0x%jx %s 0x%jx", a, wanted ? "!=" : "==", b);
}

static inline void plain_same_text(const char *a, const char *b, const char *file, int line) {
    if (strcmp(a, b) != 0)
        plain_fail(file, line, "\"%s\" != \"%s\"", a, b);
}

static inline void plain_same_bytes(const void *a, const void *b, size_t size, const char *file,
                                    int line) {
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < size; i++)
        if (left[i] != right[i])
            plain_fail(file, line, "byte %zu of %zu: 0x%02x != 0x%02x", i, size, left[i], right[i]);
}

#define plain_require(condition, text)                                                             \
    ((condition) ? (void)0 : plain_fail(__FILE__, __LINE__, "%s", text))
#define plain_number(value)  ((uintmax_t)(value))
#define plain_address(value) ((uintmax_t)(uintptr_t)(value))

#define fail_msg(...)          plain_fail(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(c)         plain_require(c, #c)
#define assert_false(c)        plain_require(!(c), "!(" #c ")")
#define assert_non_null(p)     plain_require((p) != NULL, #p " != NULL")
#define assert_null(p)         plain_require((p) == NULL, #p " == NULL")
#define assert_int_equal(a, b) plain_equal(plain_number(a), plain_number(b), 1, __FILE__, __LINE__)
#define assert_int_not_equal(a, b)                                                                 \
    plain_equal(plain_number(a), plain_number(b), 0, __FILE__, __LINE__)
#define assert_ptr_equal(a, b)                                                                     \
    plain_equal(plain_address(a), plain_address(b), 1, __FILE__, __LINE__)
#define assert_ptr_not_equal(a, b)                                                                 \
    plain_equal(plain_address(a), plain_address(b), 0, __FILE__, __LINE__)
#define assert_in_range(value, low, high)                                                          \
    plain_range(plain_number(value), plain_number(low), plain_number(high), __FILE__, __LINE__)
#define assert_string_equal(a, b)       plain_same_text(a, b, __FILE__, __LINE__)
#define assert_memory_equal(a, b, size) plain_same_bytes(a, b, size, __FILE__, __LINE__)

/* Only cases whose name matches the pattern, which may have * and ?. */
static inline void cmocka_set_test_filter(const char *pattern) {
    plain_filter = pattern;
}

/* Whether the case came to its end. */
static inline int plain_run_case(const struct CMUnitTest *test) {
    jmp_buf resume;
    void *state = NULL;
    plain_resume = &resume;
    if (setjmp(resume) != 0) {
        plain_resume = NULL;
        return 0;
    }
    test->function(&state);
    plain_resume = NULL;
    return 1;
}

/* Runs the cases of an array; the number of those that failed. */
#define cmocka_run_group_tests(cases, setup, teardown)                                             \
    plain_run_cases(cases, sizeof(cases) / sizeof *(cases))
static inline int plain_run_cases(const struct CMUnitTest *cases, size_t count) {
    unsigned run = 0;
    int failed = 0;
    plain_process = getpid();
    setvbuf(stdout, NULL, _IONBF, 0); /* nothing is left for a forked child to print again */
    for (size_t i = 0; i < count; i++) {
        if (plain_filter && fnmatch(plain_filter, cases[i].name, 0) != 0)
            continue;
        run++;
        printf("[ RUN      ] %s\n", cases[i].name);
        if (plain_run_case(&cases[i])) {
            printf("[       OK ] %s\n", cases[i].name);
        } else {
            printf("[  FAILED  ] %s\n", cases[i].name);
            failed++;
        }
    }
    printf("[==========] %u test(s) run.\n", run);
    return failed;
}

#endif
