/* The times of single malloc and free calls: which calls are timed, and a histogram for each kind.
 */
#include "wl_latency.h"

#include <math.h>
#include <stddef.h>

#include "wl_memory.h"

wl_latency *wl_latency_sum(const wl_latency *all, uint64_t count) {
    if (all == NULL)
        return NULL;
    wl_latency *sum = wl_map_table(1, sizeof *sum, 0, "the sum of --latency");
    for (uint64_t i = 0; i < count; i++) {
        wl_histogram_merge(&sum->malloc_times, &all[i].malloc_times);
        wl_histogram_merge(&sum->free_times, &all[i].free_times);
    }
    return sum;
}

void wl_histogram_merge(wl_histogram *into, const wl_histogram *from) {
    into->samples += from->samples;
    if (from->max_ticks > into->max_ticks)
        into->max_ticks = from->max_ticks;
    for (unsigned i = 0; i < WL_LATENCY_BUCKETS; i++)
        into->counts[i] += from->counts[i];
}

static double bucket_middle(unsigned bucket) {
    if (bucket < WL_LATENCY_STEPS)
        return (double)bucket;
    unsigned shift = bucket / WL_LATENCY_STEPS - 1;
    double width = (double)(UINT64_C(1) << shift);
    double start = (double)(WL_LATENCY_STEPS + bucket % WL_LATENCY_STEPS) * width;
    return start + (width - 1.0) / 2.0; /* the bucket holds whole ticks start to start+width-1 */
}

double wl_histogram_time(const wl_histogram *histogram, unsigned bucket) {
    return fmin(bucket_middle(bucket), (double)histogram->max_ticks);
}

double wl_histogram_quantile(const wl_histogram *histogram, double quantile) {
    if (histogram->samples == 0)
        return 0.0;
    double rank = ceil(quantile * (double)histogram->samples);
    uint64_t wanted = rank < 1.0 ? 1 : (uint64_t)rank;
    uint64_t seen = 0;
    for (unsigned i = 0; i < WL_LATENCY_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted)
            return wl_histogram_time(histogram, i);
    }
    return (double)histogram->max_ticks;
}
