/* C++'s operator new and delete under their mangled names, in C.
 *
 * A failing new calls the program's new-handler until it gives up, then throws std::bad_alloc;
 * both live in the C++ runtime, which a program that calls these operators has. The nothrow forms
 * return NULL instead. Sized deletes ignore the size: the page map knows it.
 *
 * hak_ has the C names for all of them: new is hak_malloc or hak_aligned_alloc, delete hak_free. */
#include "base/diag.h"
#include "interpose/calls.h"

#ifndef HAKMEM_WRAP /* else the sanitizer's runtime has them: see interpose.c */

typedef void (*new_handler)(void);
extern new_handler get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

HAK_COLD static void *new_failed(size_t alignment, size_t size, bool may_throw) {
    for (;;) {
        new_handler handler = get_new_handler ? get_new_handler() : NULL;
        if (!handler)
            break;
        handler(); /* makes memory available, throws, or ends the program */
        void *block = hak_aligned_alloc(alignment, size);
        if (block)
            return block;
    }
    if (!may_throw)
        return NULL;
    if (throw_bad_alloc)
        throw_bad_alloc();
    hak_fatal("hakmem: operator new: no memory for %u bytes, and no C++ runtime to throw "
              "std::bad_alloc\n",
              (unsigned long)size);
}

HAK_INLINE void *new_plain(size_t size, bool may_throw) {
    void *block = hak_early() ? hak_early_new(HAK_MIN_ALIGN, size) : MALLOC(size);
    return HAK_LIKELY(block != NULL) ? block : new_failed(HAK_MIN_ALIGN, size, may_throw);
}

static void *new_aligned(size_t size, size_t alignment, bool may_throw) {
    void *block = hak_early() ? hak_early_new(alignment, size) : hak_aligned_alloc(alignment, size);
    return HAK_LIKELY(block != NULL) ? block : new_failed(alignment, size, may_throw);
}

HAK_INLINE void delete_block(void *block) {
    if (!hak_early_owns(block))
        FREE(block);
}

/* Mangled names: Zn new, Zd delete, w and a plain and array, m size_t, Pv void *,
 * St11align_val_t the alignment, RKSt9nothrow_t the nothrow tag. */
#define NEW(name)    HAKMEM_API void *_Zn##name
#define DELETE(name) HAKMEM_API void _Zd##name
#define DEFINE_NEW(kind)                                                                           \
    NEW(kind##m)(size_t size);                                                                     \
    NEW(kind##m)(size_t size) {                                                                    \
        return new_plain(size, true);                                                              \
    }                                                                                              \
    NEW(kind##mRKSt9nothrow_t)(size_t size, const void *tag);                                      \
    NEW(kind##mRKSt9nothrow_t)(size_t size, const void *tag) {                                     \
        (void)tag;                                                                                 \
        return new_plain(size, false);                                                             \
    }                                                                                              \
    NEW(kind##mSt11align_val_t)(size_t size, size_t alignment);                                    \
    NEW(kind##mSt11align_val_t)(size_t size, size_t alignment) {                                   \
        return new_aligned(size, alignment, true);                                                 \
    }                                                                                              \
    NEW(kind##mSt11align_val_tRKSt9nothrow_t)(size_t size, size_t alignment, const void *tag);     \
    NEW(kind##mSt11align_val_tRKSt9nothrow_t)(size_t size, size_t alignment, const void *tag) {    \
        (void)tag;                                                                                 \
        return new_aligned(size, alignment, false);                                                \
    }

#define DEFINE_DELETE(kind)                                                                        \
    DELETE(kind##Pv)(void *block);                                                                 \
    DELETE(kind##Pv)(void *block) {                                                                \
        delete_block(block);                                                                       \
    }                                                                                              \
    DELETE(kind##Pvm)(void *block, size_t size);                                                   \
    DELETE(kind##Pvm)(void *block, size_t size) {                                                  \
        (void)size;                                                                                \
        delete_block(block);                                                                       \
    }                                                                                              \
    DELETE(kind##PvRKSt9nothrow_t)(void *block, const void *tag);                                  \
    DELETE(kind##PvRKSt9nothrow_t)(void *block, const void *tag) {                                 \
        (void)tag;                                                                                 \
        delete_block(block);                                                                       \
    }                                                                                              \
    DELETE(kind##PvSt11align_val_t)(void *block, size_t alignment);                                \
    DELETE(kind##PvSt11align_val_t)(void *block, size_t alignment) {                               \
        (void)alignment;                                                                           \
        delete_block(block);                                                                       \
    }                                                                                              \
    DELETE(kind##PvmSt11align_val_t)(void *block, size_t size, size_t alignment);                  \
    DELETE(kind##PvmSt11align_val_t)(void *block, size_t size, size_t alignment) {                 \
        (void)size, (void)alignment;                                                               \
        delete_block(block);                                                                       \
    }                                                                                              \
    DELETE(kind##PvSt11align_val_tRKSt9nothrow_t)(void *block, size_t alignment, const void *tag); \
    DELETE(kind##PvSt11align_val_tRKSt9nothrow_t)                                                  \
    (void *block, size_t alignment, const void *tag) {                                             \
        (void)alignment, (void)tag;                                                                \
        delete_block(block);                                                                       \
    }

DEFINE_NEW(w)
DEFINE_NEW(a)
DEFINE_DELETE(l)
DEFINE_DELETE(a)

#endif
