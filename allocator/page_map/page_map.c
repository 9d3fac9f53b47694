/* Both forms of the page map. */
#include "page_map/page_map.h"
#include "base/mark.h"
#include "base/options.h"
#include "os/os.h"

#include <errno.h>

#define LEAF_BITS  16u /* a leaf covers 4 GiB */
#define LEAF_UNITS ((size_t)1 << LEAF_BITS)

/* The flat map: HAK_PAGE_MAP_UNITS entries that are used, and those up to 48 bits of address, which
 * stay HAK_KIND_NONE, so that free() may read the entry of any pointer. */
#define FLAT_UNITS ((size_t)1 << (48u - HAK_SLAB_SHIFT))
/* What lies before it: a multiple of any page size, of which only the end is touched. */
#define HEAD_SIZE HAK_SLAB_SIZE
_Static_assert(sizeof(struct hak_marks) <= HEAD_SIZE, "the table of marks fits before the map");
static _Atomic uint8_t *flat; /* NULL: there is none */
static size_t flat_limit;     /* units: HAK_PAGE_MAP_UNITS, or 0 */

static _Atomic(_Atomic uint8_t *) leaves[HAK_PAGE_MAP_UNITS >> LEAF_BITS];

/* The flat map is read-only but for the slices of 64 KiB in which something was set: so it costs no
 * commit under strict overcommit, and no memory under mlockall. */
#define SLICE_UNITS HAK_SLAB_SIZE
static _Atomic uint64_t writable[HAK_PAGE_MAP_UNITS / SLICE_UNITS / 64];

void hak_page_map_init(void) {
    struct hak_marks *marks = hak_marks_now();
    hak_marks_fill(marks);
    if (hak_option(HAK_OPT_PAGE_MAP) != 1)
        return;
    /* Where address space is limited, this would take it from the program. */
    if (hak_os_address_limit() / 32 < FLAT_UNITS)
        return;
    char *head = hak_os_map_zeros(HEAD_SIZE + FLAT_UNITS);
    if (!head)
        return;
    if (!hak_os_commit(head, HEAD_SIZE)) {
        hak_os_unreserve(head, HEAD_SIZE + FLAT_UNITS);
        return;
    }
    marks = (struct hak_marks *)(void *)(head + HEAD_SIZE - sizeof *marks);
    hak_marks_fill(marks);
    marks->scale = HAK_SCALE;
    flat = marks->kinds;
    flat_limit = HAK_PAGE_MAP_UNITS;
    hak_marks_use(marks);
}

bool hak_page_map_is_flat(void) {
    return flat_limit != 0;
}

bool hak_page_map_holds(const void *address) {
    return flat && (uintptr_t)address - ((uintptr_t)flat - HEAD_SIZE) < HEAD_SIZE + FLAT_UNITS;
}

static bool make_writable(size_t unit) {
    size_t slice = unit / SLICE_UNITS;
    _Atomic uint64_t *word = &writable[slice / 64];
    uint64_t bit = (uint64_t)1 << slice % 64;
    /* acquire, release: who sees the bit may write */
    if (HAK_LIKELY(atomic_load_explicit(word, memory_order_acquire) & bit))
        return true;
    if (!hak_os_commit((void *)(uintptr_t)&flat[slice * SLICE_UNITS], SLICE_UNITS))
        return false;
    atomic_fetch_or_explicit(word, bit, memory_order_release);
    return true;
}

static _Atomic uint8_t *leaf_of(size_t unit, bool make) {
    _Atomic(_Atomic uint8_t *) *slot = &leaves[unit >> LEAF_BITS];
    /* acquire: pairs with the release below, so that the leaf's zeros are seen */
    _Atomic uint8_t *leaf = atomic_load_explicit(slot, memory_order_acquire);
    if (leaf || !make)
        return leaf;
    _Atomic uint8_t *fresh = hak_os_map_sparse(LEAF_UNITS);
    if (!fresh)
        return NULL;
    /* release publishes the leaf; acquire takes over the one of a thread that was faster */
    if (atomic_compare_exchange_strong_explicit(slot, &leaf, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    hak_os_unmap((void *)fresh, LEAF_UNITS);
    return leaf;
}

bool hak_page_map_set(const void *address, unsigned kind) {
    size_t unit = (uintptr_t)address >> HAK_SLAB_SHIFT;
    _Atomic uint8_t *entry;
    if (unit < flat_limit) {
        if (!make_writable(unit))
            return false;
        entry = &flat[unit];
    } else {
        _Atomic uint8_t *leaf = unit < HAK_PAGE_MAP_UNITS ? leaf_of(unit, true) : NULL;
        if (!leaf) {
            errno = ENOMEM;
            return false;
        }
        entry = &leaf[unit & (LEAF_UNITS - 1)];
    }
    /* relaxed: see hak_page_map_get */
    atomic_store_explicit(entry, (uint8_t)kind, memory_order_relaxed);
    return true;
}

/* relaxed, here and where an entry is set: the entry was written before the first block from there
 * was handed out, and who asks holds such a block. However the block came to the asking thread, the
 * program or the depot's release and acquire have ordered that hand-over, and the write with it.
 * Where nobody handed anything over (a foreign or a freed pointer) any answer will do. */
unsigned hak_page_map_get(const void *address) {
    size_t unit = (uintptr_t)address >> HAK_SLAB_SHIFT;
    if (unit < flat_limit)
        return atomic_load_explicit(&flat[unit], memory_order_relaxed);
    if (unit >= HAK_PAGE_MAP_UNITS)
        return HAK_KIND_NONE;
    _Atomic uint8_t *leaf = leaf_of(unit, false);
    return leaf ? atomic_load_explicit(&leaf[unit & (LEAF_UNITS - 1)], memory_order_relaxed)
                : HAK_KIND_NONE;
}
