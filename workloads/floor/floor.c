/*
 * The floor: the least that malloc and free can cost. A measuring rod for the others, and not an
 * allocator to use.
 *
 * Each thread has a free list for every class of sizes; the class of a block stands in the 8 bytes
 * before it. malloc takes the first block of a list, free puts one there, whoever had it before: so
 * a block that another thread allocated goes to the list of the thread that frees it, and no list
 * is ever touched by two threads. Nothing is counted, checked, merged or given back: memory only
 * grows, and what one thread allocates and another one frees never comes back to the first. When a
 * thread ends, a later one gets its lists as they are, so that programs whose threads come and go
 * don't measure page faults instead. A pointer that is no block's breaks it without a word.
 *
 *     piece:  | 8 | class | block ...     | class | block ... |         fresh -> | never used |
 *                           ^ a multiple of 16
 *
 * Blocks up to LARGEST_STRIDE lie side by side in pieces of memory of the thread that first took
 * them; larger ones have a mapping each, which is the one thing that is given back.
 */
#include "floor.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

enum {
    HEADER = 8,                  /* bytes before each block */
    ALIGNMENT = 16,              /* bytes; of every block */
    FINE_MOST = 1024,            /* bytes, header included: up to here a class for every 16 */
    FINE_CLASSES = 1 + 64,       /* class 0 has no blocks */
    FINE_BITS = 10,              /* FINE_MOST as a power of two */
    STEP_BITS = 3,               /* above FINE_MOST: 8 classes for each power of two */
    LARGEST_STRIDE = 1 << 20,    /* bytes, header included */
    CLASSES = FINE_CLASSES + 80, /* 10 powers of two, 8 classes each */
    PIECE = 1 << 22,             /* bytes mapped at once for small blocks */
    PAGE = 4096                  /* bytes; mappings are rounded up to it */
};

/* What stands before a block is its class; from PAGE on it is the length of the mapping that the
 * block has for itself; and where the bits below PAGE are MARK_ALIGNED, the block lies inside
 * another one, and the bits above say how many bytes behind that one's beginning. */
enum { MARK_ALIGNED = 1, MARK_SHIFT = 12 };

typedef struct block {
    struct block *next;
} block;

static _Thread_local block *lists[CLASSES];
static _Thread_local char *fresh, *fresh_end; /* of this thread's piece: the unused rest */
static _Thread_local bool registered;         /* the end of this thread will be noticed */
static atomic_size_t mapped_bytes;            /* of all threads */

static inline uint64_t *header_of(void *pointer) {
    return (uint64_t *)pointer - 1;
}

static inline void *get(size_t size);

/* ---- classes ----------------------------------------------------------------------------------
 */

/* The class of blocks that hold `size` bytes; size is at most LARGEST_STRIDE - HEADER. */
static inline size_t class_of(size_t size) {
    size_t bytes = size + HEADER;
    if (__builtin_expect(bytes <= FINE_MOST, 1))
        return (bytes + ALIGNMENT - 1) / ALIGNMENT;
    unsigned power = 63U - (unsigned)__builtin_clzll(bytes - 1);
    size_t step = (bytes - 1) >> (power - STEP_BITS) & ((1U << STEP_BITS) - 1);
    return FINE_CLASSES + ((size_t)(power - FINE_BITS) << STEP_BITS) + step;
}

/* Bytes from one block of a class to the next. */
static size_t stride_of(size_t class) {
    if (class < FINE_CLASSES)
        return class * ALIGNMENT;
    size_t coarse = class - FINE_CLASSES;
    unsigned power = FINE_BITS + (unsigned)(coarse >> STEP_BITS);
    size_t step = coarse & ((1U << STEP_BITS) - 1);
    return ((1U << STEP_BITS) + step + 1) << (power - STEP_BITS);
}

static inline void put(void *pointer, uint64_t class) {
    block *freed = pointer;
    freed->next = lists[class];
    lists[class] = freed;
}

/* ---- threads that come and go */

/* What a thread leaves, in a block of its own; the next thread to begin takes all of it. */
typedef struct legacy {
    struct legacy *next;
    block *lists[CLASSES];
    char *fresh, *fresh_end;
} legacy;

static legacy *legacies;
/* Nobody waits for it, so that a fork at any moment is harmless: who finds it taken does without.
 */
static atomic_flag legacies_taken = ATOMIC_FLAG_INIT;
static pthread_key_t at_thread_end;
static bool key_made;

