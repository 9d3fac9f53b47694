/* mmap, mprotect, madvise, mremap, and the allocator's own memory. */
#include "os/os.h"
#include "os/inject.h"
#include "base/counters.h"
#include "base/lock.h"
#include "base/poison.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#ifdef HAKMEM_INJECT
#define mmap     hak_inject_mmap
#define munmap   hak_inject_munmap
#define mprotect hak_inject_mprotect
#define madvise  hak_inject_madvise
#define mremap   hak_inject_mremap
#endif

#define META_PIECE ((size_t)1 << 20) /* bytes mapped at a time for the allocator's own use */

size_t hak_os_page_size(void) {
    static _Atomic size_t known;
    /* relaxed: every thread would store the same value */
    size_t size = atomic_load_explicit(&known, memory_order_relaxed);
    if (!size) {
#ifdef HAKMEM_INJECT
        size = hak_inject_page_size();
#else
        size = (size_t)sysconf(_SC_PAGESIZE);
#endif
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    return size;
}

static void *map(size_t size, int protection, int extra) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    void *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | extra, -1, 0);
    if (p == MAP_FAILED) {
        errno = ENOMEM;
        return NULL;
    }
    hak_gauge_grow(HAK_GAUGE_MAPPED, size);
    if (protection & PROT_WRITE)
        hak_gauge_grow(HAK_GAUGE_COMMITTED, size);
    return p;
}

/* ---- ranges that the kernel would not take back ---------------------------------------------- */

/* Unmapping in the middle of a mapping makes two of it, which fails where a process has as many as
 * it may (vm.max_map_count). Such ranges, emptied, are kept here until the kernel takes them.
 * The allocator's only lock on the way of an allocation guards them; nobody takes it while there
 * are none, and who would only offer them again does without where it is taken. */
#define JOIN_MOST  64u /* ranges looked at for one that the new one continues */
#define OFFER_MOST 64u /* ranges that one call offers again */
struct leftover {
    struct leftover *next;
    char *address;
    size_t size;
};
static pthread_mutex_t leftover_lock = PTHREAD_MUTEX_INITIALIZER;
/* A queue, and those of no use now; under the lock. */
static struct leftover *leftovers, **leftovers_end = &leftovers, *unused_leftovers;
static _Atomic size_t leftover_bytes; /* written under the lock */

size_t hak_os_leftover(void) {
    return atomic_load_explicit(&leftover_bytes, memory_order_relaxed); /* relaxed: a hint */
}

static void add_leftover_bytes(size_t bytes) {
    atomic_fetch_add_explicit(&leftover_bytes, bytes, memory_order_relaxed); /* relaxed: a hint */
}

static bool unmap(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    if (munmap(address, size) != 0)
        return false;
    hak_gauge_shrink(HAK_GAUGE_MAPPED, size);
    return true;
}

/* True if the range is now part of one that was there already. Under the lock. */
static bool join(char *address, size_t size) {
    unsigned most = JOIN_MOST;
    for (struct leftover *l = leftovers; l && most; l = l->next, most--) {
        if (l->address + l->size == address) {
            l->size += size;
            return true;
        }
        if (address + size == l->address) {
            l->address = address;
            l->size += size;
            return true;
        }
    }
    return false;
}

static void keep(char *address, size_t size) {
    hak_lock(&leftover_lock);
    bool joined = join(address, size);
    struct leftover *l = NULL;
    if (!joined && (l = unused_leftovers))
        unused_leftovers = l->next;
    hak_unlock(&leftover_lock);
    if (!joined && !l && !(l = hak_os_meta(sizeof *l, _Alignof(struct leftover))))
        return; /* lost: there is neither a mapping nor a few bytes to be had */
    hak_lock(&leftover_lock);
    if (l) {
        *l = (struct leftover){.next = leftovers, .address = address, .size = size};
        if (!leftovers)
            leftovers_end = &l->next;
        leftovers = l;
    }
    add_leftover_bytes(size);
    hak_unlock(&leftover_lock);
}

/* Offers the kernel up to `most` of them again, those it refuses going to the end; true if it took
 * one. */
static bool unmap_leftovers(unsigned most) {
    if (HAK_LIKELY(!hak_os_leftover()) || !hak_try_lock(&leftover_lock))
        return false;
    bool some = false;
    struct leftover *refused = NULL, **refused_end = &refused;
    for (struct leftover *l; (l = leftovers) && most; most--) {
        leftovers = l->next;
        if (!unmap(l->address, l->size)) {
            *refused_end = l;
            refused_end = &l->next;
            continue;
        }
        some = true;
        add_leftover_bytes(-l->size);
        l->next = unused_leftovers;
        unused_leftovers = l;
    }
    *refused_end = NULL;
    if (!leftovers)
        leftovers_end = &leftovers;
    if (refused) {
        *leftovers_end = refused;
        leftovers_end = refused_end;
    }
    hak_unlock(&leftover_lock);
    return some;
}

