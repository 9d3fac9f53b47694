/* Size classes: which block size serves a request. Pure functions of two constant tables.
 *
 *   16 to 256     steps of 16        classes 1 to 16
 *   to 512        steps of 32               17 to 24
 *   to 1,024      steps of 64               25 to 32
 *   to 2,048      steps of 128              33 to 40
 *   to 32,768     four a doubling           41 to 56
 *
 * Eight classes a doubling where most programs have most of their bytes: half the internal waste
 * of four, for the price of a few more partly used slabs. */
#ifndef HAK_SIZE_CLASS_H
#define HAK_SIZE_CLASS_H

#include "base/config.h"

#define HAK_SIZE_CLASS_TABLE 128u /* entries of one byte: two cache lines */
/* The largest request, in bytes, that the table answers. */
#define HAK_TABLE_MAX ((HAK_SIZE_CLASS_TABLE - 1) * HAK_MIN_ALIGN)

extern HAK_HIDDEN const uint8_t hak_size_class_table[HAK_SIZE_CLASS_TABLE];

/* Bytes of a block of each class, 1 to HAK_CLASS_MAX; 0 for class 0. */
extern HAK_HIDDEN const uint16_t hak_class_size[HAK_CLASS_MAX + 1];

/* The class of a request of at most HAK_TABLE_MAX bytes. */
HAK_INLINE unsigned hak_size_class_small(size_t size) {
    return hak_size_class_table[(size + HAK_MIN_ALIGN - 1) / HAK_MIN_ALIGN];
}

/* The class of a request of at most HAK_SMALL_MAX bytes. */
HAK_INLINE unsigned hak_size_class(size_t size) {
    if (size <= HAK_TABLE_MAX)
        return hak_size_class_small(size);
    unsigned doubling = 63u - (unsigned)__builtin_clzll((unsigned long long)(size - 1));
    if (doubling < 11)
        return 40; /* between the table's end and 2,048 */
    unsigned quarter = (unsigned)((size - 1) >> (doubling - 2)) & 3u;
    return 41 + (doubling - 11) * 4 + quarter;
}

#endif