static void end_thread(void *unused) {
    (void)unused;
    legacy *left = get(sizeof *left);
    if (left == NULL || atomic_flag_test_and_set_explicit(&legacies_taken, memory_order_acquire))
        return;
    memcpy(left->lists, lists, sizeof lists);
    left->fresh = fresh;
    left->fresh_end = fresh_end;
    left->next = legacies;
    legacies = left;
    atomic_flag_clear_explicit(&legacies_taken, memory_order_release);
    memset(lists, 0, sizeof lists);
    fresh = fresh_end = NULL;
}

__attribute__((constructor)) static void make_key(void) {
    key_made = pthread_key_create(&at_thread_end, end_thread) == 0;
}

/* What this thread freed before it first needed memory goes before what it inherits. */
static void inherit(const legacy *from) {
    for (size_t class = 0; class < CLASSES; class ++) {
        block **end = &lists[class];
        while (*end != NULL)
            end = &(*end)->next;
        *end = from->lists[class];
    }
    fresh = from->fresh;
    fresh_end = from->fresh_end;
}

static void begin_thread(void) {
    registered = true; /* first: what follows may allocate */
    if (key_made)
        pthread_setspecific(at_thread_end, &registered);
    if (fresh != NULL || atomic_flag_test_and_set_explicit(&legacies_taken, memory_order_acquire))
        return;
    legacy *found = legacies;
    if (found != NULL)
        legacies = found->next;
    atomic_flag_clear_explicit(&legacies_taken, memory_order_release);
    if (found != NULL) {
        inherit(found);
        put(found, *header_of(found));
    }
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* Since nothing comes back, a long run would take all of the machine: half of it is the end. */
static bool may_map(size_t bytes) {
    static atomic_size_t most;
    size_t limit = atomic_load_explicit(&most, memory_order_relaxed);
    if (limit == 0) {
        struct sysinfo machine;
        limit = sysinfo(&machine) == 0 ? (size_t)machine.totalram * machine.mem_unit / 2 : SIZE_MAX;
        atomic_store_explicit(&most, limit, memory_order_relaxed);
    }
    size_t before = atomic_fetch_add_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    if (before <= limit && bytes <= limit - before)
        return true;
    atomic_fetch_sub_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    return false;
}

/* NULL with errno ENOMEM where there is no more. */
static char *map(size_t bytes) {
    if (may_map(bytes)) {
        void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (found != MAP_FAILED)
            return found;
        atomic_fetch_sub_explicit(&mapped_bytes, bytes, memory_order_relaxed);
    }
    errno = ENOMEM;
    return NULL;
}

static void *take_fresh(size_t class) {
    if (!registered) {
        begin_thread();
        block *inherited = lists[class];
        if (inherited != NULL) {
            lists[class] = inherited->next;
            return inherited;
        }
    }
    size_t stride = stride_of(class);
    if ((size_t)(fresh_end - fresh) < stride) {
        char *piece = map(PIECE);
        if (piece == NULL)
            return NULL;
        fresh = piece + ALIGNMENT - HEADER;
        fresh_end = piece + PIECE;
    }
    void *found = fresh + HEADER;
    *header_of(found) = class;
    fresh += stride;
    return found;
}

static void *map_large(size_t size) {
    if (size > PTRDIFF_MAX - PAGE - ALIGNMENT) {
        errno = ENOMEM;
        return NULL;
    }
    size_t bytes = (size + ALIGNMENT + PAGE - 1) & ~(size_t)(PAGE - 1);
    char *mapping = map(bytes);
    if (mapping == NULL)
        return NULL;
    *header_of(mapping + ALIGNMENT) = bytes;
    return mapping + ALIGNMENT;
}

__attribute__((noinline)) static void *get_slowly(size_t size) {
    return size <= LARGEST_STRIDE - HEADER ? take_fresh(class_of(size)) : map_large(size);
}

static bool is_aligned_inside(uint64_t header) {
    return (header & (PAGE - 1)) == MARK_ALIGNED;
}

__attribute__((noinline)) static void release_slowly(void *pointer, uint64_t header) {
    if (is_aligned_inside(header)) {
        pointer = (char *)pointer - (header >> MARK_SHIFT);
        header = *header_of(pointer);
        if (header < CLASSES) {
            put(pointer, header);
            return;
        }
    }
    munmap((char *)pointer - ALIGNMENT, header);
    atomic_fetch_sub_explicit(&mapped_bytes, header, memory_order_relaxed);
}

static size_t usable_size(void *pointer) {
    uint64_t header = *header_of(pointer);
    if (header < CLASSES)
        return stride_of(header) - HEADER;
    if (!is_aligned_inside(header))
        return header - ALIGNMENT;
    size_t distance = header >> MARK_SHIFT;
    return usable_size((char *)pointer - distance) - distance;
}

/* ---- a block is got and released ---------------------------------------------------------------
 */

static inline void *get(size_t size) {
    if (__builtin_expect(size <= LARGEST_STRIDE - HEADER, 1)) {
        size_t class = class_of(size);
        block *found = lists[class];
        if (__builtin_expect(found != NULL, 1)) {
            lists[class] = found->next;
            return found;
        }
    }
    return get_slowly(size);
}

static inline void release(void *pointer) {
    if (__builtin_expect(pointer == NULL, 0))
        return;
    uint64_t class = *header_of(pointer);
    if (__builtin_expect(class >= CLASSES, 0)) {
        release_slowly(pointer, class);
        return;
    }
    put(pointer, class);
}

/* ---- the interface ----------------------------------------------------------------------------
 */

FLOOR_API void *malloc(size_t size) {
    return get(size);
}

FLOOR_API void free(void *pointer) {
    release(pointer);
}

FLOOR_API void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *found = get(bytes);
    if (found != NULL && *header_of(found) < CLASSES) /* a mapping is clear already */
        memset(found, 0, bytes);
    return found;
}

