/* A heap that is only ever handed out, never reused: the ground on which the broken allocators of
 * the tests stand. */
#ifndef BUMP_H
#define BUMP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic(unsigned char *) bump_base;
static atomic_size_t bump_used;
static const size_t bump_room = (size_t)4 << 30;

static void *bump(size_t size) {
    unsigned char *base = atomic_load(&bump_base);
    if (base == NULL) {
        unsigned char *fresh = mmap(NULL, bump_room, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (fresh == MAP_FAILED)
            return NULL;
        if (atomic_compare_exchange_strong(&bump_base, &base, fresh))
            base = fresh;
    }
    size_t whole = 16 + ((size + 15) & ~(size_t)15);
    size_t at = atomic_fetch_add(&bump_used, whole);
    if (size > bump_room || at + whole > bump_room)
        return NULL;
    memcpy(base + at, &size, sizeof size); /* realloc wants to know it */
    return base + at + 16;
}

/* Each allocator brings a malloc of its own; the rest they share. */
void *calloc(size_t count, size_t size) {
    return bump(count * size);
}

void *realloc(void *old, size_t size) {
    void *fresh = bump(size);
    if (old != NULL && fresh != NULL) {
        size_t had;
        memcpy(&had, (unsigned char *)old - 16, sizeof had);
        memcpy(fresh, old, had < size ? had : size);
    }
    return fresh;
}

void free(void *block) {
    (void)block;
}

#endif
