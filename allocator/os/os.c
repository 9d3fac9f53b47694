/* mmap, mprotect, madvise, mremap, and the allocator's own memory. */
#include "os/os.h"
#include "base/counters.h"
#include "base/lock.h"
#include "base/poison.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define META_PIECE ((size_t)1 << 20) /* bytes mapped at a time for the allocator's own use */

size_t hak_os_page_size(void) {
    static _Atomic size_t known;
    /* relaxed: every thread would store the same value */
    size_t size = atomic_load_explicit(&known, memory_order_relaxed);
    if (!size) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

static void *map(size_t size, int protection, int extra) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    void *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | extra, -1, 0);
    if (p != MAP_FAILED)
        return p;
    errno = ENOMEM;
    return NULL;
}

void hak_os_unmap(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    hak_unpoison(address, size); /* somebody else's mapping may come here */
    /* It fails only where the kernel has no room to split a mapping: the range then stays. */
    if (munmap(address, size) != 0)
        hak_os_purge(address, size);
    errno = kept;
}

static void *map_aligned(size_t size, size_t alignment, int protection, int extra) {
    void *p = map(size, protection, extra);
    if (!p || !((uintptr_t)p & (alignment - 1)))
        return p;
    /* The kernel places mappings side by side: once one is aligned, those after it mostly are. */
    hak_os_unmap(p, size);
    if (size > (size_t)PTRDIFF_MAX - alignment) {
        errno = ENOMEM;
        return NULL;
    }
    char *wide = map(size + alignment, protection, extra);
    if (!wide)
        return NULL;
    size_t before = (size_t)(-(uintptr_t)wide & (alignment - 1));
    if (before)
        hak_os_unmap(wide, before);
    if (alignment - before)
        hak_os_unmap(wide + before + size, alignment - before);
    return wide + before;
}

void *hak_os_reserve(size_t size, size_t alignment) {
    return map_aligned(size, alignment, PROT_NONE, MAP_NORESERVE);
}

void hak_os_no_huge_pages(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    uintptr_t first = hak_round_up((uintptr_t)address, hak_os_page_size());
    uintptr_t end = ((uintptr_t)address + size) & ~(uintptr_t)(hak_os_page_size() - 1);
    if (end > first)
        madvise((void *)first, end - first, MADV_NOHUGEPAGE); /* fails where there are none */
    errno = kept;
}

size_t hak_os_address_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}

bool hak_os_commit(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    if (mprotect(address, size, PROT_READ | PROT_WRITE) == 0)
        return true;
    errno = ENOMEM;
    return false;
}

void *hak_os_map(size_t size, size_t alignment) {
    return map_aligned(size, alignment, PROT_READ | PROT_WRITE, 0);
}

void *hak_os_map_sparse(size_t size) {
    void *p = map(size, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    if (p && size >= HAK_SUPERSLAB_SIZE)
        hak_os_no_huge_pages(p, size);
    return p;
}

void *hak_os_map_zeros(size_t size) {
    void *p = map(size, PROT_READ, MAP_NORESERVE);
    if (p)
        hak_os_no_huge_pages(p, size);
    return p;
}

bool hak_os_resize(void *address, size_t old_size, size_t new_size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    hak_unpoison(address, old_size);
    bool done = mremap(address, old_size, new_size, 0) != MAP_FAILED;
    errno = kept;
    return done;
}

bool hak_os_move(void *address, size_t old_size, void *target, size_t new_size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    bool done =
        mremap(address, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, target) != MAP_FAILED;
    errno = kept;
    return done;
}

void hak_os_purge(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    /* Locked pages refuse it: they stay, and whoever reuses them may not take them for zeros. */
    if (madvise(address, size, MADV_DONTNEED) != 0) {
        for (size_t i = 0; i < size; i++)
            ((volatile char *)address)[i] = 0;
    }
    errno = kept;
}

static pthread_mutex_t meta_lock = PTHREAD_MUTEX_INITIALIZER;
static char *meta_next, *meta_end;

void *hak_os_meta(size_t size, size_t alignment) {
    hak_lock(&meta_lock);
    char *p = (char *)hak_round_up((uintptr_t)meta_next, alignment);
    if (!meta_next || p > meta_end || (size_t)(meta_end - p) < size) {
        size_t piece = hak_round_up(size + HAK_SLAB_SIZE, META_PIECE);
        p = hak_os_map_sparse(piece);
        if (p) {
            meta_end = p + piece;
            p = (char *)hak_round_up((uintptr_t)p, alignment);
        }
    }
    if (p)
        meta_next = p + size;
    hak_unlock(&meta_lock);
    return p;
}

uint64_t hak_os_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void hak_os_fork_prepare(void) {
    hak_lock(&meta_lock);
}
void hak_os_fork_release(void) {
    hak_unlock(&meta_lock);
}
