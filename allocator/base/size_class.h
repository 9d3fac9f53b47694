/* Size classes: which block size serves a request. Pure functions of constant tables.
 *
 *   16 to 256        steps of 16              classes 1 to 16
 *   to 512           steps of 32                     17 to 24
 *   to 1,024         steps of 64                     25 to 32
 *   1,040                                            33
 *   to 2,048         steps of 128                    34 to 41
 *   to 32,768        what fills a slab               42 to 61
 *
 * Eight classes a doubling where most programs have most of their bytes. Beyond that a class is a
 * whole fraction of a slab, rounded down to a cache line where that costs little, so that no tail
 * is lost: 31, 27, 24, 21, 18 blocks a slab, then 16 and every number below but 17. 1,040 and 4,368
 * are for pages and powers of two with a header before them, as databases have them by the
 * thousand. */
#ifndef HAK_SIZE_CLASS_H
#define HAK_SIZE_CLASS_H

#include "base/config.h"

/* One byte for every 16 bytes of request, 0 included: of the 2 KiB, a program needs in its caches
 * what answers the sizes that it asks for, one line for those up to 1,008 bytes. */
#define HAK_SIZE_CLASS_TABLE (HAK_SMALL_MAX / HAK_MIN_ALIGN + 1)
extern HAK_HIDDEN const uint8_t hak_size_class_table[HAK_SIZE_CLASS_TABLE];

/* Bytes of a block of each class, 1 to HAK_CLASS_MAX; 0 for class 0. All are multiples of 16. */
extern HAK_HIDDEN const uint16_t hak_class_size[HAK_CLASS_MAX + 1];

/* The class of a request of at most HAK_SMALL_MAX bytes. */
HAK_INLINE unsigned hak_size_class(size_t size) {
    return hak_size_class_table[(size + HAK_MIN_ALIGN - 1) / HAK_MIN_ALIGN];
}

/* Alignments that blocks of slabs have: 16, 32 and so on to HAK_SMALL_MAX. Of each, bit c is set
 * for a class c of whose size it is a divisor. */
#define HAK_ALIGNMENTS 12u
extern HAK_HIDDEN const uint64_t hak_class_aligned[HAK_ALIGNMENTS];

/* The class of a request of at most HAK_SMALL_MAX bytes at a multiple of `alignment`, a power of
 * two from HAK_MIN_ALIGN to HAK_SMALL_MAX. A block of a slab lies at a multiple of its class's
 * size, and so has that size's alignment. */
HAK_INLINE unsigned hak_size_class_aligned(size_t alignment, size_t size) {
    uint64_t classes = hak_class_aligned[__builtin_ctzll(alignment / HAK_MIN_ALIGN)];
    /* never none: the last class's size is a multiple of all */
    return (unsigned)__builtin_ctzll(classes & ~(uint64_t)0 << hak_size_class(size));
}

#endif
