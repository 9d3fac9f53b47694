/* What every C test includes: cmocka, or what stands in for it where there is none (CHECK_PLAIN=1),
 * and a choice of cases by name on the command line. */
#ifndef HAK_CHECK_H
#define HAK_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef CHECK_PLAIN
#include "check_plain.h"
#else
#include <cmocka.h>
#endif

/* Runs all cases, or those whose name matches the pattern given as the only argument. */
#define CHECK_MAIN(tests)                                                                          \
    int main(int argc, char **argv) {                                                              \
        if (argc > 1)                                                                              \
            cmocka_set_test_filter(argv[1]);                                                       \
        return cmocka_run_group_tests((tests), NULL, NULL) ? 1 : 0;                                \
    }

/* Contents that depend on the block's address and size. */
static inline void fill_block(void *block, size_t size) {
    unsigned char *bytes = block;
    unsigned char value = (unsigned char)((uintptr_t)block >> 4 ^ size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value + i);
}

static inline void verify_block(const void *block, size_t size) {
    const unsigned char *bytes = block;
    unsigned char value = (unsigned char)((uintptr_t)block >> 4 ^ size);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(value + i))
            fail_msg("block %p of %zu bytes changed at byte %zu", block, size, i);
}

/* A small generator (Marsaglia, "Xorshift RNGs", 2003) so that a seed repeats a test. */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

#endif
