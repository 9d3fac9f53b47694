/* Mappings of freed huge blocks, kept for a while for the next ones; without a lock. */
#ifndef HAK_HUGE_CACHE_H
#define HAK_HUGE_CACHE_H

#include "large/huge_table.h"

/* A mapping that was kept, and its entry in the table; both the caller's. */
struct hak_huge_kept {
    char *mapping; /* NULL: none */
    size_t size;   /* bytes */
    struct hak_huge_entry *entry;
};

/* Takes a mapping of at least `size` bytes out, the best fit that wastes at most a quarter. Any
 * thread; looks at no more than 4 times 32 places. */
struct hak_huge_kept hak_huge_cache_take(size_t size);

/* Takes out one that doesn't fit but can be made to: the smallest larger one, to be cut, else the
 * largest smaller one that has a quarter of `size`, to be grown. Bounded as above. */
struct hak_huge_kept hak_huge_cache_take_other(size_t size);

/* Takes out the one that begins at an address. Bounded as above. */
struct hak_huge_kept hak_huge_cache_take_at(const char *mapping);

/* Keeps a mapping, in place of older ones if there is no room, of which it unmaps no more than 8;
 * else unmaps it. Any thread. */
void hak_huge_cache_put(char *mapping, size_t size, struct hak_huge_entry *entry);

#endif
