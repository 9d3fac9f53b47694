/* An allocator that remembers which thread allocated a block. It counts blocks that another thread
 * frees and writes the number to the file COUNTING_OUT; with FOREIGN_TWICE=1 each thousandth of
 * them is given out twice to those who want that size. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* bump.h's free forgets the block; ours must know it. */
#define free bump_free
#include "bump.h"
#undef free

enum { WORDS = 2 }; /* before each block: its thread, its size */

static atomic_ulong next_thread, foreign;
static _Thread_local unsigned long self;
static _Atomic(void *) twice;
static atomic_int gifts;

void *malloc(size_t size) {
    if (self == 0)
        self = atomic_fetch_add(&next_thread, 1) + 1;
    void *broken = atomic_load(&twice);
    if (broken != NULL && ((size_t *)broken)[-1] == size && atomic_fetch_sub(&gifts, 1) > 0) {
        ((size_t *)broken)[-2] = self;
        return broken;
    }
    size_t *block = bump(size + WORDS * sizeof *block);
    if (block == NULL)
        return NULL;
    block[0] = self;
    block[1] = size;
    return block + WORDS;
}

void free(void *block) {
    unsigned char *base = atomic_load(&bump_base), *at = block;
    if (base == NULL || at < base || at >= base + bump_room)
        return;
    /* calloc and realloc of bump.h have no words before the block: their size cannot be ours. */
    if (((size_t *)block)[-2] == self || self == 0)
        return;
    if ((atomic_fetch_add(&foreign, 1) + 1) % 1000 == 0 && getenv("FOREIGN_TWICE") != NULL) {
        atomic_store(&twice, block);
        atomic_store(&gifts, 2);
    }
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("COUNTING_OUT");
    FILE *out = path == NULL ? NULL : fopen(path, "w");
    if (out == NULL)
        return;
    fprintf(out, "foreign %lu\n", (unsigned long)foreign);
    fclose(out);
}
