/* The page map: from an address to what lies there, one byte for every 64 KiB of address space.
 *
 * Flat: one sparse mapping that covers the whole user address space, so that looking up is one
 * load. Where so much address space can't be had (ulimit -v, strict overcommit) a two-level table
 * takes its place; the limit is then 0, which sends every look-up of the fast path down its slow
 * one.
 *
 * An entry is written before the first block that lies there is handed out, and reset after the
 * last one came home, so that whoever holds a block may read its entry without synchronising. */
#ifndef HAK_PAGE_MAP_H
#define HAK_PAGE_MAP_H

#include "base/config.h"

#include <stdatomic.h>

#if defined(__aarch64__)
#define HAK_ADDRESS_BITS 48u
#else
#define HAK_ADDRESS_BITS 47u
#endif
#define HAK_PAGE_MAP_UNITS ((size_t)1 << (HAK_ADDRESS_BITS - HAK_SLAB_SHIFT))

extern HAK_HIDDEN _Atomic uint8_t *hak_page_map_flat; /* HAK_PAGE_MAP_UNITS entries, or NULL */
extern HAK_HIDDEN size_t hak_page_map_limit; /* units that the flat map covers: all or none */

/* Sets the map up. Called once. */
void hak_page_map_init(void);

/* Marks the unit in which `address` lies. False with errno ENOMEM when the table can't grow. */
bool hak_page_map_set(const void *address, unsigned kind);

/* The kind at an address, any value at all being allowed; HAK_KIND_NONE for what isn't ours. */
unsigned hak_page_map_get(const void *address);

#endif
