/* From an address to what lies there, by the page map, the pool's list of SuperSlabs, their
 * headers, and the table of huge blocks: all of them memory that is never given back. */
#include "inspect/describe.h"
#include "base/mark.h"
#include "base/size_class.h"
#include "heap/heap.h"
#include "large/huge_table.h"
#include "large/large.h"
#include "os/os.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_TRIES 4u              /* looks at what changes meanwhile */
#define BEHIND     ((size_t)65536) /* bytes */

/* The system copies the set of signals before it looks at what to do with it, which is nothing. */
bool hak_is_readable(const void *address) {
    int kept = errno;
    bool readable = address && (syscall(SYS_rt_sigprocmask, ~0, address, NULL, (size_t)8) == 0 ||
                                errno != EFAULT);
    errno = kept;
    return readable;
}

static const char *unit_of(const void *address) {
    return (const char *)((uintptr_t)address & ~(uintptr_t)(HAK_SLAB_SIZE - 1));
}

bool hak_was_carved(const TinySlabMeta *slab, const void *block) {
    return ((uintptr_t)block & (HAK_SLAB_SIZE - 1)) < hak_slab_bump(slab);
}

/* relaxed, here and below: nothing that is read is acted upon. */
static void describe_owner(struct hak_place *place, const TinySlabMeta *slab) {
    uintptr_t owner = atomic_load_explicit(&slab->owner, memory_order_relaxed);
    place->abandoned = owner == HAK_OWNER_ABANDONED;
    if (owner <= HAK_OWNER_KEPT || owner % HAK_CACHE_LINE || !hak_os_is_meta((void *)owner))
        return;
    const struct hak_heap *heap = (const struct hak_heap *)owner;
    place->owner = heap;
    /* After a fork the ids of the parent's other threads mean nothing. */
    int process = atomic_load_explicit(&heap->trace.process, memory_order_relaxed);
    if (process == (int)getpid())
        place->owner_thread = atomic_load_explicit(&heap->trace.thread, memory_order_relaxed);
}

static void place_block(struct hak_place *place, const char *block, size_t size) {
    place->block = block;
    place->size = size;
    place->offset = (const char *)place->address - block;
}

/* Where a block of a class lies, or lay; false behind the last. */
static bool place_small(struct hak_place *place, unsigned class_index) {
    size_t size = hak_class_size[class_index];
    size_t index = (size_t)((const char *)place->address - unit_of(place->address)) / size;
    place->class_index = class_index;
    if ((index + 1) * size > HAK_SLAB_SIZE)
        return false;
    place_block(place, unit_of(place->address) + index * size, size);
    return true;
}

static void describe_small(struct hak_place *place, unsigned class_index) {
    const TinySlabMeta *slab = hak_slab_meta_of(place->address);
    describe_owner(place, slab);
    if (!place_small(place, class_index)) {
        place->kind = HAK_PLACE_SLAB_END;
        return;
    }
    place->kind = HAK_PLACE_SMALL;
    bool carved = hak_was_carved(slab, place->block);
    /* Where nothing can be read the program has changed the protection: of its own block. */
    if (!hak_is_readable(hak_mark_place(place->block))) {
        place->in_use = carved;
        place->never_used = !carved;
        return;
    }
    bool marked = hak_is_marked(place->block);
    place->in_use = carved && !marked;
    /* The last block that was carved goes back to where it came from, mark and all. */
    place->never_used = !carved && !marked;
}

/* Whether a span of so many slabs that begins with slab `first` reaches another slab. */
static bool reaches(unsigned first, unsigned slabs, unsigned index) {
    return first + slabs > index;
}

/* 64 KiB that are no slab: of a span, or free. What began in a free slab last is said by its
 * metadata, and overlaps what others say: then it is something that was there once.
 * relaxed: as above. */
