/* Blocks whose contents depend on their address and size, so that two that overlap, or one that is
 * written to by somebody else, can't both be as they should. */
#ifndef STRESS_BLOCK_H
#define STRESS_BLOCK_H

#include <stddef.h>
#include <stdint.h>

struct block {
    unsigned char *address; /* NULL: no block */
    size_t size;            /* bytes that were asked for; all of them may be used */
    size_t counted;         /* bytes that the live total counts for it */
};

/* Up to this many bytes every byte is written and compared; of larger ones the head, the tail and a
 * piece of every page, or of 32 pages. */
#define BLOCK_WHOLE ((size_t)4096)

/* Writes the block's contents. */
void block_fill(const struct block *block);

/* Ends the program with a message if the block isn't as it was filled. */
void block_verify(const struct block *block);

/* As block_verify, for a block that was `old` and now begins at `moved` with `size` bytes: what
 * realloc has to keep. */
void block_verify_moved(const struct block *old, const unsigned char *moved, size_t size);

/* Ends the program with a message if `size` bytes that calloc returned are not zero. Of more than a
 * MiB only what block_fill may have written there before, and each page's end, is looked at. */
void block_verify_zero(const unsigned char *address, size_t size);

#endif
