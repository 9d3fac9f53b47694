/* Which huge blocks there are, and which there were lately.
 *
 * The table stands apart from the blocks, in memory that is never given back, and each entry
 * carries a version: so anyone may read it at any time, in a signal handler too, without a lock and
 * without touching a mapping that another thread may just be giving back. An entry whose block was
 * freed goes with the mapping while that is kept for reuse; then it keeps what it says until
 * another block needs it, the longest unused first. */
#ifndef HAK_HUGE_TABLE_H
#define HAK_HUGE_TABLE_H

#include "base/config.h"

/* A huge block and its mapping: `size` bytes from `mapping` on, the block's start among them. */
struct hak_huge {
    char *mapping;
    char *block;
    size_t size;    /* bytes; 0: an entry that was never used */
    bool live;      /* the program has it */
    uint64_t freed; /* if not: the higher, the later it was freed */
};

struct hak_huge_entry;

/* An entry for the caller alone to write; NULL with errno ENOMEM. Any thread; no lock. */
struct hak_huge_entry *hak_huge_entry_take(void);
void hak_huge_entry_give(struct hak_huge_entry *entry);

/* By whoever took the entry: it is a live block's now. */
void hak_huge_entry_write(struct hak_huge_entry *entry, char *mapping, char *block, size_t size);
/* The block was freed. The entry may serve another one, or be given back. */
void hak_huge_entry_freed(struct hak_huge_entry *entry);

/* Where a walk over all entries stands; all zero at its beginning. */
struct hak_huge_cursor {
    const void *chunk;
    unsigned index;
};

/* The next entry that was ever used, live or not; false at the end. Skips one that is just being
 * written. Any thread, any time. */
bool hak_huge_next(struct hak_huge_cursor *cursor, struct hak_huge *huge);

#endif
