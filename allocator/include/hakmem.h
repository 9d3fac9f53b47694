/* hakmem's public interface: the C library's allocation functions under names of its own.
 *
 * Linking or preloading libhakmem also replaces malloc, free and their relatives, C++'s operators
 * included, by these functions; a block from either name may be freed through the other.
 *
 * Every function may be called by any thread at any time, on any block, whichever thread
 * allocated it. None is async-signal-safe. */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAKMEM_VERSION "0.1.0"

#if defined(__GNUC__)
#define HAKMEM_API __attribute__((visibility("default")))
#else
#define HAKMEM_API
#endif

/* Allocates `size` bytes (0 to PTRDIFF_MAX; 0 gives a unique block), aligned to 16 bytes, with
 * undefined contents. NULL with errno ENOMEM when there is no memory or size is out of range. */
HAKMEM_API void *hak_malloc(size_t size);

/* Gives a block back. NULL is allowed and does nothing. errno is left alone. A pointer that no
 * allocation returned is reported on standard error and ends the program. */
HAKMEM_API void hak_free(void *block);

/* Like hak_malloc(count * size) with all bytes zero; NULL and ENOMEM if the product overflows. */
HAKMEM_API void *hak_calloc(size_t count, size_t size);

/* Changes a block's size, keeping the contents up to the smaller of both sizes; the block may
 * move. realloc(NULL, n) is malloc(n); realloc(p, 0) frees p and returns NULL, as glibc does.
 * On failure NULL with ENOMEM, and the old block is untouched. */
HAKMEM_API void *hak_realloc(void *block, size_t size);

/* hak_realloc(block, count * size); NULL and ENOMEM, the block untouched, on overflow. */
HAKMEM_API void *hak_reallocarray(void *block, size_t count, size_t size);

/* `size` bytes at a multiple of `alignment`, a power of two (else NULL with EINVAL). */
HAKMEM_API void *hak_aligned_alloc(size_t alignment, size_t size);

/* As hak_aligned_alloc, but an alignment that is no power of two is rounded up to one. */
HAKMEM_API void *hak_memalign(size_t alignment, size_t size);

/* As above into *result; `alignment` is a power of two and a multiple of sizeof(void *).
 * Returns 0, EINVAL or ENOMEM; *result and errno are left alone on failure. */
HAKMEM_API int hak_posix_memalign(void **result, size_t alignment, size_t size);

/* Page-aligned blocks; pvalloc rounds the size up to whole pages. */
HAKMEM_API void *hak_valloc(size_t size);
HAKMEM_API void *hak_pvalloc(size_t size);

/* The bytes that may be used in a block, at least what was asked for; 0 for NULL. */
HAKMEM_API size_t hak_malloc_usable_size(void *block);

/* The library's version, as in HAKMEM_VERSION; a string that lives for ever. */
HAKMEM_API const char *hak_version(void);

/* Reads one of the counters that HAKMEM_STATS=1 prints, by its name there, for example "claims",
 * "claims_failed", "drains", "drained_blocks" or "adopted": events since the program began, in all
 * threads, exact when no other thread is inside the allocator. Returns 0, or ENOENT for an unknown
 * name, and *value is left alone then. */
HAKMEM_API int hak_stats_get(const char *name, uint64_t *value);

/* ---- options ------------------------------------------------------------------------------- */

/* Reads an option by its name in the environment, such as "HAKMEM_PURGE_DELAY"; HAKMEM_HELP=1 lists
 * them with their units and ranges. An option whose value is a word has the word's number. Returns
 * 0, ENOENT for an unknown name, or EINVAL for an option whose value is a text (or if `value` is
 * NULL); *value is left alone then. */
HAKMEM_API int hak_option_get(const char *name, long *value);

/* Changes an option while the program runs, for all threads. Those that only count at start-up
 * can't be changed: HAKMEM_PAGE_MAP, HAKMEM_MAGAZINE_MAX, HAKMEM_THP, HAKMEM_CHECK,
 * HAKMEM_CRASH_LOG, HAKMEM_STATS and its relatives, and HAKMEM_HELP. Returns 0, ENOENT for an
 * unknown name, EINVAL for a value out of range, or EPERM. */
HAKMEM_API int hak_option_set(const char *name, long value);

#ifdef __cplusplus
}
#endif
#endif
