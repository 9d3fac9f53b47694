/* hak_malloc and its relatives: argument checks, errno, and which layer serves. */
#include "hakmem.h"
#include "api/fast_path.h"
#include "base/diag.h"
#include "large/large.h"
#include "os/os.h"

#include <errno.h>
#include <string.h>

void *hak_malloc(size_t size) { return hak_malloc_fast(size); }
void hak_free(void *block) { hak_free_fast(block); }
const char *hak_version(void) { return HAKMEM_VERSION; }

/* ---- the slow ends ------------------------------------------------------------------------- */

static void *large_new(size_t size, size_t alignment, bool zero) {
    hak_init();
    hak_heap_tick();
    void *block = hak_large_new(size, alignment, zero, hak_heap_hint());
    if (block) hak_asan_allocated(block, size);
    return block;
}

static void *small_new(unsigned class_index) {
    void **top = hak_thread.top[class_index];
    void *block = *top;
    if (HAK_LIKELY(block != NULL))
        hak_thread.top[class_index] = top - 1;
    else
        block = hak_heap_refill(class_index);
    if (block) hak_asan_allocated(block, hak_class_size[class_index]);
    return block;
}

HAK_NOINLINE void *hak_malloc_slow(size_t size) {
    if (HAK_LIKELY(size <= HAK_SMALL_MAX)) return small_new(hak_size_class(size));
    return large_new(size, HAK_MIN_ALIGN, false);
}

#ifdef HAKMEM_ASAN
/* Blocks that the sanitizer's runtime allocated itself, before this program's first call or inside
 * its own functions, come here too, and go back to it. */
extern void __interceptor_free(void *) __attribute__((weak));
extern size_t __interceptor_malloc_usable_size(void *) __attribute__((weak));
#endif

HAK_COLD static void foreign(void *block, const char *function) {
#ifdef HAKMEM_ASAN
    if (__interceptor_free && __interceptor_malloc_usable_size && __interceptor_malloc_usable_size(block)) {
        if (function[0] == 'f') __interceptor_free(block);
        return;
    }
#endif
    hak_fatal("hakmem: %s(): invalid pointer %p: it is not a block of this allocator, or its memory "
              "was already given back (double free)\n",
              function, block);
}

HAK_NOINLINE void hak_free_slow(void *block) {
    if (!block) return;
    unsigned kind = hak_page_map_get(block);
    if (HAK_LIKELY(kind - 1 < HAK_CLASS_MAX)) {
        hak_asan_freed(block, hak_class_size[kind]);
        hak_heap_overflow(block, kind);
        return;
    }
    if (kind == HAK_KIND_NONE) {
        foreign(block, "free");
        return;
    }
    int kept = errno;
    hak_asan_freed(block, hak_large_usable(block, kind));
    hak_large_free(block, kind);
    hak_heap_tick();
    errno = kept;
}

size_t hak_malloc_usable_size(void *block) {
    if (!block) return 0;
    unsigned kind = hak_page_map_get(block);
    if (HAK_LIKELY(kind - 1 < HAK_CLASS_MAX)) return hak_class_size[kind];
    if (kind == HAK_KIND_NONE) {
#ifdef HAKMEM_ASAN
        if (__interceptor_malloc_usable_size) return __interceptor_malloc_usable_size(block);
#endif
        foreign(block, "malloc_usable_size");
        return 0;
    }
    return hak_large_usable(block, kind);
}

/* ---- zeroed and resized blocks ------------------------------------------------------------- */

void *hak_calloc(size_t count, size_t size) {
    size_t bytes;
    if (HAK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    if (bytes > HAK_SMALL_MAX) return large_new(bytes, HAK_MIN_ALIGN, true);
    void *block = hak_malloc_fast(bytes);
    if (HAK_LIKELY(block != NULL)) memset(block, 0, bytes);
    return block;
}

void *hak_realloc(void *block, size_t size) {
    if (!block) return hak_malloc(size);
    if (size == 0) {
        hak_free(block);
        return NULL;
    }
    unsigned kind = hak_page_map_get(block);
    size_t usable;
    if (HAK_LIKELY(kind - 1 < HAK_CLASS_MAX)) {
        usable = hak_class_size[kind];
        if (size <= usable && size > usable / 2) return block;
        if (size <= usable && usable <= 128) return block; /* moving would cost more than it saves */
    } else {
        usable = hak_malloc_usable_size(block);
        if (kind != HAK_KIND_NONE && size <= PTRDIFF_MAX) {
            int kept = errno;
            hak_heap_tick();
            void *resized = hak_large_resize(block, kind, size);
            errno = kept;
            if (resized) {
                hak_asan_allocated(resized, size);
                return resized;
            }
        }
    }
    void *moved = hak_malloc(size);
    if (!moved) return NULL;
    memcpy(moved, block, size < usable ? size : usable);
    hak_free(block);
    return moved;
}

void *hak_reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    if (HAK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return hak_realloc(block, bytes);
}

/* ---- aligned blocks ------------------------------------------------------------------------ */

/* `alignment` is a power of two. A block of a slab lies at a multiple of its class's size, and so
 * has that size's alignment. */
static void *aligned_new(size_t alignment, size_t size) {
    if (alignment <= HAK_MIN_ALIGN) return hak_malloc(size);
    if (size <= HAK_SMALL_MAX && alignment <= HAK_SMALL_MAX) {
        size_t rounded = hak_round_up(size ? size : 1, alignment);
        if (rounded <= HAK_SMALL_MAX) {
            unsigned class_index = hak_size_class(rounded);
            while (class_index <= HAK_CLASS_MAX && hak_class_size[class_index] % alignment) class_index++;
            if (class_index <= HAK_CLASS_MAX) return small_new(class_index);
        }
    }
    return large_new(size, alignment, false);
}

void *hak_memalign(size_t alignment, size_t size) {
    if (!hak_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return aligned_new(alignment, size);
}

void *hak_aligned_alloc(size_t alignment, size_t size) { return hak_memalign(alignment, size); }

int hak_posix_memalign(void **result, size_t alignment, size_t size) {
    if (!hak_is_power_of_two(alignment) || alignment % sizeof(void *)) return EINVAL;
    int kept = errno;
    void *block = aligned_new(alignment, size);
    errno = kept;
    if (!block) return ENOMEM;
    *result = block;
    return 0;
}

void *hak_valloc(size_t size) { return aligned_new(hak_os_page_size(), size); }

void *hak_pvalloc(size_t size) {
    size_t page = hak_os_page_size();
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return aligned_new(page, hak_round_up(size ? size : 1, page));
}
