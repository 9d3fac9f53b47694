/* The keys of the marks. */
#include "base/mark.h"
#include "base/size_class.h"

#include <string.h>
#include <sys/auxv.h>

struct hak_marks hak_marks;

/* The finalizer of MurmurHash3 (A. Appleby): what the process's canaries are made of must not be
 * read out of a block. */
static uint64_t scramble(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

void hak_marks_init(void) {
    uint64_t words[2] = {(uintptr_t)&words, 0};
    const void *drawn = (const void *)getauxval(AT_RANDOM); /* 16 bytes that the system drew */
    if (drawn)
        memcpy(words, drawn, sizeof words);
    uint64_t secret = scramble(words[0] + scramble(words[1])) >> 32;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        uint32_t size = hak_class_size[c], blocks = (uint32_t)HAK_SLAB_SIZE / size;
        uint32_t reciprocal = UINT32_MAX / size + 1;
        uint32_t excess = size * reciprocal; /* modulo 2^32: what rounding up added */
        hak_marks.key[c] = secret << 32 | reciprocal;
        hak_marks.bound[c] = excess ? blocks * excess : reciprocal;
    }
}