static void describe_region(struct hak_place *place, struct hak_superslab *ss, unsigned index) {
    const char *base = hak_superslab_base(place->address);
    place->kind = HAK_PLACE_FREE_SLAB;
    unsigned first = index, kind, last = 0;
    while (!(kind = hak_kind_at(base + ((size_t)first << HAK_SLAB_SHIFT))) && first > 1)
        first--;
    if (kind == HAK_KIND_SPAN) {
        last = atomic_load_explicit(&ss->slabs[first - 1].last_use, memory_order_relaxed);
        place->in_use = reaches(first, last, index);
    }
    if (!place->in_use) {
        /* Not beyond what is in use. */
        unsigned least = kind == HAK_KIND_NONE ? first : first + 1;
        for (first = index; first >= least; first--)
            if ((last = atomic_load_explicit(&ss->slabs[first - 1].last_use, memory_order_relaxed)))
                break;
        if (first < least)
            return;
    }
    if (last != HAK_USED_AS_SLAB && reaches(first, last, index)) {
        place->kind = HAK_PLACE_SPAN;
        place_block(place, base + ((size_t)first << HAK_SLAB_SHIFT),
                    (size_t)last << HAK_SLAB_SHIFT);
    } else if (last == HAK_USED_AS_SLAB && first == index) {
        unsigned class_index =
            atomic_load_explicit(&ss->slabs[first - 1].class_index, memory_order_relaxed);
        if (class_index && class_index <= HAK_CLASS_MAX)
            place_small(place, class_index);
    }
}

/* A live block, or what was freed there last: mappings that are given back come again. */
static bool describe_huge(struct hak_place *place) {
    struct hak_huge_cursor cursor = {NULL, 0};
    struct hak_huge huge;
    uintptr_t address = (uintptr_t)place->address;
    uint64_t latest = 0;
    while (hak_huge_next(&cursor, &huge)) {
        size_t at = address - (uintptr_t)huge.mapping;
        bool inside = at < huge.size;
        bool behind = !inside && huge.live && at - huge.size < BEHIND;
        if (inside ? !huge.live && huge.freed < latest
                   : !behind || place->kind != HAK_PLACE_FOREIGN)
            continue;
        place->kind = inside ? HAK_PLACE_HUGE : HAK_PLACE_BEHIND;
        place->in_use = huge.live;
        place_block(place, huge.block, huge.size - (size_t)(huge.block - huge.mapping));
        if (inside && huge.live)
            return true;
        latest = huge.freed;
    }
    return place->kind != HAK_PLACE_FOREIGN;
}

/* The SuperSlab at an address, or NULL; by the pool's list, since a header may only be looked at
 * where there is one. */
static struct hak_superslab *superslab_at(const void *address) {
    struct hak_superslab *ss = hak_superslab_of(address);
    for (uint32_t id = hak_pool_superslabs(); id--;)
        if (hak_pool_superslab(id) == ss)
            return ss;
    return NULL;
}

static bool is_own(const void *address) {
    return hak_os_is_meta(address) || hak_page_map_holds(address);
}

struct hak_place hak_describe(const void *address) {
    struct hak_place place;
    for (unsigned i = 0; i < MOST_TRIES; i++) {
        place = (struct hak_place){.kind = HAK_PLACE_FOREIGN, .address = address};
        unsigned kind = hak_kind_at(address);
        unsigned index = (unsigned)((uintptr_t)address >> HAK_SLAB_SHIFT) % HAK_SUPERSLAB_SLABS;
        struct hak_superslab *ss = kind == HAK_KIND_HUGE ? NULL : superslab_at(address);
        if (ss && index && kind - 1 < HAK_CLASS_MAX)
            describe_small(&place, kind);
        else if (ss && index)
            describe_region(&place, ss, index);
        else if (ss || (!describe_huge(&place) && is_own(address)))
            place.kind = HAK_PLACE_OWN;
        if (hak_kind_at(address) == kind)
            break;
    }
    return place;
}
