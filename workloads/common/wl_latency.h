/*
 * The times of single malloc and free calls: which calls are timed, and a histogram for each kind.
 *
 * On average one call of WL_SAMPLE_EVERY is timed, at distances drawn from a random stream of
 * their own (the workload's choices stay the same), so that no rhythm of an allocator, such as a
 * refill every 64 calls, falls into step with them. Between two samples the loop is the very one
 * that runs without --latency: a sample ends a burst of it.
 */
#ifndef WL_LATENCY_H
#define WL_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "wl_random.h"

enum {
    /* Prime. Timing a malloc and a free took 168 ns where 4001 iterations of larson on a fast
     * allocator took 35 us: 0.5% of the run; 0.2% of bench_random_mixed's. */
    WL_SAMPLE_EVERY = 4001,
    /* 2^7 buckets a power of two: a bucket is at most 0.8% wide, its middle 0.4% off. */
    WL_LATENCY_BITS = 7,
    WL_LATENCY_STEPS = 1 << WL_LATENCY_BITS,
    WL_LATENCY_TOP = 40, /* 2^40 ticks are minutes; what is longer counts into the last bucket */
    WL_LATENCY_BUCKETS = (WL_LATENCY_TOP - WL_LATENCY_BITS + 1) * WL_LATENCY_STEPS
};

/* Filled by one thread. 34 KiB of counters, of which a run touches a few cache lines. */
typedef struct {
    uint64_t samples;
    uint64_t max_ticks;
    uint64_t counts[WL_LATENCY_BUCKETS];
} wl_histogram;

/* Of one thread slot; on memory of the driver. */
typedef struct {
    wl_histogram malloc_times;
    wl_histogram free_times;
} wl_latency;

/* The index of the bucket of a time: exact below 128 ticks, then in 128 steps an octave. */
static inline unsigned wl_latency_bucket(uint64_t ticks) {
    if (ticks < WL_LATENCY_STEPS)
        return (unsigned)ticks;
    unsigned octave = 63U - (unsigned)__builtin_clzll(ticks); /* 7 to 63 */
    if (octave >= WL_LATENCY_TOP)
        return WL_LATENCY_BUCKETS - 1;
    unsigned shift = octave - WL_LATENCY_BITS;
    return (shift + 1) * WL_LATENCY_STEPS + (unsigned)((ticks >> shift) & (WL_LATENCY_STEPS - 1));
}

static inline void wl_histogram_add(wl_histogram *histogram, uint64_t ticks) {
    histogram->samples++;
    if (ticks > histogram->max_ticks)
        histogram->max_ticks = ticks;
    histogram->counts[wl_latency_bucket(ticks)]++;
}

/* Calls until the next sample: uniform around `every`, an odd number, from half to one and a half
 * of it; for 1 always 1. */
static inline uint64_t wl_sample_distance(wl_random *random, uint32_t every) {
    return every / 2 + 1 + wl_random_below(wl_high_bits(wl_random_next(random)), every);
}

/* The sum of the times of `count` threads, on memory of its own; NULL where `all` is. */
wl_latency *wl_latency_sum(const wl_latency *all, uint64_t count);

/* Adds the samples of `from` to `into`. */
void wl_histogram_merge(wl_histogram *into, const wl_histogram *from);

/* The times that a bucket holds, in ticks: their middle, at most the maximum. */
double wl_histogram_time(const wl_histogram *histogram, unsigned bucket);

/* The time, in ticks, that the share `quantile` (0 to 1) of the samples does not exceed: the
 * middle of its bucket, at most the maximum. 0 where there is no sample. */
double wl_histogram_quantile(const wl_histogram *histogram, double quantile);

#endif
