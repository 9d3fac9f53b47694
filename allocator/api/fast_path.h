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
#if defined(__x86_64__)
    /* The top stays in a register and is stored from there. To subtract in memory is an instruction
     * less, and loads it once more: the next call may have to wait for that. */
    __asm__("" : "+r"(top));
#endif
    void *block = *top;
#if defined(__x86_64__)
    __asm__("" : "+a"(block)); /* into the register that returns it: saves a move */
#endif
    if (HAK_LIKELY(block != NULL))
        hak_thread.top[class_index] = top - 1;
    return block;
}

/* A block of a class from the thread's magazine, for `size` bytes; NULL if it has none. */
HAK_INLINE void *hak_class_hit(unsigned class_index, size_t size) {
    void *block = hak_take_from_magazine(class_index);
    if (HAK_LIKELY(block != NULL)) {
        hak_unpoison(block, size);
        hak_unmark(block);
    }
    return block;
}

/* The same by the size alone; NULL also for a large block. */
HAK_INLINE void *hak_malloc_hit(size_t size) {
    hak_burn(); /* nothing, but in a test build */
    if (HAK_UNLIKELY(size > HAK_SMALL_MAX))
        return NULL;
    return hak_class_hit(hak_size_class(size), size);
}

/* 15 instructions on x86-64, the return included, when the magazine has a block: 14, and the mark.
 */
HAK_INLINE void *hak_malloc_fast(size_t size) {
    void *block = hak_malloc_hit(size);
    return HAK_LIKELY(block != NULL) ? block : hak_malloc_slow(size);
}

/* The kind of what lies at an address, and the address's place among blocks of that kind: 0 where
 * one begins, or HAK_SLAB_SIZE or more. */
HAK_INLINE void hak_look_up(const void *block, struct hak_marks *marks, uint64_t *place,
                            size_t *kind) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    /* What stands below, without the moves that compilers add to it. */
    __asm__("imulq $65536, %[block], %%rax\n\t"
            "mulq %[scale]\n\t"
            "movzbl %c[kinds](%[marks],%%rdx), %k[kind]\n\t"
            "mulq %c[step](%[marks],%[kind],8)\n\t"
            "andq %[no_place], %%rdx"
            : [kind] "=&r"(*kind), "=&d"(*place)
            : [block] "r"(block), [scale] "m"(marks->scale), [no_place] "m"(marks->no_place),
              [marks] "r"(marks), [kinds] "i"(offsetof(struct hak_marks, kinds)),
              [step] "i"(offsetof(struct hak_marks, step))
            : "rax", "cc", "memory"); /* memory: kinds and steps are read */
#else
    hak_product scaled = (hak_product)((uintptr_t)block << 16) * marks->scale;
    /* relaxed: see hak_page_map_get */
    *kind = atomic_load_explicit(&marks->kinds[(uint32_t)(scaled >> 64)], memory_order_relaxed);
    *place = (uint64_t)((hak_product)(uint64_t)scaled * marks->step[*kind] >> 64) & marks->no_place;
#endif
}

/* 18 instructions on x86-64, the return included, when the magazine has room. One comparison sends
 * four things down the slow path: where no block begins, the place adds more than any magazine has;
 * a full magazine, the magazine of a kind that has none, and that of a thread without a heap have
 * their top at their end. */
HAK_INLINE void hak_free_fast(void *block) {
    struct hak_marks *marks = hak_marks_now();
    uint64_t place;
    size_t kind;
    hak_look_up(block, marks, &place, &kind);
    void **top = hak_thread.top[kind];
#if defined(__x86_64__)
    /* One load of it: the slot's address must not wait for the place. The next malloc's load of a
     * slot may be of this one, and waits until a processor knows that it isn't. */
    __asm__("" : "+r"(top));
#endif
    uintptr_t mark = hak_mark_value(block, marks);
    if (HAK_UNLIKELY(place + (uintptr_t)top >= (uintptr_t)hak_thread.end[kind]) ||
        HAK_UNLIKELY(*hak_mark_place(block) == mark)) {
        hak_free_slow(block);
        return;
    }
    *hak_mark_place(block) = mark;
    hak_poison(block, hak_class_size[kind]);
    top[1] = block;
#if defined(__x86_64__)
    /* So the compiler forgets the top, and adds in memory: saves a move. */
    __asm__("" ::: "memory");
#endif
    hak_thread.top[kind]++;
}

#endif
