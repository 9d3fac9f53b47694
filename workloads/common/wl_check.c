/* Patterns of --check: how they are made, compared and reported. */
#include "wl_check.h"

#include <string.h>

#include "wl_fail.h"
#include "wl_random.h"

static const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t first_word(const void *block, size_t size, uint32_t serial) {
    return wl_mix(wl_mix((uint64_t)(uintptr_t)block) ^ ((uint64_t)size << 32 | serial));
}

void wl_pattern_fill(void *block, size_t size, uint32_t serial) {
    unsigned char *bytes = block;
    uint64_t word = first_word(block, size, serial);
    size_t at = 0;
    /* memcpy: nothing says that a broken allocator's blocks are aligned. */
    for (; size - at >= sizeof word; at += sizeof word, word += step)
        memcpy(bytes + at, &word, sizeof word);
    memcpy(bytes + at, &word, size - at);
}

_Noreturn static void report(const unsigned char *bytes, size_t size, size_t at, uint64_t expected,
                             const char *reason) {
    unsigned char wanted[sizeof expected];
    memcpy(wanted, &expected, sizeof wanted);
    size_t i = 0;
    while (at + i < size - 1 && i < sizeof wanted - 1 && bytes[at + i] == wanted[i])
        i++;
    wl_fail(WL_EXIT_RUN,
            "--check found an error in the block at %p of %zu bytes: at offset %zu there is 0x%02x "
            "where 0x%02x was written; %s",
            (const void *)bytes, size, at + i, bytes[at + i], wanted[i], reason);
}

/* The first `size` bytes of the pattern that begins with `word`. */
static void verify(const unsigned char *bytes, size_t size, uint64_t word, const char *reason) {
    size_t at = 0;
    for (; size - at >= sizeof word; at += sizeof word, word += step) {
        uint64_t found;
        memcpy(&found, bytes + at, sizeof found);
        if (__builtin_expect(found != word, 0))
            report(bytes, size, at, word, reason);
    }
    if (memcmp(bytes + at, &word, size - at) != 0)
        report(bytes, size, at, word, reason);
}

void wl_pattern_verify(const void *block, size_t size, uint32_t serial) {
    verify(block, size, first_word(block, size, serial),
           "the allocator gave this memory to someone else too, or wrote into it");
}

void wl_pattern_verify_moved(const void *block, size_t size, const void *was, size_t was_size,
                             uint32_t serial) {
    const size_t both = size < was_size ? size : was_size;
    if (both > 0)
        verify(block, both, first_word(was, was_size, serial),
               "realloc did not keep it, or the allocator gave this memory to someone else too");
}
