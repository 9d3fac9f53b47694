/* The C functions that the program calls instead of the allocator's: each records and passes on.
 *
 * An allocation is recorded when the allocator has returned, a free before the allocator is called;
 * trace_format.h says why. Calls that an allocator makes of these functions itself are passed on
 * only. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "calls.h"

TRACE_API int posix_memalign(void **block, size_t alignment, size_t size);
TRACE_API void *aligned_alloc(size_t alignment, size_t size);
TRACE_API void *memalign(size_t alignment, size_t size);
TRACE_API void *valloc(size_t size);
TRACE_API void *pvalloc(size_t size);
TRACE_API void *reallocarray(void *block, size_t count, size_t size);
TRACE_API void free_sized(void *block, size_t size);
TRACE_API void free_aligned_sized(void *block, size_t alignment, size_t size);
TRACE_API void cfree(void *block);

/* ---- what is not the program's plain call ---------------------------------------------------- */

/* Whether a call, one of the first of all, is the loader's own while the allocator is looked for.
 * It is served from the early buffer, and not recorded. */
TRACE_COLD static bool is_early(void) {
    return !next.malloc && !trace_next_find();
}

/* An allocation that operator new makes by a C function. */
static void record_in_new(const void *block, size_t size, unsigned logarithm) {
    self.mode = TRACE_OUTSIDE;
    if (logarithm > 4)
        trace_record_call(TRACE_NEW_ALIGNED, block, size, true, logarithm);
    else
        trace_record_call(TRACE_NEW, block, size, true, 0);
}

TRACE_COLD static void *malloc_cold(size_t size) {
    if (is_early())
        return trace_early_new(size);
    trace_mode mode = self.mode;
    self.mode = TRACE_INSIDE;
    void *block = next.malloc(size);
    self.mode = mode;
    if (mode == TRACE_IN_NEW)
        record_in_new(block, size, 0);
    else if (trace_is_ours(mode))
        trace_record_call(TRACE_MALLOC, block, size, true, 0);
    return block;
}

/* Of the loader's or the allocator's own calls, and of blocks from the early buffer, which only the
 * loader has. */
TRACE_COLD static void free_cold(void *block) {
    if (is_early() || trace_early_owns(block))
        return;
    trace_mode mode = trace_go_in();
    if (mode == TRACE_IN_DELETE)
        trace_record_call(TRACE_DELETE, block, 0, false, 0);
    else if (trace_is_ours(mode))
        trace_record_call(TRACE_FREE, block, 0, false, 0);
    next.free(block);
    self.mode = mode;
}

TRACE_COLD static void *realloc_early(void *block, size_t size) {
    bool early = is_early();
    void *other = early ? trace_early_new(size) : malloc(size);
    if (other && block) {
        size_t old = trace_early_size(block);
        memcpy(other, block, old < size ? old : size);
    }
    return other;
}

/* ---- malloc, calloc, free -------------------------------------------------------------------- */

TRACE_API void *malloc(size_t size) {
    if (TRACE_UNLIKELY(self.mode != TRACE_OUTSIDE || !next.malloc))
        return malloc_cold(size);
    self.mode = TRACE_INSIDE;
    void *block = next.malloc(size);
    self.mode = TRACE_OUTSIDE;
    trace_record_call(TRACE_MALLOC, block, size, true, 0);
    return block;
}

TRACE_API void free(void *block) {
    if (TRACE_UNLIKELY(self.mode != TRACE_OUTSIDE || !next.malloc || trace_early_owns(block))) {
        free_cold(block);
        return;
    }
    trace_record_call(TRACE_FREE, block, 0, false, 0);
    self.mode = TRACE_INSIDE;
    next.free(block);
    self.mode = TRACE_OUTSIDE;
}

TRACE_API void *calloc(size_t count, size_t size) {
    size_t bytes;
    bool overflow = __builtin_mul_overflow(count, size, &bytes);
    if (TRACE_UNLIKELY(!next.malloc) && is_early())
        return overflow ? NULL : trace_early_new(bytes);
    trace_mode mode = trace_go_in();
    void *block = next.calloc(count, size);
    if (trace_go_out(mode))
        trace_record_call(TRACE_CALLOC, block, overflow ? UINT64_MAX : bytes, true, 0);
    return block;
}

/* ---- realloc --------------------------------------------------------------------------------- */

