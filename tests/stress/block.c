/* Filling and comparing blocks. */
#include "block.h"
#include "common.h"

#include <string.h>

#define PIECE   64u /* bytes compared of a page */
#define ENDS    128u
#define SAMPLES 32u

static uint64_t key_of(const struct block *block) {
    return (uint64_t)(uintptr_t)block->address * 0x9e3779b97f4a7c15u + block->size;
}

static uint64_t word_at(uint64_t key, size_t offset) {
    return (key ^ offset) * 0xff51afd7ed558ccdu;
}

/* The i-th piece of a block of `size` bytes: [from, to), from a multiple of 8. False past the last.
 */
static bool piece_of(size_t size, size_t i, size_t *from, size_t *to) {
    if (size <= BLOCK_WHOLE) {
        *from = 0, *to = size;
        return i == 0;
    }
    size_t stride = 4096;
    if (size / SAMPLES > stride)
        stride = size / SAMPLES / 4096 * 4096;
    if (i == 0) {
        *from = 0, *to = ENDS;
    } else if (i * stride + PIECE < size) {
        *from = i * stride, *to = *from + PIECE;
    } else {
        *from = (size - ENDS) & ~(size_t)7, *to = size;
        return (i - 1) * stride + PIECE < size;
    }
    return true;
}

static void fill_range(unsigned char *address, uint64_t key, size_t from, size_t to) {
    for (; from + 8 <= to; from += 8) {
        uint64_t word = word_at(key, from);
        memcpy(address + from, &word, 8);
    }
    if (from < to) {
        uint64_t word = word_at(key, from);
        memcpy(address + from, &word, to - from);
    }
}

/* The offset of the first byte that differs, or `to`. */
static size_t compare_range(const unsigned char *address, uint64_t key, size_t from, size_t to) {
    for (; from < to; from += 8) {
        uint64_t word = word_at(key, from), found = word;
        size_t length = to - from < 8 ? to - from : 8;
        memcpy(&found, address + from, length);
        if (found != word)
            return from + (size_t)__builtin_ctzll(found ^ word) / 8;
    }
    return to;
}

void block_fill(const struct block *block) {
    uint64_t key = key_of(block);
    size_t from, to;
    for (size_t i = 0; piece_of(block->size, i, &from, &to); i++)
        fill_range(block->address, key, from, to);
}

static void verify(const struct block *block, const unsigned char *address, size_t kept,
                   const char *what) {
    uint64_t key = key_of(block);
    size_t from, to;
    for (size_t i = 0; piece_of(block->size, i, &from, &to); i++) {
        if (to > kept)
            to = kept;
        if (from >= to)
            continue;
        size_t wrong = compare_range(address, key, from, to);
        if (wrong < to) {
            uint64_t word = word_at(key, wrong & ~(size_t)7);
            unsigned expected = (unsigned)(word >> wrong % 8 * 8) & 0xffu;
            fail("%s: block %p of %zu bytes has 0x%02x at byte %zu, where 0x%02x was written", what,
                 (const void *)address, block->size, address[wrong], wrong, expected);
        }
    }
}

void block_verify(const struct block *block) {
    verify(block, block->address, block->size, "contents changed");
}

void block_verify_moved(const struct block *old, const unsigned char *moved, size_t size) {
    verify(old, moved, size < old->size ? size : old->size, "realloc lost contents");
}

void block_verify_zero(const unsigned char *address, size_t size) {
    static const unsigned char zeros[PIECE];
    size_t step = size > (size_t)1 << 20 ? 4096 : PIECE;
    for (size_t at = 0; at < size; at += step) {
        size_t length = size - at < PIECE ? size - at : PIECE, wrong = at + step - 1;
        if (memcmp(address + at, zeros, length) != 0)
            for (wrong = at; !address[wrong];)
                wrong++;
        if (wrong < size && address[wrong])
            fail("calloc: block %p of %zu bytes has 0x%02x at byte %zu instead of 0",
                 (const void *)address, size, address[wrong], wrong);
    }
}
