/*
 * large: blocks of 5 to 25 MiB in a small table, replaced at random, as programs do that use big
 * buffers: pictures, matrices, columns of a table.
 *
 * A block is bound to a few thousand pages. What counts is therefore not the call but what the
 * allocator does with the memory of a freed block: give it back to the system, so that every page
 * has to be faulted in and cleared again, or keep it for the next block. --touch says how much of a
 * block the program uses; by default a byte in each page.
 */
#include <inttypes.h>
#include <stdio.h>

#include "wl_driver.h"
#include "wl_loops.h"
#include "wl_memory.h"
#include "wl_sizes.h"
#include "wl_touch.h"

typedef struct {
    uint64_t threads, operations, min, max, slots;
    double seconds;
    const char *touch;
    wl_common common;
} large_options;

/* Shared by all threads, read-only during the run but for `run`. */
typedef struct {
    large_options options;
    wl_touch touch;
    uint64_t burst; /* replacements between two looks at the time */
    int mode;
    wl_run run;
} large;

typedef struct {
    _Alignas(128) large *test;
    void **blocks;
    wl_tag *tags;             /* only with --check */
    unsigned char *set_aside; /* with --none: `stride` bytes for each slot */
    uint64_t stride;
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks;    /* at the time */
    uint64_t replaced; /* blocks, in churn */
    pthread_t thread;
} large_thread;

/* ---- the loops ----------------------------------------------------------------------------------
 */

WL_INLINE void get_into(large_thread *self, uint64_t index, uint64_t bits, const int mode,
                        const bool timed) {
    const large_options *options = &self->test->options;
    uint32_t size = (uint32_t)(options->min +
                               wl_random_below(wl_low_bits(bits), options->max - options->min + 1));
    self->checksum = wl_checksum_add(self->checksum, index << 32 | size);
    void *block = wl_block_allocate(
        size, (mode & WL_MODE_NONE) != 0 ? self->set_aside + index * self->stride : NULL,
        &self->user, mode, timed);
    if ((mode & WL_MODE_CHECK) != 0) {
        self->tags[index] = (wl_tag){.size = size, .serial = self->user.serial++};
        wl_pattern_fill(block, size, self->tags[index].serial);
    } else {
        wl_touch_range(block, 0, size, self->test->touch);
    }
    self->blocks[index] = block;
}

WL_INLINE void release_from(large_thread *self, uint64_t index, const int mode, const bool timed) {
    void *block = self->blocks[index];
    if ((mode & WL_MODE_CHECK) != 0) {
        wl_pattern_verify(block, self->tags[index].size, self->tags[index].serial);
        self->user.blocks_checked++;
    } else if (self->test->touch != WL_TOUCH_NONE) {
        (void)*(const volatile unsigned char *)block;
    }
    wl_block_free(block, &self->user, mode, timed);
}

WL_INLINE void churn(large_thread *self, uint64_t count, const int mode, const bool timed) {
    for (; count > 0; count--) {
        uint64_t bits = wl_random_next(&self->random);
        uint64_t index = wl_random_below(wl_high_bits(bits), self->test->options.slots);
        release_from(self, index, mode, timed);
        get_into(self, index, bits, mode, timed);
    }
}

WL_INLINE void fill(large_thread *self, const int mode) {
    for (uint64_t i = 0; i < self->test->options.slots; i++)
        get_into(self, i, wl_random_next(&self->random), mode, false);
}

WL_INLINE void drain(large_thread *self, const int mode) {
    for (uint64_t i = 0; i < self->test->options.slots; i++)
        release_from(self, i, mode, false);
}

WL_LOOPS(large_thread, churn);

/* ---- threads, set-up and result
 * ------------------------------------------------------------------- */

