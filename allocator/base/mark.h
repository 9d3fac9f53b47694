/* The mark of a free block, and whether an address is where a block begins: what free() looks at to
 * find pointers that it may not take.
 *
 * From the moment when a block is carved from its slab until it is handed out, and again from its
 * free on, its second word holds a mark: a key of the process and the class mixed with the block's
 * address. So a second free is found however much later it comes, as long as nobody wrote to the
 * block in between. The key's upper half is drawn at random, so that a program's own data looks
 * like the mark of the very block it lies in with a chance of 2^-64; mixed with the address, a mark
 * that is copied, or left over inside a larger block, is none.
 *
 * A block begins at a multiple of its class's size from its slab's base. The key's lower half is
 * that size's reciprocal k, 2^32 / size rounded up. Times an offset, modulo 2^32, it gives i * e
 * for the i-th block, where e, below the size, is what was added by rounding; and k or more for
 * what is no multiple (D. Lemire, O. Kaser, N. Kurz, "Faster remainder by direct computation",
 * Software: Practice and Experience 49, 2019; exact here, with 16 bits of offset and 16 of size).
 * So for the n blocks of a slab it stays below n * e, and for the tail that is left behind them it
 * doesn't. Where e is 0 there is no tail, and below k will do. */
#ifndef HAK_MARK_H
#define HAK_MARK_H

#include "base/config.h"

/* For each kind the key, and the bound for an offset times its lower half; 0 for those that are no
 * size class. Written once, by hak_marks_init. */
struct hak_marks {
    uint64_t key[HAK_KIND_COUNT];
    uint32_t bound[HAK_KIND_COUNT];
};
extern HAK_HIDDEN struct hak_marks hak_marks;

/* Draws the keys. Called once. */
void hak_marks_init(void);

/* Whether there is place for a block of a kind at an address of its slab; false for a kind that is
 * no size class. */
HAK_INLINE bool hak_begins_block(const void *address, unsigned kind) {
    uint32_t offset = (uint32_t)((uintptr_t)address & (HAK_SLAB_SIZE - 1));
    return offset * (uint32_t)hak_marks.key[kind] < hak_marks.bound[kind];
}

/* Where a block's mark is, and what it is while the block is free. A plain word: whoever holds the
 * block, or is given it, may touch it. */
HAK_INLINE uint64_t *hak_mark_place(const void *block) {
    return (uint64_t *)(uintptr_t)block + 1;
}
HAK_INLINE uint64_t hak_mark_value(const void *block, uint64_t key) {
    return key ^ (uintptr_t)block;
}

/* Marks a block of a class as free, and takes the mark away. */
HAK_INLINE void hak_mark(void *block, unsigned class_index) {
    *hak_mark_place(block) = hak_mark_value(block, hak_marks.key[class_index]);
}
HAK_INLINE void hak_unmark(void *block) {
    *hak_mark_place(block) = 0;
}

/* Whether a block of a class is free. A block of another thread's may be asked about, too: the
 * answer is then that of some moment. */
#if defined(__SANITIZE_THREAD__)
__attribute__((unused, noinline, no_sanitize("thread"))) static bool
#else
HAK_INLINE bool
#endif
hak_is_marked(const void *block, unsigned class_index) {
    return *(const volatile uint64_t *)hak_mark_place(block) ==
           hak_mark_value(block, hak_marks.key[class_index]);
}

#endif
