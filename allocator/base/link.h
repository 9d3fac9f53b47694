/* Links with a tag, for lists without a lock whose members are never given back.
 *
 * A link is an address, at a multiple of HAK_CACHE_LINE, divided by that, with a tag of 22 bits
 * above it that goes up with each change: so that a compare-and-swap can't mistake a new state for
 * an old one (R. K. Treiber, "Systems Programming: Coping with Parallelism", IBM RJ 5118, 1986). 0
 * leads to nothing. */
#ifndef HAK_LINK_H
#define HAK_LINK_H

#include "base/config.h"

#define HAK_LINK_BITS 42u /* for addresses of 48 bits */
#define HAK_LINK_MASK (((uint64_t)1 << HAK_LINK_BITS) - 1)

/* Where a link leads, or NULL. */
HAK_INLINE void *hak_link_target(uint64_t link) {
    return (void *)(uintptr_t)((link & HAK_LINK_MASK) * HAK_CACHE_LINE);
}

/* The link that comes after `old` in the same place, and leads to `target`, which may be NULL. */
HAK_INLINE uint64_t hak_link_after(uint64_t old, const void *target) {
    return ((old >> HAK_LINK_BITS) + 1) << HAK_LINK_BITS |
           (uint64_t)(uintptr_t)target / HAK_CACHE_LINE;
}

#endif
