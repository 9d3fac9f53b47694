/* Adding to the SuperSlabs that there are. */
#ifndef HAK_SUPERSLAB_TABLE_H
#define HAK_SUPERSLAB_TABLE_H

#include "superslab/pool_parts.h"

/* Whether there is memory to enter one more; to be asked before the region is taken. */
bool hak_pool_can_add(void);

/* Gives a SuperSlab, all of whose header but the number is written, the next number. False without
 * memory: nothing was done. Any thread; no lock: who comes second tries the next number. */
bool hak_pool_add(struct hak_superslab *ss);

#endif
