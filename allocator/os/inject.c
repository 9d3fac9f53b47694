/* The failing system calls of a test build; empty in others. */
#include "os/inject.h"

#ifdef HAKMEM_INJECT
#include "base/diag.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* relaxed, all of them: set while one thread runs, and the counter's order is no one's concern */
static _Atomic uint64_t count, fail_at;
static _Atomic bool fail_on;
static _Atomic unsigned fail_calls;

void hak_inject_fail(uint64_t nth, bool on, unsigned calls) {
    /* relaxed: as told above */
    atomic_store_explicit(&fail_at, 0, memory_order_relaxed);
    atomic_store_explicit(&count, 0, memory_order_relaxed);
    atomic_store_explicit(&fail_on, on, memory_order_relaxed);
    atomic_store_explicit(&fail_calls, calls, memory_order_relaxed);
    atomic_store_explicit(&fail_at, nth, memory_order_relaxed);
}

uint64_t hak_inject_calls(void) {
    return atomic_load_explicit(&count, memory_order_relaxed); /* relaxed: as told above */
}

size_t hak_inject_page_size(void) {
    const char *text = getenv("HAKMEM_INJECT_PAGE");
    return text ? (size_t)strtoul(text, NULL, 10) : (size_t)sysconf(_SC_PAGESIZE);
}

/* Whether this call is one that fails. */
static bool fails(enum hak_inject_call call) {
    /* relaxed: as told above */
    if (!(atomic_load_explicit(&fail_calls, memory_order_relaxed) & (unsigned)call))
        return false;
    uint64_t number = 1 + atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (!at || number < at ||
        (number > at && !atomic_load_explicit(&fail_on, memory_order_relaxed)))
        return false;
    errno = ENOMEM;
    return true;
}

static void check_page(const char *function, const void *address, size_t size) {
    size_t page = hak_inject_page_size();
    if (!size || ((uintptr_t)address | size) & (page - 1))
        hak_fatal("hakmem: %s(%p, %u) doesn't fit pages of %u bytes\n", function, address,
                  (unsigned long)size, (unsigned long)page);
}

void *hak_inject_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    check_page("mmap", address, size);
    if (fails(HAK_INJECT_MMAP))
        return MAP_FAILED;
    size_t page = hak_inject_page_size();
    if (page == (size_t)sysconf(_SC_PAGESIZE) || address)
        return mmap(address, size, protection, flags, fd, offset);
    /* A kernel with such pages places mappings by them. */
    char *wide = mmap(address, size + page, protection, flags, fd, offset);
    if (wide == MAP_FAILED)
        return MAP_FAILED;
    size_t before = (size_t)(-(uintptr_t)wide & (page - 1));
    if (before)
        munmap(wide, before);
    munmap(wide + before + size, page - before);
    return wide + before;
}

int hak_inject_munmap(void *address, size_t size) {
    check_page("munmap", address, size);
    return fails(HAK_INJECT_MUNMAP) ? -1 : munmap(address, size);
}

int hak_inject_mprotect(void *address, size_t size, int protection) {
    check_page("mprotect", address, size);
    return fails(HAK_INJECT_MPROTECT) ? -1 : mprotect(address, size, protection);
}

int hak_inject_madvise(void *address, size_t size, int advice) {
    check_page("madvise", address, size);
    return fails(HAK_INJECT_MADVISE) ? -1 : madvise(address, size, advice);
}

void *hak_inject_mremap(void *address, size_t old_size, size_t new_size, int flags, void *target) {
    check_page("mremap", address, old_size);
    check_page("mremap", flags & MREMAP_FIXED ? target : NULL, new_size);
    return fails(HAK_INJECT_MREMAP) ? MAP_FAILED
                                    : mremap(address, old_size, new_size, flags, target);
}
#else
typedef int hak_nothing_injected; /* ISO C wants a declaration in every file */
#endif
