/*
 * pareto: a table of live blocks with power-law sizes and power-law lifetimes, larger than the
 * processor's caches, as the heap of a program that has been running for long.
 *
 * Each step allocates a block and frees those whose time has come. Sizes and lifetimes are bounded
 * Pareto distributions, drawn independently: most blocks are small and most die young, but the
 * large ones hold most of the bytes and the old ones are most of those alive at any moment.
 * (Measured in C++ programs: D. Detlefs, A. Dosser, B. Zorn, "Memory Allocation Costs in Large C
 * and C++ Programs", Software: Practice and Experience 24(6), 1994.) The lifetimes' bounds follow
 * from
 * --live. The fill puts into the table what would be there after an endless run, blocks with what
 * is then left of their lives, so that the churn is in a steady state from its first step.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cells.h"
#include "lifetimes.h"
#include "wheel.h"
#include "wl_driver.h"
#include "wl_fail.h"
#include "wl_loops.h"
#include "wl_memory.h"
#include "wl_sizes.h"

/* Blocks that live at a time in one thread. */
static const double most_blocks = 1e8;

typedef struct {
    uint64_t threads, operations, live, min, max;
    double seconds, alpha, life_alpha;
    wl_common common;
} pareto_options;

/* Shared by all threads, read-only during the run but for `run`. */
typedef struct {
    pareto_options options;
    wl_sizes sizes;
    lifetimes lives;
    uint64_t initial; /* blocks of each thread at the start */
    uint64_t burst;   /* steps between two looks at the time */
    int mode;
    wl_run run;
} pareto;

typedef struct {
    _Alignas(128) pareto *test;
    timing_wheel *wheel;
    cell_lists cells; /* only with --none */
    wl_random random;
    uint64_t checksum;
    uint64_t allocated, freed; /* so far */
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks;                    /* at the time */
    uint64_t filled, churned, drained; /* calls in each phase */
    pthread_t thread;
} pareto_thread;

/* ---- the loops ----------------------------------------------------------------------------------
 */

/* Allocates a block that lives for `life` steps. */
WL_INLINE void get(pareto_thread *self, uint32_t size, uint32_t life, const int mode,
                   const bool timed) {
    wl_tag tag = {0, 0};
    self->checksum = wl_checksum_add(self->checksum, (uint64_t)life << 32 | size);
    void *block =
        wl_block_get(size, (mode & WL_MODE_NONE) != 0 ? cells_get(&self->cells, size) : NULL, &tag,
                     &self->user, mode, timed);
    const wheel_entry entry = {.block = block, .when = self->wheel->now + life, .size = size};
    wheel_add(self->wheel, &entry, tag.serial);
    self->allocated++;
}

/* Frees every block in a slot. */
WL_INLINE void release_all(pareto_thread *self, wheel_chunk **slot, const int mode,
                           const bool timed) {
    wheel_entry entry;
    wl_tag tag = {0, 0};
    while (wheel_take(self->wheel, slot, &entry, &tag)) {
        wl_block_release(entry.block, &tag, &self->user, mode, timed);
        if ((mode & WL_MODE_NONE) != 0)
            cells_give(&self->cells, entry.block, entry.size);
        self->freed++;
    }
}

WL_INLINE void churn(pareto_thread *self, uint64_t count, const int mode, const bool timed) {
    const pareto *test = self->test;
    for (; count > 0; count--) {
        release_all(self, wheel_advance(self->wheel), mode, timed);
        const uint32_t size = wl_sizes_draw(&test->sizes, &self->random);
        get(self, size, lifetimes_draw(&test->lives, &test->lives.whole, &self->random), mode,
            timed);
    }
}

WL_INLINE void fill(pareto_thread *self, const int mode) {
    const pareto *test = self->test;
    for (uint64_t i = 0; i < test->initial; i++) {
        const uint32_t size = wl_sizes_draw(&test->sizes, &self->random);
        get(self, size, lifetimes_draw(&test->lives, &test->lives.residual, &self->random), mode,
            false);
    }
}

WL_INLINE void drain(pareto_thread *self, const int mode) {
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            release_all(self, &self->wheel->slots[level][slot], mode, false);
}

WL_LOOPS(pareto_thread, churn);

/* ---- threads, set-up and result
 * ------------------------------------------------------------------- */

static uint64_t calls(const pareto_thread *self) {
    return self->allocated + self->freed;
}

