/* Huge blocks and the cache of freed ones.
 *
 *   base (64 KiB aligned)       block
 *   +--------+------------------+----------------------------- ... --------+
 *   | header | (alignment)      | the program's bytes                      |
 *   +--------+------------------+----------------------------- ... --------+
 *
 * The header lies at the start of the 64 KiB unit that holds the byte before the block, so that it
 * is found from the block's address alone; the page map marks the unit where the block starts. */
#include "large/huge.h"
#include "large/large.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/poison.h"
#include "os/os.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define MAGIC       0x68616b68756765ull /* "hakhuge" */
#define HEADER_SIZE 64u                 /* bytes */
#define CACHE_SLOTS 32u

struct huge_header {
    uint64_t magic;
    void *block;
    char *mapping; /* where the mapping starts: before the header if the alignment is large */
    size_t size;   /* bytes of the mapping, a multiple of HAK_SLAB_SIZE */
};
_Static_assert(sizeof(struct huge_header) <= HEADER_SIZE, "the header fits before the block");

/* Freed mappings. Under the lock; a search looks at all CACHE_SLOTS. */
struct cached {
    char *mapping;
    size_t size;
    uint64_t freed_at; /* ms */
};
static struct cached cache[CACHE_SLOTS];
static size_t cached_bytes;
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

static struct huge_header *header_at(const void *block) {
    return (struct huge_header *)(((uintptr_t)block - 1) & ~(uintptr_t)(HAK_SLAB_SIZE - 1));
}

static struct huge_header *header_of(const void *block) {
    struct huge_header *header = header_at(block);
    if (header->magic != MAGIC || header->block != block)
        hak_fatal("hakmem: invalid pointer %p: it points into a huge block, not at its start, or "
                  "what lies before the block was overwritten\n",
                  block);
    return header;
}

/* The best fit that wastes at most a quarter. */
static char *cache_get(size_t size, size_t *found_size) {
    char *mapping = NULL;
    hak_lock(&cache_lock);
    struct cached *best = NULL;
    for (unsigned i = 0; cached_bytes && i < CACHE_SLOTS; i++) {
        struct cached *c = &cache[i];
        if (c->mapping && c->size >= size && c->size - size <= size / 4 &&
            (!best || c->size < best->size))
            best = c;
    }
    if (best) {
        mapping = best->mapping;
        *found_size = best->size;
        cached_bytes -= best->size;
        best->mapping = NULL;
    }
    hak_unlock(&cache_lock);
    return mapping;
}

/* Keeps a mapping, in place of the oldest if there is no room; unmaps what doesn't fit. */
static void cache_put(char *mapping, size_t size) {
    size_t most = (size_t)hak_option(HAK_OPT_CACHE_HUGE) << 20;
    while (size <= most) {
        hak_lock(&cache_lock);
        struct cached *empty = NULL, *oldest = NULL;
        for (unsigned i = 0; i < CACHE_SLOTS; i++) {
            struct cached *c = &cache[i];
            if (!c->mapping)
                empty = c;
            else if (!oldest || c->freed_at < oldest->freed_at)
                oldest = c;
        }
        if (empty && cached_bytes + size <= most) {
            *empty = (struct cached){.mapping = mapping, .size = size, .freed_at = hak_os_now_ms()};
            cached_bytes += size;
            hak_unlock(&cache_lock);
            return;
        }
        struct cached gone = *oldest; /* there is one: else the new one had fitted */
        oldest->mapping = NULL;
        cached_bytes -= gone.size;
        hak_unlock(&cache_lock);
        hak_os_unmap(gone.mapping, gone.size);
        hak_count(HAK_COUNT_HUGE_UNMAPPED, 1);
    }
    hak_os_unmap(mapping, size);
    hak_count(HAK_COUNT_HUGE_UNMAPPED, 1);
}

