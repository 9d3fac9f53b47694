/* The walk over all SuperSlabs and huge mappings, without a lock. */
#include "report/gather.h"
#include "base/counters.h"
#include "base/size_class.h"
#include "large/huge_table.h"
#include "large/large.h"
#include "slab/slab.h"

#include <string.h>

static void add_slab(struct hak_gathered *found, const TinySlabMeta *slab, unsigned class_index) {
    struct hak_gathered_kind *kind = &found->kinds[hak_counted_row(class_index)];
    uint64_t size = hak_class_size[class_index];
    uint64_t used = hak_slab_used(slab), waiting = slab_remote_count_relaxed(slab);
    uint64_t out = used > waiting ? used - waiting : 0;
    kind->areas++;
    kind->bytes += HAK_SLAB_SIZE;
    kind->out += out;
    kind->unused += HAK_SLAB_SIZE > out * size ? HAK_SLAB_SIZE - out * size : 0;
}

/* Returns its slabs, 1 at least. */
static unsigned add_span(struct hak_gathered *found, const TinySlabMeta *slab) {
    struct hak_gathered_kind *kind = &found->kinds[hak_counted_row(HAK_KIND_SPAN)];
    unsigned slabs = hak_slab_class(slab); /* of a span's first slab: its length */
    kind->areas++;
    kind->out++;
    kind->bytes += (uint64_t)slabs << HAK_SLAB_SHIFT;
    return slabs ? slabs : 1;
}

static void add_superslab(struct hak_gathered *found, const struct hak_superslab *ss) {
    /* relaxed: what the figures are of is decided here and nowhere else */
    uint32_t free = atomic_load_explicit(&ss->free, memory_order_relaxed);
    uint32_t dirty = atomic_load_explicit(&ss->dirty, memory_order_relaxed);
    found->dirty += (uint64_t)__builtin_popcount(free & dirty) << HAK_SLAB_SHIFT;
    const char *base = hak_superslab_base(ss);
    for (unsigned i = 1; i < HAK_SUPERSLAB_SLABS;) {
        if (free >> i & 1u) {
            i++;
            continue;
        }
        const TinySlabMeta *slab = &ss->slabs[i - 1];
        unsigned kind = hak_kind_at(base + ((size_t)i << HAK_SLAB_SHIFT));
        if (kind == HAK_KIND_SPAN) {
            i += add_span(found, slab);
            continue;
        }
        if (kind - 1 < HAK_CLASS_MAX)
            add_slab(found, slab, kind);
        i++;
    }
}

void hak_gather(struct hak_gathered *found) {
    memset(found, 0, sizeof *found);
    uint32_t superslabs = hak_pool_superslabs();
    for (uint32_t id = 0; id < superslabs; id++)
        add_superslab(found, hak_pool_superslab(id));
    struct hak_gathered_kind *kind = &found->kinds[hak_counted_row(HAK_KIND_HUGE)];
    struct hak_huge_cursor cursor = {.chunk = NULL};
    struct hak_huge huge;
    while (hak_huge_next(&cursor, &huge)) {
        if (!huge.live)
            continue;
        kind->areas++;
        kind->out++;
        kind->bytes += huge.size - (size_t)(huge.block - huge.mapping);
    }
}
