/* The only place that makes system calls for memory. All sizes are bytes and multiples of the
 * page size; every function may be called by any thread. */
#ifndef HAK_OS_H
#define HAK_OS_H

#include "base/config.h"

/* Bytes of a page, found at start-up: 4,096, 16,384 or 65,536. */
size_t hak_os_page_size(void);

/* Address space without memory behind it (PROT_NONE), at a multiple of `alignment`; NULL when the
 * system has none. */
void *hak_os_reserve(size_t size, size_t alignment);

/* Makes a part of a reserved range readable and writable; false with errno ENOMEM. */
bool hak_os_commit(void *address, size_t size);

/* Readable and writable zero pages exactly there, or false: something else lies there, or there is
 * no memory. */
bool hak_os_map_at(void *address, size_t size);

/* Readable and writable zero pages at a multiple of `alignment`; NULL with errno ENOMEM. */
void *hak_os_map(size_t size, size_t alignment);

/* Like hak_os_map, for tables of which little is touched. Not counted against the commit limit, but
 * where overcommit is strict (vm.overcommit_memory=2): so not for more than a MiB or so. */
void *hak_os_map_sparse(size_t size);

/* Pages that read as zeros, and cost neither commit nor memory until hak_os_commit makes a part of
 * them writable. */
void *hak_os_map_zeros(size_t size);

/* Keeps the system from backing a range with huge pages: little of it is ever touched. */
void hak_os_no_huge_pages(void *address, size_t size);

/* Bytes of address space that the process may use (RLIMIT_AS); SIZE_MAX without a limit. */
size_t hak_os_address_limit(void);

/* Gives a readable and writable range back. Where the kernel refuses, the process having as many
 * mappings as it may, the pages go, and the range is unmapped as soon as the kernel lets it. */
void hak_os_unmap(void *address, size_t size);

/* The same for a range that hak_os_reserve gave, of which nothing was committed. */
void hak_os_unreserve(void *address, size_t size);

/* Bytes of address space that wait for that. */
size_t hak_os_leftover(void);

/* Grows or shrinks a mapping where it is; false when that can't be done. */
bool hak_os_resize(void *address, size_t old_size, size_t new_size);

/* Moves a mapping, resizing it, into a range that hak_os_reserve gave and that nothing was
 * committed of. On failure false; the mapping is as it was, and the reserved range is given up: the
 * system may have taken it away already, and something else be there. */
bool hak_os_move(void *address, size_t old_size, void *target, size_t new_size);

/* Makes a committed range of reserved space what it was before: no pages, no access, no commit.
 * False where the system refuses; nothing has changed then. */
bool hak_os_decommit(void *address, size_t size);

/* Gives the pages back: the range stays mapped and reads as zeros. False where the system refuses,
 * such as for locked pages: the contents are undefined then. */
bool hak_os_purge(void *address, size_t size);

/* Memory of the allocator's own, zeroed, cut from large pieces and never given back, at a
 * multiple of `alignment` (at most HAK_SLAB_SIZE); NULL with errno ENOMEM. */
void *hak_os_meta(size_t size, size_t alignment);

/* Whether an address lies in memory that is cut up so. Any thread, any time, signal handlers too.
 */
bool hak_os_is_meta(const void *address);

/* Milliseconds of a coarse monotonic clock; costs a few nanoseconds, resolution up to 10 ms. */
uint64_t hak_os_now_ms(void);

/* Around fork: hold and release this layer's locks. */
void hak_os_fork_prepare(void);
void hak_os_fork_release(void);

#endif
