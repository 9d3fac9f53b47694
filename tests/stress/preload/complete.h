/* What the heap of bump.h lacks to serve every call, and to refuse what it can't: to be included
 * after rename.h and one of the allocators that stand on that heap. */
#ifndef COMPLETE_H
#define COMPLETE_H

#include <errno.h>
#include <stdbool.h>

#undef malloc
#undef calloc
#undef realloc

static void *or_errno(void *block) {
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

void *malloc(size_t size) {
    return or_errno(size > bump_room ? NULL : partial_malloc(size));
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    bool fits = !__builtin_mul_overflow(count, size, &bytes) && bytes <= bump_room;
    return or_errno(fits ? partial_calloc(count, size) : NULL);
}

void *realloc(void *old, size_t size) {
    return or_errno(size > bump_room ? NULL : partial_realloc(old, size));
}

void *reallocarray(void *old, size_t count, size_t size) {
    size_t bytes;
    return or_errno(__builtin_mul_overflow(count, size, &bytes) ? NULL : realloc(old, bytes));
}

void *memalign(size_t alignment, size_t size) {
    unsigned char *block = size > bump_room ? NULL : bump(size + alignment);
    if (block == NULL)
        return or_errno(NULL);
    block += -(uintptr_t)block & (alignment - 1);
    memcpy(block - 16, &size, sizeof size); /* where the block's size is looked for */
    return block;
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    *result = memalign(alignment, size);
    return *result == NULL ? ENOMEM : 0;
}

size_t malloc_usable_size(void *block) {
    size_t size = 0;
    if (block != NULL)
        memcpy(&size, (unsigned char *)block - 16, sizeof size);
    return size;
}

#endif
