/* Huge blocks.
 *
 *   base (64 KiB aligned)       block
 *   +--------+------------------+----------------------------- ... --------+
 *   | header | (alignment)      | the program's bytes                      |
 *   +--------+------------------+----------------------------- ... --------+
 *
 * The header lies at the start of the 64 KiB unit that holds the byte before the block, so that it
 * is found from the block's address alone; the page map marks the unit where the block starts. */
#include "large/huge.h"
#include "large/huge_cache.h"
#include "large/large.h"
#include "large/runs.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/events.h"
#include "base/poison.h"
#include "os/os.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <string.h>

/* What a block lies in. */
struct area {
    char *mapping;
    size_t size;                  /* bytes of the mapping, a multiple of HAK_SLAB_SIZE */
    struct hak_huge_entry *entry; /* the block's in the table */
    struct hak_run_piece *piece;  /* of which it is a run; NULL: it is a mapping of its own */
};

#define MAGIC       0x68616b68756765ull /* "hakhuge" */
#define HEADER_SIZE 64u                 /* bytes */

struct huge_header {
    uint64_t magic;
    void *block;
    struct area area; /* may begin before the header, if the alignment is large */
};
_Static_assert(sizeof(struct huge_header) <= HEADER_SIZE, "the header fits before the block");

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
static void describe(char *block, const struct area *area) {
    *header_at(block) = (struct huge_header){.magic = MAGIC, .block = block, .area = *area};
    hak_huge_entry_write(area->entry, area->mapping, block, area->size);
}

static struct hak_run run_of(const struct area *area) {
    return (struct hak_run){.base = area->mapping, .size = area->size, .piece = area->piece};
}

static unsigned units(size_t size) {
    return (unsigned)(size >> HAK_SLAB_SHIFT);
}

/* Gives a mapping's bytes from `size` on back to the cache. */
static void cut(struct hak_huge_kept *it, size_t size) {
    struct hak_huge_entry *entry = hak_huge_entry_take();
    if (!entry)
        return; /* the block is larger than it need be */
    hak_huge_cache_put(it->mapping + size, it->size - size, entry);
    it->size = size;
}

/* Makes a mapping larger, where it is or somewhere else. False leaves it as it was. */
static bool grow(struct hak_huge_kept *it, size_t size) {
    if (!hak_os_resize(it->mapping, it->size, size)) {
        char *target = hak_os_reserve(size, HAK_SLAB_SIZE);
        if (!target || !hak_os_move(it->mapping, it->size, target, size))
            return false;
        it->mapping = target;
    }
    it->size = size;
    return true;
}

/* Finds a mapping of `size` bytes among those that are kept: one that fits, or else one that is cut
 * or grown. Pages that are there already need no fault and no clearing, which for a block of
 * megabytes cost a hundred times as much as the system calls that move them. `*used` of its bytes
 * may hold anything, the others are zero. */
static struct hak_huge_kept reuse(size_t size, size_t *used) {
    int kept = errno;
    struct hak_huge_kept it = hak_huge_cache_take(size);
    if (!it.mapping)
        it = hak_huge_cache_take_other(size);
    *used = it.size;
    if (!it.mapping)
        return it;
    if (it.size < size && !grow(&it, size)) {
        hak_huge_cache_put(it.mapping, it.size, it.entry);
        it.mapping = NULL;
    } else if (it.size - size > size / 4) {
        cut(&it, size);
    }
    errno = kept; /* what fails here is done in another way */
    return it;
}

/* Adds to a mapping of `size` bytes what is kept right behind it, so that it has `wanted` bytes if
 * there is so much. Returns its size now. */
static size_t take_in_next(const char *mapping, size_t size, size_t wanted) {
    struct hak_huge_kept next = hak_huge_cache_take_at(mapping + size);
    if (!next.mapping)
        return size;
    if (next.size > wanted - size) {
        size_t taken = wanted - size;
        hak_huge_cache_put(next.mapping + taken, next.size - taken, next.entry);
        return wanted;
    }
    hak_huge_entry_give(next.entry);
    return size + next.size;
}

static struct area area_of_run(size_t size) {
    struct hak_run run = hak_run_take(size);
    if (run.base)
        hak_count(hak_run_is_used(&run) ? HAK_COUNT_HUGE_REUSED : HAK_COUNT_HUGE_MAPPED, 1);
    return (struct area){.mapping = run.base, .size = size, .piece = run.piece};
}

/* `*used` as for reuse. */
static struct area area_of_mapping(size_t size, size_t *used) {
    struct hak_huge_kept found = reuse(size, used);
    struct area area = {.mapping = found.mapping, .size = found.size, .entry = found.entry};
    if (!area.mapping)
        area = (struct area){.mapping = hak_os_map(size, HAK_SLAB_SIZE), .size = size};
    if (area.mapping)
        hak_count(found.mapping ? HAK_COUNT_HUGE_REUSED : HAK_COUNT_HUGE_MAPPED, 1);
    return area;
}

static void give_up(const struct area *area) {
    struct hak_run run = run_of(area);
    if (area->piece)
        hak_run_shrink(&run, 0);
    else
        hak_os_unmap(area->mapping, area->size);
    if (area->entry)
        hak_huge_entry_give(area->entry);
}

