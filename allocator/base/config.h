/* The allocator's constants and the few helpers that every layer uses. */
#ifndef HAK_CONFIG_H
#define HAK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAK_CACHE_LINE 64u /* bytes */

#define HAK_SLAB_SHIFT      16u
#define HAK_SLAB_SIZE       ((size_t)1 << HAK_SLAB_SHIFT) /* bytes: 64 KiB, one page-map entry */
#define HAK_SUPERSLAB_SHIFT 21u
#define HAK_SUPERSLAB_SIZE  ((size_t)1 << HAK_SUPERSLAB_SHIFT) /* bytes: 2 MiB */
#define HAK_SUPERSLAB_SLABS 32u                                /* the first one holds the header */

#define HAK_SMALL_MAX ((size_t)32768)       /* bytes: the largest block that lives in a slab */
#define HAK_SPAN_MAX  ((size_t)1024 * 1024) /* bytes: the largest block cut from a SuperSlab */
#define HAK_MIN_ALIGN ((size_t)16)          /* bytes: of every block */

/* What a page-map entry, and an index into a thread's magazines, can be. */
#define HAK_KIND_NONE  0u  /* not the start of anything of ours */
#define HAK_CLASS_MAX  61u /* 1 to 61: a slab with blocks of this size class */
#define HAK_KIND_SPAN  62u /* the first slab of a span */
#define HAK_KIND_HUGE  63u /* the 64 KiB unit in which a huge block starts */
#define HAK_KIND_COUNT 64u

#define HAK_LIKELY(x)   __builtin_expect(!!(x), 1)
#define HAK_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* For data on the fast paths: -fvisibility doesn't reach declarations, and without it they are
 * addressed through the global offset table. */
#define HAK_HIDDEN   __attribute__((visibility("hidden")))
#define HAK_NOINLINE __attribute__((noinline))
#define HAK_COLD     __attribute__((noinline, cold))
/* For the hit paths: where in a cache line they begin, which is worth up to 4%. What else is built
 * decides nothing then, and these places measured best. In front of them are so many no-ops. */
#define HAK_HIT_PATH_AT(bytes)                                                                     \
    __attribute__((aligned(HAK_CACHE_LINE), patchable_function_entry(bytes, bytes)))
#define HAK_MALLOC_PATH HAK_HIT_PATH_AT(16)
#define HAK_FREE_PATH   HAK_HIT_PATH_AT(32)
#define HAK_INLINE      static inline __attribute__((always_inline))

/* Rounds up to a multiple of a power of two; the caller makes sure that it can't overflow. */
HAK_INLINE size_t hak_round_up(size_t value, size_t alignment) {
    return (value + alignment - 1) & ~(alignment - 1);
}

HAK_INLINE bool hak_is_power_of_two(size_t value) {
    return value && !(value & (value - 1));
}

HAK_INLINE void hak_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
