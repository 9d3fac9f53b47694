/* The guard build (HAKMEM_GUARD=1): every small block carries a trailer that tells whether it is
 * out, and how long it was asked to be.
 *
 *   out   | what the program asked for | canary 0xCA ... | state | size |
 *   home  | 0xDF ...                                     | state | size |
 *                                                          the last 16 bytes of the block
 *
 * So a free finds writes beyond the block's end, a second free, and pointers into a block; handing
 * a block out finds writes after its free, and that it is already out. Nothing in other builds. */
#ifndef HAK_GUARD_H
#define HAK_GUARD_H

#include "base/config.h"

#ifdef HAKMEM_GUARD
#define HAK_GUARD_BYTES                                                                            \
    ((size_t)24) /* beyond what was asked for: the trailer, and room for a link */

/* A block of a class is handed out for `size` bytes. */
void hak_guard_out(void *block, size_t size, unsigned class_index);

/* The program frees a block. */
void hak_guard_home(void *block, unsigned class_index);

/* What was asked for when the block was handed out, in bytes. */
size_t hak_guard_size(const void *block, unsigned class_index);

/* 64 KiB begin their life as a slab: no block was out yet. */
void hak_guard_new_slab(char *base);
#else
#define HAK_GUARD_BYTES ((size_t)0)
HAK_INLINE void hak_guard_out(void *block, size_t size, unsigned class_index) {
    (void)block, (void)size, (void)class_index;
}
HAK_INLINE void hak_guard_home(void *block, unsigned class_index) {
    (void)block, (void)class_index;
}
HAK_INLINE void hak_guard_new_slab(char *base) {
    (void)base;
}
#endif

#endif
