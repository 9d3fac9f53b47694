/* hak_walk: all live blocks, slab by slab, span by span, and from the table of huge blocks. */
#include "hakmem.h"
#include "inspect/describe.h"
#include "base/guard.h"
#include "base/mark.h"
#include "base/size_class.h"
#include "large/huge_table.h"
#include "large/large.h"
#include "os/os.h"
#include "page_map/page_map.h"
#include "slab/slab.h"

struct walk {
    hak_walk_function *visit;
    void *argument;
    uintptr_t page; /* the last one that was looked at, */
    bool readable;  /* and what was found */
};

/* Whether a word of a block can be read: the program may have changed the protection of pages that
 * it has. Mostly the same page as for the block before. */
static bool can_read(struct walk *walk, const void *word) {
    uintptr_t page = (uintptr_t)word & ~(uintptr_t)(hak_os_page_size() - 1);
    if (page != walk->page) {
        walk->page = page;
        walk->readable = hak_is_readable(word);
    }
    return walk->readable;
}

/* Whether the program has a block, and how many bytes of it. */
static bool is_live(struct walk *walk, char *block, unsigned class_index, size_t *usable) {
    size_t size = hak_class_size[class_index];
    *usable = size;
    /* Where there is no slab any more, there is nothing to look at. */
    if (hak_page_map_get(block) != class_index)
        return false;
    /* A free block's mark can be read: the allocator wrote it. */
    if (!can_read(walk, hak_mark_place(block)))
        return true;
    if (hak_is_marked(block))
        return false;
    if (hak_guarding() && can_read(walk, block + size - 16) &&
        !hak_guard_look(block, class_index, usable))
        return false;
    /* And again: a slab that was given back meanwhile may have lost its pages, marks and all. */
    return hak_page_map_get(block) == class_index;
}

static int walk_slab(struct walk *walk, char *base, unsigned class_index) {
    const TinySlabMeta *slab = hak_slab_meta_of(base);
    size_t size = hak_class_size[class_index];
    for (size_t offset = 0; offset + size <= HAK_SLAB_SIZE; offset += size) {
        char *block = base + offset;
        size_t usable;
        if (!hak_was_carved(slab, block))
            break;
        int end = is_live(walk, block, class_index, &usable)
                      ? walk->visit(block, usable, walk->argument)
                      : 0;
        if (end)
            return end;
    }
    return 0;
}

static int walk_superslab(struct walk *walk, struct hak_superslab *ss) {
    char *base = hak_superslab_base(ss);
    for (unsigned i = 1; i < HAK_SUPERSLAB_SLABS; i++) {
        char *unit = base + ((size_t)i << HAK_SLAB_SHIFT);
        unsigned kind = hak_kind_at(unit);
        int end = 0;
        if (kind - 1 < HAK_CLASS_MAX) {
            end = walk_slab(walk, unit, kind);
        } else if (kind == HAK_KIND_SPAN) {
            /* relaxed: the span may be ending, or changing its size */
            unsigned slabs =
                atomic_load_explicit(&ss->slabs[i - 1].class_index, memory_order_relaxed);
            end = walk->visit(unit, (size_t)slabs << HAK_SLAB_SHIFT, walk->argument);
        }
        if (end)
            return end;
    }
    return 0;
}

static int walk_all(struct walk *walk) {
    uint32_t superslabs = hak_pool_superslabs();
    for (uint32_t id = 0; id < superslabs; id++) {
        int end = walk_superslab(walk, hak_pool_superslab(id));
        if (end)
            return end;
    }
    struct hak_huge_cursor cursor = {NULL, 0};
    struct hak_huge huge;
    while (hak_huge_next(&cursor, &huge)) {
        size_t before = (size_t)(huge.block - huge.mapping);
        int end = huge.live ? walk->visit(huge.block, huge.size - before, walk->argument) : 0;
        if (end)
            return end;
    }
    return 0;
}

int hak_walk(hak_walk_function *visit, void *argument) {
    struct walk walk = {.visit = visit, .argument = argument};
    hak_pool_hold(); /* marks are looked at in slabs that others may give back meanwhile */
    int end = walk_all(&walk);
    hak_pool_let_go();
    return end;
}