void *hak_huge_new(size_t size, size_t alignment, bool zero) {
    if (alignment < HEADER_SIZE)
        alignment = HEADER_SIZE;
    /* With a large alignment the block may start anywhere in the mapping, but for its first unit.
     */
    size_t before = alignment <= HAK_SLAB_SIZE ? alignment : alignment + HAK_SLAB_SIZE;
    if (size > PTRDIFF_MAX || before > PTRDIFF_MAX - size - HAK_SLAB_SIZE) {
        errno = ENOMEM;
        return NULL;
    }
    size_t mapping_size = hak_round_up(size + before, HAK_SLAB_SIZE);
    char *mapping = cache_get(mapping_size, &mapping_size);
    bool zeroed = !mapping;
    if (mapping) {
        hak_count(HAK_COUNT_HUGE_REUSED, 1);
    } else {
        mapping = hak_os_map(mapping_size, HAK_SLAB_SIZE);
        if (!mapping)
            return NULL;
        hak_count(HAK_COUNT_HUGE_MAPPED, 1);
    }
    char *block = (char *)hak_round_up((uintptr_t)mapping + HEADER_SIZE, alignment);
    struct huge_header *header = header_at(block);
    if (!hak_page_map_set(block, HAK_KIND_HUGE)) {
        hak_os_unmap(mapping, mapping_size);
        return NULL;
    }
    *header = (struct huge_header){
        .magic = MAGIC, .block = block, .mapping = mapping, .size = mapping_size};
    hak_unpoison(block, size);
    if (zero && !zeroed)
        memset(block, 0, size);
    return block;
}

void hak_huge_free(void *block) {
    struct huge_header *header = header_of(block);
    char *mapping = header->mapping;
    size_t size = header->size;
    hak_page_map_set(block, HAK_KIND_NONE);
    header->magic = 0;
    cache_put(mapping, size);
}

size_t hak_huge_usable(const void *block) {
    const struct huge_header *header = header_of(block);
    return header->size - (size_t)((const char *)block - header->mapping);
}

void *hak_huge_resize(void *block, size_t size) {
    struct huge_header *header = header_of(block);
    size_t before = (size_t)((char *)block - header->mapping);
    if (size > PTRDIFF_MAX - HAK_SLAB_SIZE - before)
        return NULL;
    size_t wanted = hak_round_up(size + before, HAK_SLAB_SIZE);
    if (wanted <= header->size && wanted >= header->size - header->size / 4)
        return block;
    /* Room for the next few steps of a block that grows: address space only, no pages. */
    if (wanted > header->size && wanted - header->size < header->size / 8)
        wanted = hak_round_up(header->size + header->size / 8, HAK_SLAB_SIZE);
    char *mapping = header->mapping;
    size_t old_size = header->size;
    if (!hak_os_resize(mapping, old_size, wanted)) {
        /* A block aligned to more than 64 KiB would lose that by moving. */
        if (before > HAK_SLAB_SIZE)
            return NULL;
        char *target = hak_os_reserve(wanted, HAK_SLAB_SIZE);
        if (!target)
            return NULL;
        /* Makes sure that the target can be marked; marked it is when the block is there, since
         * after a failed move it may be somebody else's. */
        if (!hak_page_map_set(target + before, HAK_KIND_HUGE)) {
            hak_os_unmap(target, wanted);
            return NULL;
        }
        hak_page_map_set(target + before, HAK_KIND_NONE);
        hak_page_map_set(block, HAK_KIND_NONE);
        if (!hak_os_move(mapping, old_size, target, wanted)) {
            hak_page_map_set(block, HAK_KIND_HUGE);
            return NULL;
        }
        mapping = target;
        hak_page_map_set(target + before, HAK_KIND_HUGE);
    }
    block = mapping + before;
    header = header_at(block);
    header->block = block;
    header->mapping = mapping;
    header->size = wanted;
    return block;
}

size_t hak_huge_purge(uint64_t now, uint64_t delay, unsigned most) {
    size_t bytes = 0;
    while (most--) {
        struct cached gone = {.mapping = NULL};
        hak_lock(&cache_lock);
        for (unsigned i = 0; cached_bytes && i < CACHE_SLOTS; i++) {
            struct cached *c = &cache[i];
            if (c->mapping && now >= c->freed_at + delay) {
                gone = *c;
                c->mapping = NULL;
                cached_bytes -= gone.size;
                break;
            }
        }
        hak_unlock(&cache_lock);
        if (!gone.mapping)
            break;
        hak_os_unmap(gone.mapping, gone.size);
        hak_count(HAK_COUNT_HUGE_UNMAPPED, 1);
        bytes += gone.size;
    }
    return bytes;
}

void hak_large_fork_prepare(void) {
    hak_lock(&cache_lock);
}
void hak_large_fork_release(void) {
    hak_unlock(&cache_lock);
}
