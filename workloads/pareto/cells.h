/*
 * What stands for blocks with --none: for each power of two a list of cells that are not in use,
 * cut from memory of the driver's own. The least that can stand for an allocator where blocks of
 * all sizes live for any time; of one thread.
 */
#ifndef CELLS_H
#define CELLS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wl_memory.h"

enum { CELLS_CLASSES = 32, CELLS_LEAST_BITS = 4, CELLS_PIECE = 1 << 20 /* bytes mapped at once */ };

typedef struct {
    void *unused[CELLS_CLASSES]; /* each begins with the address of the next */
    char *at, *end;
} cell_lists;

/* The number of bits of the smallest power of two that holds `size` bytes, 16 at least. */
static inline unsigned cells_class(uint32_t size) {
    return size <= 1U << CELLS_LEAST_BITS ? CELLS_LEAST_BITS
                                          : 32U - (unsigned)__builtin_clz(size - 1);
}

static inline void *cells_get(cell_lists *cells, uint32_t size) {
    const unsigned class = cells_class(size);
    void *cell = cells->unused[class];
    if (cell != NULL) {
        memcpy(&cells->unused[class], cell, sizeof cell);
        return cell;
    }
    const size_t bytes = (size_t)1 << class;
    if ((size_t)(cells->end - cells->at) < bytes) {
        const size_t piece = bytes > CELLS_PIECE ? bytes : CELLS_PIECE;
        cells->at = wl_map_table(piece, 1, 0, "the blocks of --none");
        cells->end = cells->at + piece;
    }
    cell = cells->at;
    cells->at += bytes;
    return cell;
}

static inline void cells_give(cell_lists *cells, void *cell, uint32_t size) {
    const unsigned class = cells_class(size);
    memcpy(cell, &cells->unused[class], sizeof cell);
    cells->unused[class] = cell;
}

#endif