void hak_os_unreserve(void *address, size_t size) {
    int kept = errno;
    hak_unpoison(address, size); /* somebody else's mapping may come here */
    if (HAK_LIKELY(unmap(address, size))) {
        unmap_leftovers(4);
    } else {
        hak_os_purge(address, size);
        keep(address, size);
    }
    errno = kept;
}

void hak_os_unmap(void *address, size_t size) {
    hak_gauge_shrink(HAK_GAUGE_COMMITTED, size);
    hak_os_unreserve(address, size);
}

/* ---- mapping --------------------------------------------------------------------------------- */

static void give_back(void *address, size_t size, int protection) {
    if (protection & PROT_WRITE)
        hak_os_unmap(address, size);
    else
        hak_os_unreserve(address, size);
}

static void *map_aligned(size_t size, size_t alignment, int protection, int extra) {
    void *p = map(size, protection, extra);
    if (HAK_UNLIKELY(!p) && unmap_leftovers(OFFER_MOST))
        p = map(size, protection, extra);
    if (!p || !((uintptr_t)p & (alignment - 1)))
        return p;
    /* The kernel places mappings side by side: once one is aligned, those after it mostly are. */
    give_back(p, size, protection);
    if (size > (size_t)PTRDIFF_MAX - alignment) {
        errno = ENOMEM;
        return NULL;
    }
    char *wide = map(size + alignment, protection, extra);
    if (!wide)
        return NULL;
    size_t before = (size_t)(-(uintptr_t)wide & (alignment - 1));
    if (before)
        give_back(wide, before, protection);
    if (alignment - before)
        give_back(wide + before + size, alignment - before, protection);
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
    if (mprotect(address, size, PROT_READ | PROT_WRITE) != 0) {
        errno = ENOMEM;
        return false;
    }
    hak_gauge_grow(HAK_GAUGE_COMMITTED, size);
    return true;
}

void *hak_os_map(size_t size, size_t alignment) {
    return map_aligned(size, alignment, PROT_READ | PROT_WRITE, 0);
}

