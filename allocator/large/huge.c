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
#include "large/huge_table.h"
#include "large/large.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/events.h"
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
    struct hak_huge_entry *entry;
};
_Static_assert(sizeof(struct huge_header) <= HEADER_SIZE, "the header fits before the block");

/* Freed mappings, the first `cache_used` of them, in no order. Under the lock, as the table's
 * unused entries. */
struct cached {
    char *mapping;
    size_t size;
    uint64_t freed_at; /* ms */
    struct hak_huge_entry *entry;
};
static struct cached cache[CACHE_SLOTS];
static unsigned cache_used;
static _Atomic size_t cached_bytes; /* written under the lock */
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

/* relaxed, both: written under the lock alone, and read without it by who only wants the figure. */
static void cached_more(size_t bytes) {
    size_t sum = atomic_load_explicit(&cached_bytes, memory_order_relaxed) + bytes;
    atomic_store_explicit(&cached_bytes, sum, memory_order_relaxed);
}
size_t hak_huge_cached(void) {
    return atomic_load_explicit(&cached_bytes, memory_order_relaxed);
}

static struct huge_header *header_at(const void *block) {
    return (struct huge_header *)(((uintptr_t)block - 1) & ~(uintptr_t)(HAK_SLAB_SIZE - 1));
}

/* The page map's entry for the unit of `block` says HAK_KIND_HUGE: a block starts somewhere in it.
 * If that one starts later, the unit begins with its header, and what lies before need not be
 * mapped. */
bool hak_huge_begins(const void *block) {
    const struct huge_header *header = block;
    if (!((uintptr_t)block & (HAK_SLAB_SIZE - 1)) && header->magic == MAGIC &&
        header_at(header->block) == header)
        return false;
    header = header_at(block);
    return header->magic == MAGIC && header->block == block;
}

static struct huge_header *header_of(const void *block) {
    if (!hak_huge_begins(block))
        hak_fatal("hakmem: invalid pointer %p: it points into a huge block, not at its start, or "
                  "what lies before the block was overwritten\n",
                  block);
    return header_at(block);
}

/* Makes the header and the table say where a block lies now. */
static void describe(struct huge_header *header, char *block, char *mapping, size_t size,
                     struct hak_huge_entry *entry) {
    *header = (struct huge_header){
        .magic = MAGIC, .block = block, .mapping = mapping, .size = size, .entry = entry};
    hak_huge_entry_write(entry, mapping, block, size);
}

static unsigned units(size_t size) {
    return (unsigned)(size >> HAK_SLAB_SHIFT);
}

/* Takes a mapping out of the cache. Under the lock. */
static struct cached take_out(struct cached *c) {
    struct cached gone = *c;
    *c = cache[--cache_used];
    cached_more(-gone.size);
    return gone;
}

/* Takes a freed mapping with its entry, the best fit that wastes at most a quarter; else an unused
 * entry, NULL with ENOMEM. */
static struct hak_huge_entry *take_entry(size_t size, struct cached *found) {
    hak_lock(&cache_lock);
    struct cached *best = NULL;
    for (struct cached *c = cache; c < cache + cache_used; c++)
        if (c->size >= size && c->size - size <= size / 4 && (!best || c->size < best->size))
            best = c;
    struct hak_huge_entry *entry;
    if (best) {
        *found = take_out(best);
        entry = found->entry;
    } else {
        entry = hak_huge_entry_take();
    }
    hak_unlock(&cache_lock);
    return entry;
}

static void give_entry(struct hak_huge_entry *entry) {
    hak_lock(&cache_lock);
    hak_huge_entry_give(entry);
    hak_unlock(&cache_lock);
}

static void unmap(char *mapping, size_t size) {
    hak_os_unmap(mapping, size);
    hak_count(HAK_COUNT_HUGE_UNMAPPED, 1);
}

/* Takes a mapping out of the cache, to be unmapped. Under the lock. */
static struct cached drop(struct cached *c) {
    struct cached gone = take_out(c);
    hak_huge_entry_give(gone.entry);
    return gone;
}

