/*
 * How long blocks live: bounded Pareto, in steps, with a mean that is given.
 *
 * The share of blocks that live `x` steps or longer falls as x to the power of -exponent, from
 * `shortest` to `longest`. With a steady stream of one block a step the mean is the number of
 * blocks that live at a time, so the bounds follow from it: the shortest life is 1 step and the
 * longest as many as the mean asks for; if that would be more than 64 times the mean, it is 64
 * times the mean and the shortest follows.
 */
#ifndef LIFETIMES_H
#define LIFETIMES_H

#include <stdint.h>

#include "wl_sizes.h"

/* Lives of `low` to `low + width - 1` steps, all equally likely: a step of equal ratio. */
typedef struct {
    uint32_t low;
    uint32_t width;
} lifetime_bucket;

/* Read-only after it was made; any thread may draw from it. */
typedef struct {
    wl_sizes whole;    /* of the index of a new block's bucket */
    wl_sizes residual; /* of a block that is met alive at an arbitrary moment: what is left */
    const lifetime_bucket *buckets;
    double mean;                /* steps */
    uint32_t shortest, longest; /* steps */
} lifetimes;

/* `mean` is 1 to 10^8 steps, the exponent above 0. */
lifetimes lifetimes_new(double mean, double exponent);

/* Draws a number of steps, 1 or more, from one of the two. */
static inline uint32_t lifetimes_draw(const lifetimes *lives, const wl_sizes *which,
                                      wl_random *random) {
    const lifetime_bucket *bucket = &lives->buckets[wl_sizes_draw(which, random)];
    return bucket->low +
           (uint32_t)wl_random_below(wl_high_bits(wl_random_next(random)), bucket->width);
}

#endif