/* A block with a mapping of its own grows and shrinks where it is, or moves without being copied.
 */
static void *remap(void *pointer, uint64_t header, size_t size) {
    if (size > PTRDIFF_MAX - PAGE - ALIGNMENT) {
        errno = ENOMEM;
        return NULL;
    }
    size_t bytes = (size + ALIGNMENT + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (bytes > header && !may_map(bytes - header)) {
        errno = ENOMEM;
        return NULL;
    }
    char *moved = mremap((char *)pointer - ALIGNMENT, header, bytes, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) {
        if (bytes > header)
            atomic_fetch_sub_explicit(&mapped_bytes, bytes - header, memory_order_relaxed);
        errno = ENOMEM;
        return NULL;
    }
    if (bytes < header)
        atomic_fetch_sub_explicit(&mapped_bytes, header - bytes, memory_order_relaxed);
    *header_of(moved + ALIGNMENT) = bytes;
    return moved + ALIGNMENT;
}

FLOOR_API void *realloc(void *pointer, size_t size) {
    if (pointer == NULL)
        return get(size);
    if (size == 0) {
        release(pointer);
        return NULL;
    }
    uint64_t header = *header_of(pointer);
    if (header < CLASSES) {
        if (size <= LARGEST_STRIDE - HEADER && class_of(size) == header)
            return pointer;
    } else if (!is_aligned_inside(header) && size > LARGEST_STRIDE - HEADER) {
        return remap(pointer, header, size);
    }
    void *moved = get(size);
    if (moved == NULL)
        return NULL;
    size_t before = usable_size(pointer);
    memcpy(moved, pointer, before < size ? before : size);
    release(pointer);
    return moved;
}

/* NULL with errno where there is no memory; `alignment` is a power of two. */
static void *get_aligned(size_t alignment, size_t size) {
    if (alignment <= ALIGNMENT)
        return get(size);
    if (alignment > PTRDIFF_MAX / 2 || size > PTRDIFF_MAX - alignment) {
        errno = ENOMEM;
        return NULL;
    }
    char *outer = get(size + alignment);
    if (outer == NULL)
        return NULL;
    uint64_t distance = (uint64_t)(-(uintptr_t)outer & (alignment - 1));
    if (distance != 0)
        *header_of(outer + distance) = distance << MARK_SHIFT | MARK_ALIGNED;
    return outer + distance;
}

static bool is_power_of_two(size_t number) {
    return number != 0 && (number & (number - 1)) == 0;
}

FLOOR_API void *memalign(size_t alignment, size_t size) {
    if (!is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return get_aligned(alignment, size);
}

FLOOR_API void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

FLOOR_API int posix_memalign(void **result, size_t alignment, size_t size) {
    if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    int before = errno;
    void *found = get_aligned(alignment, size);
    errno = before;
    if (found == NULL)
        return ENOMEM;
    *result = found;
    return 0;
}

FLOOR_API void *valloc(size_t size) {
    return get_aligned(PAGE, size);
}

FLOOR_API void *pvalloc(size_t size) {
    if (size > PTRDIFF_MAX - PAGE) {
        errno = ENOMEM;
        return NULL;
    }
    return get_aligned(PAGE, (size + PAGE - 1) & ~(size_t)(PAGE - 1));
}

FLOOR_API size_t malloc_usable_size(void *pointer) {
    return pointer == NULL ? 0 : usable_size(pointer);
}

FLOOR_API const char *floor_allocator_version(void) {
    return "1";
}
