/* The page map: from an address to what lies there, one byte for every 64 KiB of address space.
 *
 * Flat: one sparse mapping that covers 48 bits of address, so that looking up is one load; it
 * follows what else free() reads, see base/mark.h. Where so much address space can't be had
 * (ulimit -v, strict overcommit) a two-level table takes its place.
 *
 * An entry is written before the first block that lies there is handed out, and reset after the
 * last one came home, so that whoever holds a block may read its entry without synchronising. */
#ifndef HAK_PAGE_MAP_H
#define HAK_PAGE_MAP_H

#include "base/mark.h"

#if defined(__aarch64__)
#define HAK_ADDRESS_BITS 48u
#else
#define HAK_ADDRESS_BITS 47u
#endif
#define HAK_PAGE_MAP_UNITS ((size_t)1 << (HAK_ADDRESS_BITS - HAK_SLAB_SHIFT))

/* Whether there is the flat map. */
bool hak_page_map_is_flat(void);

/* Whether an address lies in it. */
bool hak_page_map_holds(const void *address);

/* Sets the map up, and the table of marks with it. Called once. */
void hak_page_map_init(void);

/* Marks the unit in which `address` lies. False with errno ENOMEM when the table can't grow. */
bool hak_page_map_set(const void *address, unsigned kind);

/* The same for an address whose entry was set before: nothing can fail. */
HAK_INLINE void hak_page_map_change(const void *address, unsigned kind) {
    struct hak_marks *marks = hak_marks_now();
    if (HAK_LIKELY(marks->scale != 0)) /* relaxed: see hak_page_map_get */
        atomic_store_explicit(&marks->kinds[(uintptr_t)address >> HAK_SLAB_SHIFT], (uint8_t)kind,
                              memory_order_relaxed);
    else
        hak_page_map_set(address, kind);
}

/* The kind at an address, any value at all being allowed; HAK_KIND_NONE for what isn't ours. */
unsigned hak_page_map_get(const void *address);

#endif
