/*
 * Distributions of block sizes that are not uniform: a power law, a histogram file, a fixed table.
 *
 * A size is drawn in constant time with its exact probability by the alias method (A. J. Walker
 * 1977; built in linear time as M. D. Vose describes it, IEEE Transactions on Software Engineering
 * 17(9), 1991), so that a rare large size of a histogram is as rare as it says, not lost.
 */
#ifndef WL_SIZES_H
#define WL_SIZES_H

#include <stdint.h>

#include "wl_random.h"

enum {
    WL_SIZES_MOST = 65536,     /* different sizes in a distribution */
    WL_SIZE_LIMIT = 1073741824 /* bytes of the largest block of any workload */
};

typedef struct {
    uint32_t threshold; /* of 2^32: below it `size`, else `other` */
    uint32_t size;
    uint32_t other;
} wl_size_cell;

/* Read-only after it was made; any thread may draw from it. */
typedef struct {
    wl_size_cell *cells;
    uint32_t count;
    uint32_t largest; /* bytes */
    double mean;      /* bytes */
} wl_sizes;

static inline uint32_t wl_sizes_draw(const wl_sizes *sizes, wl_random *random) {
    uint64_t bits = wl_random_next(random);
    const wl_size_cell *cell = &sizes->cells[wl_random_below(wl_high_bits(bits), sizes->count)];
    return wl_low_bits(bits) < cell->threshold ? cell->size : cell->other;
}

/* A distribution of `count` sizes (1 or more) with the given weights (0 or more, not all 0). */
wl_sizes wl_sizes_from_table(const uint32_t *sizes, const double *weights, uint32_t count);

/* Bounded Pareto with exponent 1, from 8 bytes (1 where limit is less) to `limit`: twice the size,
 * half as many blocks larger than it. Beyond 4096 sizes, 4096 steps of equal ratio stand for all.
 */
wl_sizes wl_sizes_pareto(uint32_t limit);

/* Bounded Pareto from `least` to `most` bytes (1 <= least <= most): the share of blocks of `size`
 * bytes or more falls as size to the power of -exponent (above 0). Steps as above. */
wl_sizes wl_sizes_power_law(uint32_t least, uint32_t most, double exponent);

/* Reads lines `SIZE COUNT`; `#` begins a comment, empty lines are passed over. Sizes are 1 to
 * `limit`. Ends the program with exit status 2 and "FILE:LINE" for a line that is anything else. */
wl_sizes wl_sizes_from_file(const char *path, uint64_t limit);

#endif
