/* The table of steps. */
#include "base/mark.h"
#include "base/size_class.h"

/* Until there is the flat map: with one kind, that of unit 0. */
static _Alignas(struct hak_marks) unsigned char without_map[sizeof(struct hak_marks) + 8];

struct hak_marks *_Atomic hak_marks = (struct hak_marks *)(void *)without_map;

void hak_marks_fill(struct hak_marks *marks) {
    marks->no_place = HAK_NO_PLACE;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        uint64_t size = hak_class_size[c], blocks = HAK_SLAB_SIZE / size;
        uint64_t step = UINT64_MAX / size + 1;
        uint64_t excess = size * step; /* modulo 2^64: what rounding up added, below the size */
        /* Behind the last block: its excess is to reach 2^32, and that of the last one not to.
         * There are 16 steps or more that do it. */
        uint64_t least = (((uint64_t)1 << 32) + blocks - 1) / blocks;
        if (HAK_SLAB_SIZE % size && excess < least)
            step += (least - excess + size - 1) / size;
        marks->step[c] = step;
    }
}

void hak_marks_use(struct hak_marks *marks) {
    /* release: pairs with the acquire in hak_marks_now */
    atomic_store_explicit(&hak_marks, marks, memory_order_release);
}
