/* The mark of a free block, and whether an address is where a block begins: what free() looks at to
 * find pointers that it may not take.
 *
 * From the moment when a block is carved from its slab until it is handed out, and again from its
 * free on, its second word holds the mark. So a second free is found however much later it comes,
 * as long as nobody wrote to the block in between. The mark is the address of the table below: a
 * program never comes by it, for it is taken away before a block is handed out, and memory that
 * becomes something else, a block of another class or a span, is rid of the marks of its former
 * life (hak_superslab_wipe_marks). So nothing that a program may hold, copy or leave uninitialised
 * has it.
 *
 * A block begins at a multiple of its class's size from its slab's base: at a *place*, the offset
 * times 2^16, of i * 2^16 * size, for i below n, the blocks of a slab. A class's step k is such
 * that place * k, modulo 2^64, is below 2^47 for these and for no other multiple of 2^16 (as in
 * D. Lemire, O. Kaser, N. Kurz, "Faster remainder by direct computation", Software: Practice and
 * Experience 49, 2019: k is about 2^48 / size, and what it is more is chosen so that the product
 * passes 2^47 just where the tail begins that is left behind the n-th block). The low 16 bits of a
 * place are the address's bits from 48 up, which are 0 in all addresses that a process can have;
 * the upper bits of k are chosen so that a block's address with any other bits there is none
 * (tests/c/test_mark.c tries them all). */
#ifndef HAK_MARK_H
#define HAK_MARK_H

#include "base/config.h"

#include <stdatomic.h>

/* The place of an address whose upper bits are all 0, and what its product with the step of its
 * class may not have. */
#define HAK_PLACE_SHIFT 16u
#define HAK_NO_PLACE    (~(uint64_t)0 << 47)

/* What free() reads, beside the thread's magazines. Written once, by hak_init. */
struct hak_marks {
    uint64_t scale;                /* 2^16: an address times this is unit, offset and 16 zeros; 0
                                      while the flat page map isn't there: then everything is of
                                      unit 0, where there is nothing, and takes the slow path */
    uint64_t no_place;             /* HAK_NO_PLACE */
    uint64_t step[HAK_KIND_COUNT]; /* 0 for kinds that are no size class */
    _Atomic uint8_t kinds[];       /* the flat page map: one for each unit of 48 address bits; or
                                      one, HAK_KIND_NONE */
};
extern HAK_HIDDEN struct hak_marks *_Atomic hak_marks;

/* Writes steps and bound; `scale` is 0 as yet. */
void hak_marks_fill(struct hak_marks *marks);

/* Makes `marks`, of which the kinds can be read for every unit, the table. Called once, before the
 * first block is carved. */
void hak_marks_use(struct hak_marks *marks);

/* acquire: pairs with the release in hak_marks_use, for a thread that frees NULL while another one
 * makes the first call. */
HAK_INLINE struct hak_marks *hak_marks_now(void) {
    return atomic_load_explicit(&hak_marks, memory_order_acquire);
}

/* Whether there is place for a block of a kind at an address of its slab; false for a kind that is
 * no size class. */
HAK_INLINE bool hak_begins_block(const void *address, unsigned kind) {
    uint64_t place = (uint64_t)((uintptr_t)address & (HAK_SLAB_SIZE - 1)) << HAK_PLACE_SHIFT;
    return kind - 1 < HAK_CLASS_MAX && !(place * hak_marks_now()->step[kind] & HAK_NO_PLACE);
}

/* Where a block's mark is. A plain word: whoever holds the block, or is given it, may touch it. */
HAK_INLINE uintptr_t *hak_mark_place(const void *block) {
    return (uintptr_t *)(uintptr_t)block + 1;
}

/* Marks a block as free, and takes the mark away. */
HAK_INLINE void hak_mark(void *block) {
    *hak_mark_place(block) = (uintptr_t)hak_marks_now();
}
HAK_INLINE void hak_unmark(void *block) {
    *hak_mark_place(block) = 0;
}

/* Whether a block is free. A block of another thread's may be asked about, too: the answer is then
 * that of some moment. */
#if defined(__SANITIZE_THREAD__)
__attribute__((unused, noinline, no_sanitize("thread"))) static bool
#else
HAK_INLINE bool
#endif
hak_is_marked(const void *block) {
    return *(const volatile uintptr_t *)hak_mark_place(block) == (uintptr_t)hak_marks_now();
}

#endif
