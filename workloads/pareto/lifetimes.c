/* How long blocks live: the tables from which lives are drawn. */
#include "lifetimes.h"

#include <math.h>

#include "wheel.h"
#include "wl_memory.h"

enum { BUCKETS = 1024, MEANS = 64 /* the longest life, in means, where it is bounded */ };

typedef struct {
    uint32_t count;
    lifetime_bucket buckets[BUCKETS];
    double weights[BUCKETS]; /* of a new block; they add up to `total` */
    double
        residual[BUCKETS]; /* of what is left at an arbitrary moment, by `total`; adds up to mean */
    double total, mean;
} life_law;

/* Cuts the lives from `shortest` to `longest` (1 <= shortest <= longest) into buckets. */
static void divide(life_law *law, double shortest, double longest) {
    const double ratio = log((longest + 1) / shortest) / BUCKETS;
    double low = floor(shortest);
    law->count = 0;
    for (int i = 1; i <= BUCKETS; i++) {
        double high = floor(i == BUCKETS ? longest + 1 : shortest * exp(ratio * i));
        if (high <= low)
            continue;
        law->buckets[law->count++] = (lifetime_bucket){(uint32_t)low, (uint32_t)(high - low)};
        low = high;
    }
}

/* Of the blocks that live at some moment, as many have r steps left as new blocks live r or longer.
 * In a bucket these fall from all that reach it to all that outlive it; their sum over all buckets
 * is the mean. */
static void weigh(life_law *law, double exponent) {
    law->total = law->mean = 0;
    for (uint32_t i = 0; i < law->count; i++) {
        const lifetime_bucket *b = &law->buckets[i];
        law->weights[i] = pow(b->low, -exponent) - pow((double)b->low + b->width, -exponent);
        law->total += law->weights[i];
    }
    double beyond = 0;
    for (uint32_t i = law->count; i-- > 0;) {
        const double width = law->buckets[i].width, share = law->weights[i] / law->total;
        law->residual[i] = width * beyond + share * (width + 1) / 2;
        /* who reaches the bucket has all the steps below it before him */
        beyond += share;
        law->mean += law->residual[i];
    }
    law->mean += law->buckets[0].low - 1;
}

static double mean_of(life_law *law, double shortest, double longest, double exponent) {
    divide(law, shortest, longest);
    weigh(law, exponent);
    return law->mean;
}

/* Leaves `law` with bounds that give the mean: by bisection, since it grows with each of them. */
static void solve(life_law *law, double mean, double exponent) {
    const double most = fmin(fmax(MEANS * mean, 2), WHEEL_FARTHEST - 1);
    const bool from_one = mean_of(law, 1, most, exponent) >= mean;
    double low = 1, high = most;
    for (int i = 0; i < 60; i++) {
        double middle = sqrt(low * high);
        double got = mean_of(law, from_one ? 1 : middle, from_one ? middle : most, exponent);
        *(got < mean ? &low : &high) = middle;
    }
    mean_of(law, from_one ? 1 : high, from_one ? high : most, exponent);
}

lifetimes lifetimes_new(double mean, double exponent) {
    static life_law law;
    static uint32_t indices[BUCKETS + 1];
    static double residual[BUCKETS + 1];
    solve(&law, mean, exponent);
    const lifetime_bucket *first = &law.buckets[0], *last = &law.buckets[law.count - 1];
    lifetime_bucket *buckets = wl_map_table(BUCKETS + 1, sizeof *buckets, 1, "the table of lives");
    for (uint32_t i = 0; i < law.count; i++) {
        buckets[i] = law.buckets[i];
        indices[i] = i;
        residual[i] = law.residual[i];
    }
    lifetimes lives = {
        .whole = wl_sizes_from_table(indices, law.weights, law.count),
        .buckets = buckets,
        .mean = law.mean,
        .shortest = first->low,
        .longest = last->low + last->width - 1,
    };
    /* What is left may also be less than the shortest life. */
    uint32_t count = law.count;
    if (first->low > 1) {
        buckets[count] = (lifetime_bucket){1, first->low - 1};
        indices[count] = count;
        residual[count] = first->low - 1;
        count++;
    }
    lives.residual = wl_sizes_from_table(indices, residual, count);
    return lives;
}