bool hak_os_map_at(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    void *p = mmap(address, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    errno = kept;
    if (p == MAP_FAILED)
        return false;
    hak_gauge_grow(HAK_GAUGE_MAPPED, size);
    hak_gauge_grow(HAK_GAUGE_COMMITTED, size);
    if (p == address)
        return true;
    hak_os_unmap(p, size); /* a kernel older than 4.17 takes the address for a wish */
    return false;
}

void *hak_os_map_sparse(size_t size) {
    void *p = map(size, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    if (p)
        hak_os_no_huge_pages(p, size); /* neighbours may become one mapping */
    return p;
}

void *hak_os_map_zeros(size_t size) {
    void *p = map(size, PROT_READ, MAP_NORESERVE);
    if (p)
        hak_os_no_huge_pages(p, size);
    return p;
}

static void resized(enum hak_gauge gauge, size_t old_size, size_t new_size) {
    if (new_size > old_size)
        hak_gauge_grow(gauge, new_size - old_size);
    else
        hak_gauge_shrink(gauge, old_size - new_size);
}

/* The kernel's lock orders what threads did in a range before one gave it up and after another one
 * got it; ThreadSanitizer, which sees mmap and munmap, must be told so of mremap. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char remapped;
static void before_mremap(void) {
    __tsan_release(&remapped);
}
static void after_mremap(void) {
    __tsan_acquire(&remapped);
}
#else
static void before_mremap(void) {}
static void after_mremap(void) {}
#endif

bool hak_os_resize(void *address, size_t old_size, size_t new_size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    hak_unpoison(address, old_size);
    before_mremap();
    bool done = mremap(address, old_size, new_size, 0, NULL) != MAP_FAILED;
    after_mremap();
    if (done) {
        resized(HAK_GAUGE_MAPPED, old_size, new_size);
        resized(HAK_GAUGE_COMMITTED, old_size, new_size);
    }
    errno = kept;
    return done;
}

/* Where a move fails, the kernel may or may not have unmapped the target, and if it has, another
 * thread may have mapped something there. So the target's first page is signed before; reading it
 * through the kernel, which does not end in a signal, tells whether it still is the target. */
struct signature {
    uint64_t words[4];
};

static bool sign(char *target, struct signature *signature) {
    static _Atomic uint64_t moves;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *signature = (struct signature){{(uintptr_t)target ^ 0x68616b6d656d6f76u, (uint64_t)now.tv_nsec,
                                     (uintptr_t)signature ^ (uint64_t)now.tv_sec,
                                     /* relaxed: it only has to be another each time */
                                     atomic_fetch_add_explicit(&moves, 1, memory_order_relaxed)}};
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    if (mprotect(target, hak_os_page_size(), PROT_READ | PROT_WRITE) != 0)
        return false;
    memcpy(target, signature, sizeof *signature);
    return true;
}

static bool is_signed(char *target, const struct signature *signature) {
    struct signature found;
    struct iovec here = {&found, sizeof found}, there = {target, sizeof found};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)sizeof found &&
           memcmp(&found, signature, sizeof found) == 0;
}

bool hak_os_move(void *address, size_t old_size, void *target, size_t new_size) {
    int kept = errno;
    struct signature signature;
    bool done = false, is_ours = !sign(target, &signature);
    if (!is_ours) {
        hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
        hak_unpoison(address, old_size); /* as in hak_os_unreserve */
        before_mremap();
        done = mremap(address, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, target) !=
               MAP_FAILED;
        is_ours = !done && is_signed(target, &signature);
    }
    after_mremap();
    /* Either the old range is gone now, or the target. */
    if (is_ours)
        hak_os_unreserve(target, new_size);
    else
        hak_gauge_shrink(HAK_GAUGE_MAPPED, done ? old_size : new_size);
    if (done)
        resized(HAK_GAUGE_COMMITTED, old_size, new_size);
    errno = kept;
    return done;
}

bool hak_os_decommit(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    hak_unpoison(address, size);
    bool done = mmap(address, size, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
    if (done)
        hak_gauge_shrink(HAK_GAUGE_COMMITTED, size);
    errno = kept;
    return done;
}

bool hak_os_purge(void *address, size_t size) {
    hak_count(HAK_COUNT_SYSTEM_CALLS, 1);
    int kept = errno;
    bool done = madvise(address, size, MADV_DONTNEED) == 0;
    errno = kept;
    return done;
}

/* ---- the allocator's own memory -------------------------------------------------------------- */

/* At the start of each piece: so anyone can find them all. The newest is the one that is cut. */
struct meta_piece {
    struct meta_piece *previous;
    size_t size;         /* bytes */
    _Atomic size_t used; /* bytes from the start; what lies beyond was never touched */
};
static struct meta_piece *_Atomic meta_pieces;

bool hak_os_is_meta(const void *address) {
    /* acquire: pairs with the release in add_piece */
    const struct meta_piece *piece = atomic_load_explicit(&meta_pieces, memory_order_acquire);
    while (piece && (uintptr_t)address - (uintptr_t)piece >= piece->size)
        piece = piece->previous;
    return piece != NULL;
}

/* Cuts a part off a piece; NULL when it has no such room. */
static void *cut(struct meta_piece *piece, size_t size, size_t alignment) {
    /* relaxed, all three: what is cut off is known to nobody else, and reads as zeros */
    size_t used = atomic_load_explicit(&piece->used, memory_order_relaxed), start;
    do {
        start = hak_round_up((uintptr_t)piece + used, alignment) - (uintptr_t)piece;
        if (start > piece->size || piece->size - start < size)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&piece->used, &used, start + size,
                                                    memory_order_relaxed, memory_order_relaxed));
    return (char *)piece + start;
}

/* Makes a piece known: to whoever cuts, and to hak_os_is_meta. */
static void add_piece(struct meta_piece *piece) {
    /* relaxed: the address is only stored; release: who finds the piece sees what it says */
    struct meta_piece *newest = atomic_load_explicit(&meta_pieces, memory_order_relaxed);
    do
        piece->previous = newest;
    while (!atomic_compare_exchange_weak_explicit(&meta_pieces, &newest, piece,
                                                  memory_order_release, memory_order_relaxed));
}

void *hak_os_meta(size_t size, size_t alignment) {
    /* acquire: pairs with the release in add_piece */
    struct meta_piece *piece = atomic_load_explicit(&meta_pieces, memory_order_acquire);
    void *part = piece ? cut(piece, size, alignment) : NULL;
    if (part)
        return part;
    size_t bytes = hak_round_up(size + sizeof *piece + HAK_SLAB_SIZE, META_PIECE);
    piece = hak_os_map_sparse(bytes);
    if (!piece)
        return NULL;
    piece->size = bytes;
    /* relaxed: released with the piece */
    atomic_store_explicit(&piece->used, sizeof *piece, memory_order_relaxed);
    part = cut(piece, size, alignment); /* before others may: so that this ends */
    add_piece(piece);
    return part;
}

uint64_t hak_os_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void hak_os_fork_prepare(void) {
    hak_lock(&leftover_lock);
}
void hak_os_fork_release(void) {
    hak_unlock(&leftover_lock);
}
