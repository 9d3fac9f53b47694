/* The buffer for calls before the sanitizer's runtime is ready; empty in a release build. */
#include "interpose/early.h"

#ifdef HAKMEM_ASAN

#define EARLY_BYTES ((size_t)1 << 20)

static _Alignas(4096) unsigned char buffer[EARLY_BYTES];
static size_t used; /* bytes; the process has one thread then */
static bool ready;

/* The libraries' constructors, the runtime's among them, have run before a program's own. */
__attribute__((constructor(101))) static void become_ready(void) {
    ready = true;
}

bool hak_early(void) {
    return !ready;
}

bool hak_early_owns(const void *block) {
    return (uintptr_t)block - (uintptr_t)buffer < EARLY_BYTES;
}

/* The size lies in the 16 bytes before a block. */
size_t hak_early_size(const void *block) {
    return ((const size_t *)block)[-2];
}

void *hak_early_new(size_t alignment, size_t size) {
    if (alignment < HAK_MIN_ALIGN)
        alignment = HAK_MIN_ALIGN;
    size_t at = hak_round_up(used + HAK_MIN_ALIGN, alignment);
    if (alignment > 4096 || at > EARLY_BYTES || size > EARLY_BYTES - at)
        return NULL;
    used = at + size;
    size_t *block = (size_t *)(void *)(buffer + at);
    block[-2] = size;
    return block;
}

#endif
