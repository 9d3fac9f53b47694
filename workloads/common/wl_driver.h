/* What every driver has in common: its options, the modes of its loops, and its result. */
#ifndef WL_DRIVER_H
#define WL_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "wl_args.h"
#include "wl_block.h"
#include "wl_latency.h"
#include "wl_run.h"

enum { WL_THREADS_MOST = 4096, WL_SECONDS_MOST_MS = 86400000, WL_DEFAULT_SEED = 42 };
#define WL_OPERATIONS_MOST UINT64_C(1000000000000000)
#define WL_TABLE_MOST      UINT64_C(100000000) /* entries of one thread's table */

typedef struct {
    uint64_t seed;
    double progress; /* seconds between two lines; 0: none */
    bool json, latency, check, none;
} wl_common;

/* Rows of a driver's argument table; `c` is its wl_common. */
#define WL_COMMON_ARGS(c)                                                                          \
    {.name = "seed",                                                                               \
     .value = "N",                                                                                 \
     .help = "the same seed, the same sequence of sizes and choices",                              \
     .kind = WL_ARG_NUMBER,                                                                        \
     .target = &(c).seed,                                                                          \
     .min = 0,                                                                                     \
     .max = UINT64_MAX},                                                                           \
        {.name = "json",                                                                           \
         .help = "one JSON object instead of the table",                                           \
         .kind = WL_ARG_FLAG,                                                                      \
         .target = &(c).json,                                                                      \
         .unused = true},                                                                          \
        {.name = "progress",                                                                       \
         .value = "S",                                                                             \
         .help = "a line on standard error so often: time, operations, allocator's counters",      \
         .kind = WL_ARG_SECONDS,                                                                   \
         .target = &(c).progress,                                                                  \
         .min = WL_PROGRESS_LEAST_MS,                                                              \
         .max = WL_SECONDS_MOST_MS,                                                                \
         .unused = true},                                                                          \
        {.name = "latency",                                                                        \
         .help = "sample the time of single malloc and free calls",                                \
         .kind = WL_ARG_FLAG,                                                                      \
         .target = &(c).latency},                                                                  \
        {.name = "check",                                                                          \
         .help = "fill every block with a pattern and verify it before freeing",                   \
         .kind = WL_ARG_FLAG,                                                                      \
         .target = &(c).check},                                                                    \
    {                                                                                              \
        .name = "none", .help = "the same loop without any call to the allocator",                 \
        .kind = WL_ARG_FLAG, .target = &(c).none                                                   \
    }

/* The bits WL_MODE_... that these options ask for. */
static inline int wl_mode_of(const wl_common *common) {
    return (common->none ? WL_MODE_NONE : 0) | (common->check ? WL_MODE_CHECK : 0);
}

/* Iterations between two looks at "is the time over?": so few that the answer is quick even where
 * every block is large, so many that looking costs nothing where blocks are small. */
static inline uint64_t wl_burst_length(uint64_t largest_block) {
    uint64_t length = UINT64_C(262144) / (largest_block + 1);
    return length > 256 ? 256 : (length < 1 ? 1 : length);
}

/* One instance of a driver's loop, with its mode compiled in. */
typedef void wl_loop(void *state, uint64_t iterations);

/* When a thread's next call is timed; the distances come from a stream that no workload uses. */
typedef struct {
    wl_random random;
    uint64_t left;  /* iterations before the timed one; UINT64_MAX: none is timed */
    uint32_t every; /* iterations, of which one is timed on average */
} wl_sampler;

/* One iteration of `every` is timed, on average; all of them where that is 1. */
static inline wl_sampler wl_sampler_every(bool enabled, uint64_t seed, uint64_t stream,
                                          uint32_t every) {
    wl_sampler sampler = {
        .random = wl_random_stream(~seed, stream), .left = UINT64_MAX, .every = every};
    if (enabled)
        sampler.left = wl_sample_distance(&sampler.random, every) - 1;
    return sampler;
}

static inline wl_sampler wl_sampler_new(bool enabled, uint64_t seed, uint64_t stream) {
    return wl_sampler_every(enabled, seed, stream, WL_SAMPLE_EVERY);
}

/* Runs `iterations` of `plain`, in whose place `timed` runs those that are samples. */
static inline void wl_run_loop(wl_loop *plain, wl_loop *timed, void *state, uint64_t iterations,
                               wl_sampler *sampler) {
    while (iterations > sampler->left) {
        if (sampler->left > 0)
            plain(state, sampler->left);
        timed(state, 1);
        iterations -= sampler->left + 1;
        sampler->left = wl_sample_distance(&sampler->random, sampler->every) - 1;
    }
    if (iterations > 0)
        plain(state, iterations);
    if (sampler->left != UINT64_MAX)
        sampler->left -= iterations;
}

enum { WL_PHASES_MOST = 5 };

typedef struct {
    const char *name;
    uint64_t operations;
    double wall_seconds;
    double cpu_seconds;
    uint64_t rss_bytes; /* resident at the phase's end */
    uint64_t minor_faults;
} wl_phase;

/* A figure that only one driver has; in the JSON object it stands under "figures". */
typedef struct {
    const char *name; /* with its unit: thread_us_p50, rss_tenth_bytes */
    double value;
    int decimals; /* 0: a whole number, exact up to 2^53 */
} wl_figure;

/* Memory at a moment of the run; in the JSON object they stand under "memory". */
typedef struct {
    uint64_t operations; /* so far */
    double seconds;      /* since the run's begin */
    uint64_t live_bytes; /* asked for and not freed */
    uint64_t rss_bytes;
} wl_memory_point;

/* What a driver found out; wl_report does the rest. */
typedef struct {
    const wl_arg_table *args; /* the targets hold the values that the run used */
    const wl_common *common;
    const wl_run *run;
    wl_phase phases[WL_PHASES_MOST];
    unsigned phase_count;
    bool has_checksum;
    uint64_t checksum;
    uint64_t blocks_checked;
    const wl_latency *latency;     /* of all threads together; NULL without --latency */
    const char *note;              /* a line for the table; NULL: none */
    const wl_figure *figures;      /* `figure_count` of the driver's own */
    unsigned figure_count;         /* 0: the JSON object has no "figures" */
    const wl_memory_point *memory; /* its course, `memory_count` moments */
    unsigned memory_count;         /* 0: the JSON object has no "memory" */
    const char *call;              /* whose times stand for malloc's; NULL: malloc's own */
    int sample_every;              /* calls, of which one is timed; 0: WL_SAMPLE_EVERY */
} wl_result;

static inline int wl_sample_every(const wl_result *result) {
    return result->sample_every == 0 ? WL_SAMPLE_EVERY : result->sample_every;
}

/* First call of every main(): name, clock, files, crashes. */
void wl_driver_start(const char *workload);

/* The phase between two marks of the run. */
wl_phase wl_phase_between(const wl_run *run, const char *name, wl_mark from, wl_mark to,
                          uint64_t operations);

/* Prints the last line of --progress, and the table or the JSON object; returns the exit status.
 * Call when every thread has ended and everything was freed. */
int wl_report(const wl_result *result);

#endif
