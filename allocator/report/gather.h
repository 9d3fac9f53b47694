/* What lies in the slabs and huge mappings, found by looking at them all. */
#ifndef HAK_GATHER_H
#define HAK_GATHER_H

#include "base/config.h"

/* One size class, or all spans, or all huge blocks. */
struct hak_gathered_kind {
    uint64_t areas;  /* slabs; spans; huge blocks that are out */
    uint64_t bytes;  /* of these; usable ones of huge blocks */
    uint64_t out;    /* blocks out of their slabs: with the program, in magazines, in the depot */
    uint64_t unused; /* bytes that are in none of those blocks */
};

struct hak_gathered {
    struct hak_gathered_kind kinds[HAK_CLASS_MAX + 2]; /* as hak_counted_row */
    uint64_t dirty;                                    /* bytes of free slabs with pages */
};

/* Reads one word or two of every slab's metadata, and no block. What other threads change meanwhile
 * is seen or not. Any thread, signal handlers too. */
void hak_gather(struct hak_gathered *found);

#endif
