/* The C library's allocator with one fault, which -DFAULT_NAME chooses. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* Every so many calls, from when the program has begun in earnest. */
static int now(unsigned every) {
    static atomic_uint calls;
    unsigned call = atomic_fetch_add(&calls, 1);
    return call > 5000 && call % every == 0;
}

void *malloc(size_t size) {
#ifdef FAULT_CRASH
    if (now(1000))
        *(volatile int *)16 = 1;
#endif
#ifdef FAULT_ABORT
    if (now(1000))
        abort();
#endif
#ifdef FAULT_NULL
    if (now(1000))
        return NULL;
#endif
#ifdef FAULT_TWICE
    static _Thread_local void *last;
    static _Thread_local size_t last_size;
    if (!last || last_size < size || !now(200)) { /* none after a call that must fail */
        last = __libc_malloc(size);
        last_size = size;
    }
    return last;
#endif
#ifdef FAULT_HUGE
    if (size > SIZE_MAX / 4)
        size = 16;
#endif
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    void *block = __libc_calloc(count, size);
#ifdef FAULT_CALLOC
    if (now(100) && block != NULL && count * size > 8)
        ((unsigned char *)block)[count * size / 2] = 1;
#endif
    return block;
}

void *realloc(void *old, size_t size) {
    void *block = __libc_realloc(old, size);
#ifdef FAULT_REALLOC
    if (now(100) && block != NULL && old != NULL && size != 0)
        ((unsigned char *)block)[0] ^= 1;
#endif
    return block;
}

void *aligned_alloc(size_t alignment, size_t size) {
#ifdef FAULT_ALIGNMENT
    if (alignment > 64 && now(10))
        alignment /= 2;
#endif
    return __libc_memalign(alignment, size);
}

void free(void *block) {
#ifdef FAULT_LEAK
    if (block != NULL && now(4))
        return;
#endif
#ifdef FAULT_HANG
    static atomic_bool hangs;
    if (now(1000))
        atomic_store(&hangs, 1);
    while (atomic_load(&hangs))
        pause();
#endif
#ifndef FAULT_TWICE /* where freeing a block again would be found by the C library */
    __libc_free(block);
#endif
#ifdef FAULT_ERRNO
    if (now(1000))
        errno = EINVAL;
#endif
}

#ifdef FAULT_USABLE
size_t malloc_usable_size(void *block);
size_t malloc_usable_size(void *block) {
    return block == NULL ? 0 : 24;
}
#endif
#ifdef FAULT_GENEROUS
size_t malloc_usable_size(void *block);
size_t malloc_usable_size(void *block) { /* counts what is the next block's */
    return block == NULL ? 0 : ((size_t *)block)[-1] / 16 * 16 + 32;
}
#endif
