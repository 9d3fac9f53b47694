/* What the pool's files share: the sets of hints, and filing a SuperSlab where it can be found. */
#ifndef HAK_POOL_PARTS_H
#define HAK_POOL_PARTS_H

#include "superslab/hint_bitmap.h"
#include "superslab/superslab.h"

#define HAK_ALL_FREE 0xfffffffeu /* every slab but the header's */

/* A SuperSlab with free slabs is in the set of the longest run of them, rounded down to a power of
 * two: 1, 2, 4, 8, 16. One without is in none. */
#define HAK_CATEGORIES    5u
#define HAK_CATEGORY_NONE HAK_CATEGORIES

/* The sets of hints: SuperSlabs whose longest run of free slabs is of a category, those with dirty
 * slabs, those with a slab of a class that has no owner. */
#define HAK_SET_FREE(category)     (category)
#define HAK_SET_DIRTY              HAK_CATEGORIES
#define HAK_SET_OFFER(class, list) (HAK_CATEGORIES - 1 + 2 * (class) + (list)) /* class: from 1 */
_Static_assert(HAK_SET_OFFER(HAK_CLASS_MAX, 1) < HAK_HINT_SETS, "every set has a column");
#define HAK_SET_RELEASED (HAK_HINT_SETS - 1) /* those that hak_pool_release unmapped */
_Static_assert(HAK_SET_OFFER(HAK_CLASS_MAX, 1) < HAK_SET_RELEASED, "no set has two meanings");
extern struct hak_hints hak_pool_hints;

/* Puts a SuperSlab into the set where its free slabs belong; after every change of its free word.
 * Any thread. */
void hak_pool_file(struct hak_superslab *ss);

/* A SuperSlab with all its slabs free, which is in no set yet: one that was released, or a new one.
 * NULL with errno ENOMEM. Any thread; no lock. */
struct hak_superslab *hak_pool_grow(void);

#endif
