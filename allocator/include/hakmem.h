/* hakmem's public interface: the C library's allocation functions under names of its own, and what
 * only hakmem has: statistics, options at run time, giving memory back, a walk over all blocks.
 *
 *     struct hak_stats stats;
 *     hak_stats_read(&stats, sizeof stats);
 *     printf("%llu bytes in use\n", (unsigned long long)stats.live);
 *
 * No program needs this file to be served by hakmem: linking or preloading libhakmem replaces
 * malloc, free and their relatives, C++'s operators included, by these functions. A block from
 * either name may be freed through the other.
 *
 * Every function may be called by any thread at any time, on any block, whichever thread allocated
 * it. None is async-signal-safe but those that say so. */
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

/* C23's forms of free, for who knows what the block was asked for: `size` of hak_malloc, hak_calloc
 * or hak_realloc, `alignment` and `size` of hak_aligned_alloc. As hak_free: the values are not
 * needed, and not checked. */
HAKMEM_API void hak_free_sized(void *block, size_t size);
HAKMEM_API void hak_free_aligned_sized(void *block, size_t alignment, size_t size);

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

/* Gives back to the system what can be: the calling thread's free blocks and those that wait for
 * any thread go home to their slabs, and the pages of all that is free then go, without waiting for
 * the purge delay. Free blocks that other threads keep stay with them. Returns the bytes that went
 * back. Takes a while; the next allocations find cold memory. */
HAKMEM_API size_t hak_collect(void);

/* ---- statistics ---------------------------------------------------------------------------- */

/* All are of the whole process, in bytes where nothing else is said. With HAKMEM_STATS=1 (or table,
 * or json) in the environment every block is counted, and what depends on that is exact whenever
 * no other thread is inside the allocator. Without, nothing is counted, and so nothing of it costs
 * anything: the figures that need it are 0, or what can be told without. A forked child goes on
 * from its parent's figures. */
struct hak_stats {
    /* 1 if every block is counted. */
    uint64_t counting;
    /* The program's blocks, by their usable bytes (with HAKMEM_CHECK=1, what the checks add
     * included). While counting exact, and its highest value;
     * else without one, and free blocks that other threads keep for themselves are taken for the
     * program's. */
    uint64_t live, live_peak;
    /* Blocks that were handed out and freed since the program began, or 0. A large block that was
     * resized in place counts as freed and handed out. */
    uint64_t requests, frees;
    /* What the process has in memory (VmRSS of /proc/self/status, VmHWM), everything that is not
     * the allocator's included; 0 where /proc can't be read. */
    uint64_t resident, resident_peak;
    /* The allocator's readable and writable memory, its own tables included. The system puts pages
     * behind it as they are touched. */
    uint64_t committed, committed_peak;
    /* Address space that the allocator has of the system, with or without memory behind it. */
    uint64_t mapped, mapped_peak;
    /* Free memory that is kept for reuse, most of it with pages behind it: the sum of these.
     *   threads  free blocks that threads keep for themselves; not counting, only the calling one's
     *   depot    free blocks that threads have put up for exchange
     *   slabs    free slabs whose pages were not given back yet
     *   huge     freed huge blocks */
    uint64_t cached, cached_threads, cached_depot, cached_slabs, cached_huge;
    /* Free bytes between the blocks of slabs that are in use. */
    uint64_t unused;
};

/* Fills in the first `size` bytes of *stats; pass sizeof *stats, so that a program built with
 * another version's header works too. Returns 0, or EINVAL if `stats` is NULL. Takes no lock, and
 * may be called in a signal handler. */
HAKMEM_API int hak_stats_read(struct hak_stats *stats, size_t size);

struct hak_class_stats {
    uint64_t size; /* bytes of a block; 0 where they differ */
    /* While counting, as above; else 0. */
    uint64_t requests, frees, live; /* blocks; live is what is left of requests after frees */
    uint64_t live_bytes;            /* usable bytes of the live ones */
    uint64_t requested, usable;     /* bytes that all requests asked for, and what they got: of
                                       that, 1 - requested / usable is lost inside the blocks */
    /* Always: blocks that are out of their slabs, with the program or kept for it; bytes of all
     * slabs of this class (or of all huge blocks); of these, those which are in no such block: how
     * full the slabs are is 1 - unused / slabs. */
    uint64_t blocks, slabs, unused;
};

/* The same for one kind of block. Kinds are numbered from 1 on: the size classes from small to
 * large, then blocks of whole slabs, then huge ones, which have a mapping each. Returns 0, EINVAL
 * if `stats` is NULL, or ENOENT if there is no such kind: so a loop ends after the last. */
HAKMEM_API int hak_stats_read_class(unsigned kind, struct hak_class_stats *stats, size_t size);

/* Reads one of the counters of rare events that HAKMEM_STATS=1 prints, by its name there, for
 * example "claims", "claims_failed", "drains", "drained_blocks" or "adopted": events since the
 * program began, in all threads, exact when no other thread is inside the allocator; counted
 * always. Returns 0, or ENOENT for an unknown name or NULL, and *value is left alone then. */
HAKMEM_API int hak_stats_get(const char *name, uint64_t *value);

/* Writes all statistics to a file descriptor, as a table, or with `json` as one JSON object on one
 * line. Allocates nothing; may be called in a signal handler. Returns 0, or EIO if something could
 * not be written. */
HAKMEM_API int hak_stats_print(int fd, int json);

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

/* ---- all live blocks ----------------------------------------------------------------------- */

/* What hak_walk calls for a block: its address, the bytes that may be used in it (as
 * hak_malloc_usable_size tells), and what was passed to hak_walk. Any value but 0 ends the walk.
 * It may allocate and free, the block that it is called for included. */
typedef int hak_walk_function(void *block, size_t usable_size, void *argument);

/* Calls `visit` for every block that the program has allocated and not yet freed, by whichever
 * name, in no particular order. Returns 0, or what ended the walk.
 *
 * Exact while no other thread allocates or frees: every live block is visited, once, and nothing
 * else. While others do, and for what `visit` does itself, a block that is allocated or freed
 * during the walk may be visited or not, one that is resized also twice, and one that is visited
 * may be gone before `visit` looks at it; all others are visited once all the same. Takes no lock,
 * and keeps no other thread waiting. Blocks may lie in pages that the program has protected from
 * being read, but no page may become so during the walk. Costs 10 to 100 ns for each block.
 *
 * Where address space is short, a large request that only that of freed small blocks could serve
 * fails while a walk goes on. If `visit` leaves by longjmp or an exception, or ends its thread,
 * such requests fail from then on; nothing else comes of it. */
HAKMEM_API int hak_walk(hak_walk_function *visit, void *argument);

#ifdef __cplusplus
}
#endif
#endif
