/* The mark of a free block, and whether an address is where a block begins: what free() looks at to
 * find pointers that it may not take.
 *
 * From the moment when a block is carved from its slab until it is handed out, and again from its
 * free on, its second word holds a mark. So a second free is found however much later it comes, as
 * long as nobody wrote to the block in between. The mark is the block's address plus that of the
 * table below, which no program knows: a sum that points to nothing, so that data of its own looks
 * like the mark of the very block it lies in only by a chance that hardly exists; and a mark that
 * is copied, or left over inside a larger block, is none.
 *
 * A block begins at a multiple of its class's size from its slab's base. The class's step is 2^64 /
 * size, and a little more: a multiple i of the size times the step is i * 2^64 + i * e, and the
 * fraction, what lies below 2^64, is small for multiples and 2^64 / size or more for all else (D.
 * Lemire, O. Kaser, N. Kurz, "Faster remainder by direct computation", Software: Practice and
 * Experience 49, 2019). How much more the step is makes the fraction pass 2^32 just behind the last
 * block: so what is left behind it in the slab is none, either. */
#ifndef HAK_MARK_H
#define HAK_MARK_H

#include "base/config.h"

#include <stdatomic.h>

/* What free() and realloc() read, beside the thread's magazines. Written once, by hak_init. */
struct hak_marks {
    uint64_t scale;                /* 2^32: an address without its upper 16 bits, times 2^16, times
                                      this is its unit, and the offset in 16 bits below; 0 while
                                      the flat page map isn't there: then everything is of unit 0,
                                      where there is nothing, and takes the slow path */
    uint64_t no_place;             /* HAK_NO_PLACE */
    uint64_t step[HAK_KIND_COUNT]; /* 0 for kinds that are no size class */
    _Atomic uint8_t kinds[];       /* the flat page map: one for each unit of 48 address bits; or
                                      one, HAK_KIND_NONE */
};
extern HAK_HIDDEN struct hak_marks *_Atomic hak_marks;

#define HAK_SCALE       ((uint64_t)1 << 32)
#define HAK_PLACE_SHIFT 48u
/* In the upper 64 bits of (offset * 2^48) * step: the fraction but for its lower 32 bits. */
#define HAK_NO_PLACE ((((uint64_t)1 << 48) - 1) & ~(uint64_t)UINT16_MAX)

__extension__ typedef unsigned __int128 hak_product;

/* Writes steps and mask; `scale` is left 0. */
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
    const struct hak_marks *marks = hak_marks_now();
    uint64_t offset = (uint64_t)(uintptr_t)address << HAK_PLACE_SHIFT;
    return kind - 1 < HAK_CLASS_MAX &&
           !((uint64_t)((hak_product)offset * marks->step[kind] >> 64) & HAK_NO_PLACE);
}

/* Where a block's mark is, and what it is while the block is free. A plain word: whoever holds the
 * block, or is given it, may touch it. */
HAK_INLINE uintptr_t *hak_mark_place(const void *block) {
    return (uintptr_t *)(uintptr_t)block + 1;
}
HAK_INLINE uintptr_t hak_mark_value(const void *block, const struct hak_marks *marks) {
    return (uintptr_t)marks + (uintptr_t)block;
}

/* Marks a block as free (for many, with hak_marks_now() looked up once), and takes the mark away.
 */
HAK_INLINE void hak_mark_by(void *block, const struct hak_marks *marks) {
    *hak_mark_place(block) = hak_mark_value(block, marks);
}
HAK_INLINE void hak_mark(void *block) {
    hak_mark_by(block, hak_marks_now());
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
    return *(const volatile uintptr_t *)hak_mark_place(block) ==
           hak_mark_value(block, hak_marks_now());
}

#endif
