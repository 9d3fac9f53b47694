/* Keeps its blocks apart, and breaks what calloc, realloc and posix_memalign promise beyond that.
 */
#define calloc  bump_calloc
#define realloc bump_realloc
#include "bump.h"
#undef calloc
#undef realloc

void *malloc(size_t size) {
    return bump(size);
}

/* Larger requests of these are ours to spoil; the C library's own, at the start, are not 100 to
 * 200. */
static int spoiled(size_t size) {
    return size >= 100 && size <= 200;
}

void *calloc(size_t count, size_t size) {
    unsigned char *block = bump(count * size);
    if (block != NULL && spoiled(count * size))
        block[count * size - 1] = 7;
    return block;
}

void *realloc(void *old, size_t size) {
    return spoiled(size) ? bump(size) : bump_realloc(old, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    (void)alignment;
    unsigned char *found = bump(size + 64);
    *block = found == NULL ? NULL : found + ((uintptr_t)found % 32 == 0 ? 16 : 0);
    return 0;
}