void *hak_huge_new(size_t size, size_t alignment, bool zero, bool grows) {
    if (alignment < HEADER_SIZE)
        alignment = HEADER_SIZE;
    /* With a large alignment the block may start anywhere in the mapping, but for its first unit.
     */
    size_t before = alignment <= HAK_SLAB_SIZE ? alignment : alignment + HAK_SLAB_SIZE;
    if (size > PTRDIFF_MAX || before > PTRDIFF_MAX - size - HAK_SLAB_SIZE) {
        errno = ENOMEM;
        return NULL;
    }
    size_t wanted = hak_round_up(size + before, HAK_SLAB_SIZE), used = 0;
    struct area area = {.mapping = NULL};
    if (!grows)
        area = area_of_run(wanted);
    if (!area.mapping)
        area = area_of_mapping(wanted, &used);
    if (!area.mapping && grows)
        area = area_of_run(wanted);
    if (!area.mapping)
        return NULL;
    char *block = (char *)hak_round_up((uintptr_t)area.mapping + HEADER_SIZE, alignment);
    if (!area.entry)
        area.entry = hak_huge_entry_take();
    if (!area.entry || !hak_page_map_set(block, HAK_KIND_HUGE)) {
        give_up(&area);
        errno = ENOMEM;
        return NULL;
    }
    size_t before_block = (size_t)(block - area.mapping);
    hak_unpoison(area.mapping, before_block); /* may have been in the middle of another */
    describe(block, &area);
    hak_event(HAK_EVENT_HUGE_NEW, units(area.size), block);
    hak_unpoison(block, size);
    struct hak_run run = run_of(&area);
    if (zero && area.piece)
        hak_run_clear(&run, block, size);
    else if (zero && used > before_block)
        memset(block, 0, size < used - before_block ? size : used - before_block);
    return block;
}

void hak_huge_free(void *block) {
    struct huge_header *header = header_of(block);
    struct area was = header->area;
    hak_page_map_set(block, HAK_KIND_NONE);
    header->magic = 0;
    hak_huge_entry_freed(was.entry);
    hak_event(HAK_EVENT_HUGE_FREED, units(was.size), block);
    if (was.piece)
        give_up(&was);
    else
        hak_huge_cache_put(was.mapping, was.size, was.entry);
}

size_t hak_huge_usable(const void *block) {
    const struct huge_header *header = header_of(block);
    return header->area.size - (size_t)((const char *)block - header->area.mapping);
}

/* In place, or not at all: a block that doesn't find room gets a mapping of its own, where it can
 * go on growing. */
static bool resize_run(struct area *area, size_t wanted) {
    struct hak_run run = run_of(area);
    if (wanted < run.size)
        hak_run_shrink(&run, wanted);
    else if (!hak_run_extend(&run, wanted))
        return false;
    area->size = wanted;
    return true;
}

/* In place, or moved with its pages; the header is in its place in the end, and not yet what it has
 * to be. */
static bool resize_mapping(struct area *area, char *block, size_t wanted) {
    size_t before = (size_t)(block - area->mapping);
    if (wanted > area->size) {
        size_t with_next = take_in_next(area->mapping, area->size, wanted);
        if (with_next > area->size) {
            area->size = with_next;
            describe(block, area);
        }
        if (area->size >= wanted)
            return true;
    }
    if (!hak_os_resize(area->mapping, area->size, wanted)) {
        if (wanted < area->size)
            return true; /* the kernel has no room to split a mapping */
        /* A block aligned to more than 64 KiB would lose that by moving. */
        if (before > HAK_SLAB_SIZE)
            return false;
        char *target = hak_os_reserve(wanted, HAK_SLAB_SIZE);
        if (!target)
            return false;
        /* Makes sure that the target can be marked; marked it is when the block is there, since
         * after a failed move it may be somebody else's. */
        if (!hak_page_map_set(target + before, HAK_KIND_HUGE)) {
            hak_os_unreserve(target, wanted);
            return false;
        }
        hak_page_map_set(target + before, HAK_KIND_NONE);
        hak_page_map_set(block, HAK_KIND_NONE);
        if (!hak_os_move(area->mapping, area->size, target, wanted)) {
            hak_page_map_set(block, HAK_KIND_HUGE);
            return false;
        }
        area->mapping = target;
        hak_page_map_set(target + before, HAK_KIND_HUGE);
    }
    area->size = wanted;
    return true;
}

void *hak_huge_resize(void *block, size_t size) {
    struct area area = header_of(block)->area;
    size_t before = (size_t)((char *)block - area.mapping);
    if (size > PTRDIFF_MAX - HAK_SLAB_SIZE - before)
        return NULL;
    size_t wanted = hak_round_up(size + before, HAK_SLAB_SIZE);
    if (wanted <= area.size && wanted >= area.size - area.size / 4)
        return block;
    /* Room for the next few steps of a block that grows: address space only, no pages. */
    size_t more = wanted;
    if (wanted > area.size && wanted - area.size < area.size / 8)
        more = hak_round_up(area.size + area.size / 8, HAK_SLAB_SIZE);
    if (!(area.piece ? resize_run(&area, more) || resize_run(&area, wanted)
                     : resize_mapping(&area, block, more)))
        return NULL;
    block = area.mapping + before;
    describe(block, &area);
    hak_event(HAK_EVENT_HUGE_RESIZED, units(area.size), block);
    return block;
}