static void *serve(void *data) {
    large_thread *self = data;
    large *test = self->test;
    uint64_t left = test->options.operations > 0 ? test->options.operations : UINT64_MAX;
    wl_run_pass(&test->run); /* START */
    loops[test->mode].fill(self);
    wl_run_pass(&test->run); /* FILLED */
    wl_count_add(&self->count, test->options.slots);
    while (left > 0 && !wl_run_look(&test->run, &self->looks)) {
        const uint64_t burst = left < test->burst ? left : test->burst;
        wl_run_loop(loops[test->mode].churn, loops[test->mode].churn_timed, self, burst,
                    &self->sampler);
        wl_count_add(&self->count, 2 * burst);
        self->replaced += burst;
        left -= burst;
    }
    wl_run_pass(&test->run); /* STEADY */
    loops[test->mode].drain(self);
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

static large_thread *prepare(large *test) {
    const large_options *options = &test->options;
    const uint64_t entries = options->threads * options->slots;
    char what[160];
    snprintf(what, sizeof what, "--slots %" PRIu64 " for each of --threads %" PRIu64,
             options->slots, options->threads);
    test->mode = wl_mode_of(&options->common);
    test->burst = wl_burst_length(options->max);
    void **blocks = wl_map_table(entries, sizeof *blocks, 1, what);
    wl_tag *tags = options->common.check ? wl_map_table(entries, sizeof *tags, 1, what) : NULL;
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    large_thread *threads = wl_map_table(options->threads, sizeof *threads, 1, what);
    snprintf(what, sizeof what,
             "--slots %" PRIu64 " of --min %" PRIu64 " to --max %" PRIu64
             " bytes for each of --threads %" PRIu64,
             options->slots, options->min, options->max, options->threads);
    wl_refuse_beyond_memory((double)entries * (double)(options->min + options->max) / 2, what);
    const uint64_t stride = (options->max + 4095) / 4096 * 4096;
    unsigned char *set_aside = options->common.none ? wl_map_table(entries, stride, 0, what) : NULL;
    for (uint64_t i = 0; i < options->threads; i++)
        threads[i] = (large_thread){
            .test = test,
            .blocks = blocks + i * options->slots,
            .tags = tags == NULL ? NULL : tags + i * options->slots,
            .set_aside = set_aside == NULL ? NULL : set_aside + i * options->slots * stride,
            .stride = stride,
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_every(options->common.latency, options->common.seed, i, 1),
        };
    wl_run_init(&test->run, (unsigned)options->threads,
                options->operations > 0 ? 0 : options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &threads[0].count,
                      sizeof threads[0], options->threads);
    return threads;
}

static int report(const large *test, const large_thread *threads, const wl_arg_table *args) {
    const large_options *options = &test->options;
    const uint64_t entries = options->threads * options->slots;
    uint64_t checksum = 0, checked = 0, replaced = 0;
    for (uint64_t i = 0; i < options->threads; i++) {
        checksum = wl_checksum_add(checksum, wl_mix(threads[i].checksum));
        checked += threads[i].user.blocks_checked;
        replaced += threads[i].replaced;
    }
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, entries),
                   wl_phase_between(&test->run, "churn", WL_MARK_FILLED, WL_MARK_STEADY,
                                    2 * replaced),
                   wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED, entries)},
        .phase_count = 3,
        .has_checksum = options->operations > 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(threads[0].user.latency, options->threads),
        .sample_every = 1,
    };
    return wl_report(&result);
}

static void settle_options(large *test, wl_arg_table *args) {
    large_options *o = &test->options;
    wl_args_exclude(args, "seconds", "operations");
    wl_args_find(args, o->operations > 0 ? "seconds" : "operations")->unused = true;
    wl_args_settle_bounds(args, "min", "max");
    test->touch = wl_touch_parse(o->touch);
}

int main(int argc, char **argv) {
    static large test;
    large_options *o = &test.options;
    wl_driver_start("large");
    o->threads = 1;
    o->seconds = 1;
    o->min = 5 << 20;
    o->max = 25 << 20;
    o->slots = 8;
    o->touch = "pages";
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads, each with its own table; default 1"),
        {.name = "seconds",
         .value = "S",
         .help = "how long to replace blocks; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "instead: blocks that each thread replaces"),
        WL_NUMBER_ARG("min", "BYTES", &o->min, 1, WL_SIZE_LIMIT,
                      "smallest block; default 5242880 (5 MiB)"),
        WL_NUMBER_ARG("max", "BYTES", &o->max, 1, WL_SIZE_LIMIT,
                      "largest block; default 26214400 (25 MiB)"),
        WL_NUMBER_ARG("slots", "N", &o->slots, 1, WL_TABLE_MOST,
                      "blocks of each thread; default 8"),
        WL_TOUCH_ARG(o->touch),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const brief[] = {"threads", "operations", "max"};
    static const wl_form forms[] = {{brief, 3}};
    wl_arg_table table = {"replaces blocks of megabytes in a small table at random", args,
                          sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    settle_options(&test, &table);
    large_thread *threads = prepare(&test);
    WL_RUN_THREADS(&test.run, serve, threads, o->threads);
    return report(&test, threads, &table);
}