static void *serve(void *data) {
    pareto_thread *self = data;
    pareto *test = self->test;
    uint64_t left = test->options.operations > 0 ? test->options.operations : UINT64_MAX;
    wl_run_pass(&test->run); /* START */
    loops[test->mode].fill(self);
    self->filled = calls(self);
    wl_run_pass(&test->run); /* FILLED */
    wl_count_add(&self->count, self->filled);
    while (left > 0 && !wl_run_look(&test->run, &self->looks)) {
        const uint64_t burst = left < test->burst ? left : test->burst;
        const uint64_t before = calls(self);
        wl_run_loop(loops[test->mode].churn, loops[test->mode].churn_timed, self, burst,
                    &self->sampler);
        wl_count_add(&self->count, calls(self) - before);
        left -= burst;
    }
    self->churned = calls(self) - self->filled;
    wl_run_pass(&test->run); /* STEADY */
    loops[test->mode].drain(self);
    self->drained = calls(self) - self->churned - self->filled;
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* The distributions, and how many blocks make up --live. */
static void settle_distributions(pareto *test) {
    const pareto_options *o = &test->options;
    char what[160];
    snprintf(what, sizeof what, "--live %" PRIu64, o->live);
    wl_refuse_beyond_memory((double)o->live, what);
    test->sizes = wl_sizes_power_law((uint32_t)o->min, (uint32_t)o->max, o->alpha);
    const double blocks = (double)o->live / (double)o->threads / test->sizes.mean;
    if (blocks < 1 || blocks > most_blocks)
        wl_fail(WL_EXIT_USAGE,
                "--live %" PRIu64 " makes %s for each of --threads %" PRIu64
                ", blocks of %.0f bytes on average; give %.0f to %.0f",
                o->live, blocks < 1 ? "no block" : "more than 100 million blocks", o->threads,
                test->sizes.mean, test->sizes.mean * (double)o->threads + 1,
                test->sizes.mean * (double)o->threads * most_blocks);
    test->initial = (uint64_t)(blocks + 0.5);
    test->lives = lifetimes_new(blocks, o->life_alpha);
}

static pareto_thread *prepare(pareto *test) {
    const pareto_options *options = &test->options;
    char what[160];
    snprintf(what, sizeof what, "--live %" PRIu64 " for --threads %" PRIu64, options->live,
             options->threads);
    test->mode = wl_mode_of(&options->common);
    test->burst = wl_burst_length(options->max);
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    pareto_thread *threads = wl_map_table(options->threads, sizeof *threads, 1, what);
    timing_wheel *wheels = wl_map_table(options->threads, sizeof *wheels, 1, what);
    for (uint64_t i = 0; i < options->threads; i++) {
        wheel_init(&wheels[i], (double)test->initial, options->common.check, what);
        threads[i] = (pareto_thread){
            .test = test,
            .wheel = &wheels[i],
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
        };
    }
    wl_run_init(&test->run, (unsigned)options->threads,
                options->operations > 0 ? 0 : options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &threads[0].count,
                      sizeof threads[0], options->threads);
    return threads;
}

static int report(const pareto *test, const pareto_thread *threads, const wl_arg_table *args) {
    const pareto_options *options = &test->options;
    uint64_t checksum = 0, checked = 0, filled = 0, churned = 0, drained = 0;
    for (uint64_t i = 0; i < options->threads; i++) {
        checksum = wl_checksum_add(checksum, wl_mix(threads[i].checksum));
        checked += threads[i].user.blocks_checked;
        filled += threads[i].filled;
        churned += threads[i].churned;
        drained += threads[i].drained;
    }
    char note[160];
    snprintf(note, sizeof note,
             "about %.0f blocks of %.0f bytes live in each thread, for %" PRIu32 " to %" PRIu32
             " steps",
             test->lives.mean, test->sizes.mean, test->lives.shortest, test->lives.longest);
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, filled),
                   wl_phase_between(&test->run, "churn", WL_MARK_FILLED, WL_MARK_STEADY, churned),
                   wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED, drained)},
        .phase_count = 3,
        .has_checksum = options->operations > 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(threads[0].user.latency, options->threads),
        .note = note,
    };
    return wl_report(&result);
}

static void settle_options(pareto_options *o, wl_arg_table *args) {
    wl_args_exclude(args, "seconds", "operations");
    wl_args_find(args, o->operations > 0 ? "seconds" : "operations")->unused = true;
    wl_args_settle_bounds(args, "min", "max");
}

int main(int argc, char **argv) {
    static pareto test;
    pareto_options *o = &test.options;
    wl_driver_start("pareto");
    o->threads = 1;
    o->seconds = 1;
    o->live = 128 << 20;
    o->min = 16;
    o->max = 32768;
    o->alpha = 1;
    o->life_alpha = 0.1;
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads, each with its own table; default 1"),
        {.name = "seconds",
         .value = "S",
         .help = "how long to churn; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "instead: steps of each thread, blocks that it allocates"),
        WL_NUMBER_ARG("live", "BYTES", &o->live, 1, UINT64_C(1) << 46,
                      "in all tables together at a time, about; default 134217728 (128 MiB)"),
        WL_NUMBER_ARG("min", "BYTES", &o->min, 1, WL_SIZE_LIMIT, "smallest block; default 16"),
        WL_NUMBER_ARG("max", "BYTES", &o->max, 1, WL_SIZE_LIMIT, "largest block; default 32768"),
        {.name = "alpha",
         .value = "X",
         .help = "exponent of the sizes; default 1: twice the size, half as many that large",
         .kind = WL_ARG_DECIMAL,
         .target = &o->alpha,
         .min = 10,
         .max = 10000},
        {.name = "life-alpha",
         .value = "X",
         .help = "exponent of the lifetimes; default 0.1: most blocks die young, some very late",
         .kind = WL_ARG_DECIMAL,
         .target = &o->life_alpha,
         .min = 10,
         .max = 10000},
        WL_COMMON_ARGS(o->common),
    };
    static const char *const brief[] = {"threads", "operations", "live"};
    static const wl_form forms[] = {{brief, 3}};
    wl_arg_table table = {"allocates blocks of power-law sizes that live for power-law times", args,
                          sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    settle_options(o, &table);
    settle_distributions(&test);
    pareto_thread *threads = prepare(&test);
    WL_RUN_THREADS(&test.run, serve, threads, o->threads);
    return report(&test, threads, &table);
}
