/* The C library's names for hakmem's functions. */
#include "interpose/calls.h"

#include <string.h>

#ifdef HAKMEM_WRAP
/* ThreadSanitizer's runtime allocates while it starts and ends a thread, when nothing that it
 * instruments may run. So it keeps the C library's names, and the linker (--wrap) leads the
 * program's own calls here. */
#define malloc             __wrap_malloc
#define free               __wrap_free
#define calloc             __wrap_calloc
#define realloc            __wrap_realloc
#define reallocarray       __wrap_reallocarray
#define aligned_alloc      __wrap_aligned_alloc
#define memalign           __wrap_memalign
#define posix_memalign     __wrap_posix_memalign
#define valloc             __wrap_valloc
#define pvalloc            __wrap_pvalloc
#define malloc_usable_size __wrap_malloc_usable_size
#define free_sized         __wrap_free_sized
#define free_aligned_sized __wrap_free_aligned_sized
#define cfree              __wrap_cfree
#endif

HAKMEM_API HAK_MALLOC_PATH void *malloc(size_t size);
HAKMEM_API HAK_FREE_PATH void free(void *block);
HAKMEM_API void *calloc(size_t count, size_t size);
HAKMEM_API void *realloc(void *block, size_t size);
HAKMEM_API void *reallocarray(void *block, size_t count, size_t size);
HAKMEM_API void *aligned_alloc(size_t alignment, size_t size);
HAKMEM_API void *memalign(size_t alignment, size_t size);
HAKMEM_API int posix_memalign(void **result, size_t alignment, size_t size);
HAKMEM_API void *valloc(size_t size);
HAKMEM_API void *pvalloc(size_t size);
HAKMEM_API size_t malloc_usable_size(void *block);
HAKMEM_API void free_sized(void *block, size_t size);
HAKMEM_API void free_aligned_sized(void *block, size_t alignment, size_t size);
HAKMEM_API void cfree(void *block);

void *malloc(size_t size) {
    if (hak_early())
        return hak_early_new(HAK_MIN_ALIGN, size);
    return MALLOC(size);
}

void free(void *block) {
    if (hak_early() || hak_early_owns(block))
        return;
    FREE(block);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (hak_early())
        return __builtin_mul_overflow(count, size, &bytes) ? NULL
                                                           : hak_early_new(HAK_MIN_ALIGN, bytes);
    return hak_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    if (hak_early() || hak_early_owns(block)) {
        void *moved = malloc(size);
        size_t kept = block ? hak_early_size(block) : 0;
        if (moved && block)
            memcpy(moved, block, kept < size ? kept : size);
        return moved;
    }
    return hak_realloc(block, size);
}

void *reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    if (hak_early_owns(block) && !__builtin_mul_overflow(count, size, &bytes))
        return realloc(block, bytes);
    return hak_reallocarray(block, count, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return hak_early() ? hak_early_new(alignment, size) : hak_aligned_alloc(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    return hak_early() ? hak_early_new(alignment, size) : hak_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    if (hak_early())
        *result = hak_early_new(alignment, size);
    return hak_early() ? 0 : hak_posix_memalign(result, alignment, size);
}

void *valloc(size_t size) {
    return hak_valloc(size);
}
void *pvalloc(size_t size) {
    return hak_pvalloc(size);
}

size_t malloc_usable_size(void *block) {
    return hak_early_owns(block) ? hak_early_size(block) : hak_malloc_usable_size(block);
}

void free_sized(void *block, size_t size) {
    (void)size; /* the page map knows it */
    free(block);
}

void free_aligned_sized(void *block, size_t alignment, size_t size) {
    (void)alignment, (void)size;
    free(block);
}

/* Of programs older than glibc 2.26. */
void cfree(void *block) {
    free(block);
}

#if defined(__GLIBC__) && !defined(HAKMEM_WRAP)
/* glibc's own names for its functions, which it exports, and some programs call past whatever
 * malloc is in charge. Their blocks end in free, which would not know them. (musl uses such names
 * inside, for its own.) */
#define GLIBC_NAME(result, name, parameters)                                                       \
    HAKMEM_API result __libc_##name parameters __attribute__((alias(#name)))
GLIBC_NAME(void *, malloc, (size_t size));
GLIBC_NAME(void, free, (void *block));
GLIBC_NAME(void *, calloc, (size_t count, size_t size));
GLIBC_NAME(void *, realloc, (void *block, size_t size));
GLIBC_NAME(void *, memalign, (size_t alignment, size_t size));
GLIBC_NAME(void *, valloc, (size_t size));
GLIBC_NAME(void *, pvalloc, (size_t size));
#endif
