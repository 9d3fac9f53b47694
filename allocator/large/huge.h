/* Huge blocks: runs of 64 KiB units, or a mapping each, kept for a while when freed. */
#ifndef HAK_HUGE_H
#define HAK_HUGE_H

#include "base/config.h"

/* `grows` tells that the block will probably become larger: a mapping of its own can, without
 * copying. */
void *hak_huge_new(size_t size, size_t alignment, bool zero, bool grows);
void hak_huge_free(void *block);
/* Whether a huge block begins there; the page map says HAK_KIND_HUGE of the unit. */
bool hak_huge_begins(const void *block);
size_t hak_huge_usable(const void *block);
void *hak_huge_resize(void *block, size_t size);

#endif
