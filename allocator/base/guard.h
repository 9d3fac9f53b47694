/* Checked blocks (HAKMEM_CHECK=1, and always in a guard build): every small block carries a trailer
 * that tells whether it is out, and how long it was asked to be.
 *
 *   out   | what the program asked for | canary 0xCA ... | state | size |
 *   home  | link | mark | 0xDF ...                       | state | size |
 *                                                          the last 16 bytes of the block
 *
 * So a free finds writes beyond the block's end, a second free, and pointers to what was never
 * handed out; handing a block out finds writes after its free, and that it is already out. */
#ifndef HAK_GUARD_H
#define HAK_GUARD_H

#include "base/config.h"

/* Bytes of a block beyond what was asked for: 0, or HAK_GUARD_BYTES if blocks are checked. Written
 * once, by hak_guard_init. */
extern HAK_HIDDEN size_t hak_guard_bytes;

/* The trailer, and room for the rest of a link and a mark. */
#define HAK_GUARD_BYTES ((size_t)24)

/* Decides, by the option, whether blocks are checked. Called once. */
void hak_guard_init(void);

HAK_INLINE bool hak_guarding(void) {
    return HAK_UNLIKELY(hak_guard_bytes != 0);
}

/* Each of these for checked blocks only. A block of a class is handed out for `size` bytes; it
 * loses its mark. */
void hak_guard_out(void *block, size_t size, unsigned class_index);

/* The program frees a block, which begins there and has no mark. */
void hak_guard_home(void *block, unsigned class_index);

/* What was asked for when a block that is out was handed out, in bytes. */
size_t hak_guard_size(const void *block, unsigned class_index);

/* The same for any block at any time: false if it is not out. */
bool hak_guard_look(const void *block, unsigned class_index, size_t *size);

/* 64 KiB begin their life as a slab: no block was out yet. */
void hak_guard_new_slab(char *base);

#endif
