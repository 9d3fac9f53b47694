/* The page arena: address space reserved in large pieces, handed out as SuperSlabs. */
#ifndef HAK_ARENA_H
#define HAK_ARENA_H

#include "superslab/superslab.h"

/* The next SuperSlab's region: HAK_SUPERSLAB_SIZE bytes, aligned so, zeroed; NULL with errno
 * ENOMEM. Any thread; no lock. */
char *hak_arena_region(void);

/* Bytes that are to be reserved at a time: as HAKMEM_ARENA_RESERVE says, a 32nd of the address
 * space that the process may have at most. Any thread. */
size_t hak_arena_piece_size(void);

/* Gives back what is reserved and not handed out; returns its bytes. Any thread. */
size_t hak_arena_release(void);

#endif