static struct cached drop_oldest(void) {
    struct cached *oldest = cache;
    for (struct cached *c = cache; c < cache + cache_used; c++)
        if (c->freed_at < oldest->freed_at)
            oldest = c;
    return drop(oldest);
}

/* Keeps a mapping, in place of the oldest if there is no room; unmaps what doesn't fit. */
static void cache_put(char *mapping, size_t size, struct hak_huge_entry *entry) {
    size_t most = (size_t)hak_option(HAK_OPT_CACHE_HUGE) << 20;
    while (size <= most) {
        hak_lock(&cache_lock);
        if (!cache_used || (cache_used < CACHE_SLOTS && hak_huge_cached() + size <= most)) {
            cache[cache_used++] = (struct cached){
                .mapping = mapping, .size = size, .freed_at = hak_os_now_ms(), .entry = entry};
            cached_more(size);
            hak_unlock(&cache_lock);
            return;
        }
        struct cached gone = drop_oldest();
        hak_unlock(&cache_lock);
        unmap(gone.mapping, gone.size);
    }
    give_entry(entry);
    unmap(mapping, size);
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
    struct cached found = {.mapping = NULL};
    struct hak_huge_entry *entry = take_entry(mapping_size, &found);
    if (!entry)
        return NULL;
    char *mapping = found.mapping;
    bool zeroed = !mapping;
    if (mapping) {
        mapping_size = found.size;
        hak_count(HAK_COUNT_HUGE_REUSED, 1);
    } else {
        mapping = hak_os_map(mapping_size, HAK_SLAB_SIZE);
        if (!mapping) {
            give_entry(entry);
            return NULL;
        }
        hak_count(HAK_COUNT_HUGE_MAPPED, 1);
    }
    char *block = (char *)hak_round_up((uintptr_t)mapping + HEADER_SIZE, alignment);
    if (!hak_page_map_set(block, HAK_KIND_HUGE)) {
        hak_os_unmap(mapping, mapping_size);
        give_entry(entry);
        return NULL;
    }
    describe(header_at(block), block, mapping, mapping_size, entry);
    hak_event(HAK_EVENT_HUGE_NEW, units(mapping_size), block);
    hak_unpoison(block, size);
    if (zero && !zeroed)
        memset(block, 0, size);
    return block;
}

void hak_huge_free(void *block) {
    struct huge_header *header = header_of(block);
    struct huge_header was = *header;
    hak_page_map_set(block, HAK_KIND_NONE);
    header->magic = 0;
    hak_huge_entry_freed(was.entry);
    hak_event(HAK_EVENT_HUGE_FREED, units(was.size), block);
    cache_put(was.mapping, was.size, was.entry);
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
    struct hak_huge_entry *entry = header->entry;
    if (!hak_os_resize(mapping, old_size, wanted)) {
        if (wanted < old_size)
            return block; /* the kernel has no room to split a mapping */
        /* A block aligned to more than 64 KiB would lose that by moving. */
        if (before > HAK_SLAB_SIZE)
            return NULL;
        char *target = hak_os_reserve(wanted, HAK_SLAB_SIZE);
        if (!target)
            return NULL;
        /* Makes sure that the target can be marked; marked it is when the block is there, since
         * after a failed move it may be somebody else's. */
        if (!hak_page_map_set(target + before, HAK_KIND_HUGE)) {
            hak_os_unreserve(target, wanted);
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
    describe(header_at(block), block, mapping, wanted, entry);
    hak_event(HAK_EVENT_HUGE_RESIZED, units(wanted), block);
    return block;
}

size_t hak_huge_purge(uint64_t now, uint64_t delay, unsigned most) {
    size_t bytes = 0;
    while (most--) {
        struct cached gone = {.mapping = NULL};
        hak_lock(&cache_lock);
        for (struct cached *c = cache; c < cache + cache_used; c++)
            if (now >= c->freed_at + delay) {
                gone = drop(c);
                break;
            }
        hak_unlock(&cache_lock);
        if (!gone.mapping)
            break;
        unmap(gone.mapping, gone.size);
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
