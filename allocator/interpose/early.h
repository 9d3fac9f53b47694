/* AddressSanitizer builds only: memory for calls that come before the sanitizer's runtime is ready.
 *
 * The runtime looks up the functions that it wraps at its own start, and the dynamic linker
 * allocates while it does so. Nothing of ours that is instrumented, or calls what is wrapped, may
 * run then: such calls are served from a static buffer, whose blocks are never reused. This file's
 * includers are compiled without instrumentation. */
#ifndef HAK_EARLY_H
#define HAK_EARLY_H

#include "base/config.h"

#ifdef HAKMEM_ASAN
/* Not ready yet. */
bool hak_early(void);
/* Zeroed memory from the buffer; NULL when it is used up. */
void *hak_early_new(size_t alignment, size_t size);
/* Whether a block is from the buffer, and its size. */
bool hak_early_owns(const void *block);
size_t hak_early_size(const void *block);
#else
HAK_INLINE bool hak_early(void) {
    return false;
}
HAK_INLINE void *hak_early_new(size_t alignment, size_t size) {
    return (void)alignment, (void)size, (void *)0;
}
HAK_INLINE bool hak_early_owns(const void *block) {
    return (void)block, false;
}
HAK_INLINE size_t hak_early_size(const void *block) {
    return (void)block, (size_t)0;
}
#endif

#endif
