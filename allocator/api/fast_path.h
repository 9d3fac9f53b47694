/* The hit paths of malloc and free, for api.c and interpose.c to make functions of.
 *
 * malloc: the size's class from a table, that class's magazine from the thread-local block, its
 * last block. free: the block's class from the page map, whether a block begins there and is not
 * free already (base/mark.h), and back onto the magazine. No atomic read-modify-write, no call, no
 * stack frame. Everything else leaves through the slow functions: a thread without a heap, an
 * empty or a full magazine, NULL, large blocks, and pointers that free() may not take. */
#ifndef HAK_FAST_PATH_H
#define HAK_FAST_PATH_H

#include "api/burn.h"
#include "base/mark.h"
#include "base/poison.h"
#include "base/size_class.h"
#include "heap/heap.h"
#include "page_map/page_map.h"

void *hak_malloc_slow(size_t size);
void hak_free_slow(void *block);

/* The last block of the thread's magazine of a class, or NULL. */
HAK_INLINE void *hak_take_from_magazine(unsigned class_index) {
    void **top = hak_thread.top[class_index];
    void *block = *top;
#if defined(__x86_64__)
    __asm__("" : "+a"(block)); /* into the register that returns it: saves a move */
#endif
    if (HAK_LIKELY(block != NULL))
        hak_thread.top[class_index] = top - 1;
    return block;
}

/* 15 instructions on x86-64, the return included, when the magazine has a block: 14, and the mark.
 */
HAK_INLINE void *hak_malloc_fast(size_t size) {
    hak_burn(); /* nothing, but in a test build */
    if (HAK_UNLIKELY(size > HAK_TABLE_MAX))
        return hak_malloc_slow(size);
    unsigned class_index = hak_size_class_small(size);
    void *block = hak_take_from_magazine(class_index);
    if (HAK_UNLIKELY(!block))
        return hak_malloc_slow(size);
    hak_unpoison(block, size);
    hak_unmark(block);
    return block;
}

/* 24 instructions on x86-64, the return included, when the magazine has room: 14, and 10 for the
 * two checks of the pointer and the mark. */
HAK_INLINE void hak_free_fast(void *block) {
    size_t unit = (uintptr_t)block >> HAK_SLAB_SHIFT;
    if (HAK_UNLIKELY(unit >= hak_page_map_limit)) {
        hak_free_slow(block);
        return;
    }
    /* relaxed: see hak_page_map_get */
    unsigned kind = atomic_load_explicit(&hak_page_map_flat[unit], memory_order_relaxed);
    if (HAK_UNLIKELY(!hak_begins_block(block, kind))) {
        hak_free_slow(block);
        return;
    }
    uint64_t mark = hak_mark_value(block, hak_marks.key[kind]);
    if (HAK_UNLIKELY(*hak_mark_place(block) == mark)) {
        hak_free_slow(block);
        return;
    }
    void **top = hak_thread.top[kind];
    if (HAK_UNLIKELY(top == hak_thread.end[kind])) {
        hak_free_slow(block);
        return;
    }
    *hak_mark_place(block) = mark;
    hak_poison(block, hak_class_size[kind]);
    top[1] = block;
    hak_thread.top[kind] = top + 1;
}

#endif