static void realloc_ended(const void *old, const void *block, uint64_t size) {
    if (block && block == old)
        trace_record_call(TRACE_STAYED, NULL, size, true, 0);
    else if (block)
        trace_record_call(TRACE_MOVED, block, size, true, 0);
    else if (old && size == 0)
        trace_record_call(TRACE_RELEASED, NULL, size, true, 0);
    else
        trace_record_call(TRACE_FAILED, NULL, size, true, 0);
}

TRACE_API void *realloc(void *block, size_t size) {
    if (TRACE_UNLIKELY(!next.malloc || trace_early_owns(block)) &&
        (is_early() || trace_early_owns(block)))
        return realloc_early(block, size);
    trace_mode mode = trace_go_in();
    if (trace_is_ours(mode))
        trace_record_call(TRACE_REALLOC, block, 0, false, 0);
    void *other = next.realloc(block, size);
    if (trace_go_out(mode))
        realloc_ended(block, other, size);
    return other;
}

TRACE_API void *reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    bool overflow = __builtin_mul_overflow(count, size, &bytes);
    if (TRACE_UNLIKELY(!next.malloc || trace_early_owns(block) || !next.reallocarray) &&
        (is_early() || trace_early_owns(block) || !next.reallocarray)) {
        if (!overflow)
            return realloc(block, bytes);
        errno = ENOMEM;
        return NULL;
    }
    trace_mode mode = trace_go_in();
    if (trace_is_ours(mode))
        trace_record_call(TRACE_REALLOC, block, 0, false, 0);
    void *other = next.reallocarray(block, count, size);
    if (trace_go_out(mode))
        realloc_ended(block, other, overflow ? UINT64_MAX : bytes);
    return other;
}

/* ---- with an alignment ----------------------------------------------------------------------- */

static void record_aligned(trace_mode mode, const void *block, size_t alignment, size_t size) {
    unsigned logarithm = trace_logarithm(alignment);
    if (mode == TRACE_IN_NEW)
        record_in_new(block, size, logarithm);
    else
        trace_record_call(TRACE_ALIGNED, block, size, true, logarithm);
}

#define ALIGNED(name, parameters, arguments, alignment)                                            \
    TRACE_API void *name parameters {                                                              \
        if (TRACE_UNLIKELY(!next.malloc) && is_early())                                            \
            return NULL; /* the loader has no use for it */                                        \
        if (!next.name) {                                                                          \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
        trace_mode mode = trace_go_in();                                                           \
        void *block = next.name arguments;                                                         \
        if (trace_go_out(mode))                                                                    \
            record_aligned(mode, block, alignment, size);                                          \
        return block;                                                                              \
    }

ALIGNED(aligned_alloc, (size_t alignment, size_t size), (alignment, size), alignment)
ALIGNED(memalign, (size_t alignment, size_t size), (alignment, size), alignment)
ALIGNED(valloc, (size_t size), (size), (size_t)sysconf(_SC_PAGESIZE))
ALIGNED(pvalloc, (size_t size), (size), (size_t)sysconf(_SC_PAGESIZE))

TRACE_API int posix_memalign(void **block, size_t alignment, size_t size) {
    if (TRACE_UNLIKELY(!next.malloc) && is_early())
        return ENOMEM;
    trace_mode mode = trace_go_in();
    int error = next.posix_memalign(block, alignment, size);
    if (trace_go_out(mode))
        record_aligned(mode, error ? NULL : *block, alignment, size);
    return error;
}

/* ---- free's other forms ---------------------------------------------------------------------- */

TRACE_API void cfree(void *block) {
    free(block);
}

/* Checks of the size that the allocator behind makes are not lost. */
#define FREE_SIZED(name, parameters, arguments)                                                    \
    TRACE_API void name parameters {                                                               \
        if (!next.name || trace_early_owns(block)) {                                               \
            free(block);                                                                           \
            return;                                                                                \
        }                                                                                          \
        trace_mode mode = trace_go_in();                                                           \
        if (trace_is_ours(mode))                                                                   \
            trace_record_call(TRACE_FREE, block, 0, false, 0);                                     \
        next.name arguments;                                                                       \
        (void)trace_go_out(mode);                                                                  \
    }

FREE_SIZED(free_sized, (void *block, size_t size), (block, size))
FREE_SIZED(free_aligned_sized, (void *block, size_t alignment, size_t size),
           (block, alignment, size))
