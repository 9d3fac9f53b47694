/* The depot: full magazines that threads exchange, a stack for each size class.
 *
 * A thread whose magazine overflows puts its older half here, and a thread whose magazine is empty
 * takes one, each with one compare-and-swap and without touching a block. So a block that is freed
 * on another thread than it was allocated on costs its share of an exchange. */
#ifndef HAK_DEPOT_H
#define HAK_DEPOT_H

#include "base/size_class.h"

#include <stdatomic.h>

#define HAK_MAGAZINE_SLOTS 62u

/* A magazine: 512 bytes, at a multiple of that; its memory stays a magazine for ever. */
struct hak_magazine {
    struct hak_magazine *_Atomic next; /* in a stack */
    _Atomic uint32_t depth;            /* magazines in the stack from this one down */
    uint32_t count;                    /* blocks, 1 to HAK_MAGAZINE_SLOTS */
    void *slots[HAK_MAGAZINE_SLOTS];
};

#define MAGAZINE_BYTES 16384u /* bytes of blocks in a magazine, where MAGAZINE_LEAST allows */
#define MAGAZINE_LEAST 8u     /* blocks */

/* Blocks that a magazine of a class has when it is full. */
HAK_INLINE unsigned hak_magazine_batch(unsigned class_index) {
    unsigned blocks = MAGAZINE_BYTES / hak_class_size[class_index];
    if (blocks > HAK_MAGAZINE_SLOTS)
        return HAK_MAGAZINE_SLOTS;
    return blocks < MAGAZINE_LEAST ? MAGAZINE_LEAST : blocks;
}

/* An unused magazine, the caller's until it is put or freed; NULL without memory. */
struct hak_magazine *hak_magazine_new(void);
void hak_magazine_free(struct hak_magazine *magazine);

/* Gives a filled magazine to the others. False, and the magazine stays the caller's, when the
 * class has `bytes` bytes of blocks here already. */
bool hak_depot_put(unsigned class_index, struct hak_magazine *magazine, size_t bytes);

/* Whether hak_depot_put would have taken one just now. */
bool hak_depot_has_room(unsigned class_index, size_t bytes);

/* A filled magazine, now the caller's, or NULL. */
struct hak_magazine *hak_depot_take(unsigned class_index);

/* A magazine that nobody needed: taken if, since the last call for this class, at least one has
 * been left over all the time; else NULL. */
struct hak_magazine *hak_depot_take_idle(unsigned class_index);

/* Magazines of a class that are here now. Any thread, signal handlers too. */
unsigned hak_depot_magazines(unsigned class_index);

/* Magazines of a class that were ever taken, about; it goes round. */
uint32_t hak_depot_takes(unsigned class_index);

/* Begins the next interval for hak_depot_take_idle. */
void hak_depot_next_interval(unsigned class_index);

#endif
