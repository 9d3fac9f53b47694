/*
 * bench_random_mixed: a fixed number of calls on a table of slots, in random order: a random slot
 * that is empty gets a block of random size, one that is in use has its block freed.
 *
 * Each thread has a table of its own, and frees only what it allocated. Half of the slots are
 * filled beforehand, which is the number that a random walk of this kind keeps in use.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "wl_driver.h"
#include "wl_fail.h"
#include "wl_loops.h"
#include "wl_memory.h"
#include "wl_sizes.h"

typedef struct {
    uint64_t threads, operations, size, slots;
    const char *sizes;
    wl_common common;
} mixed_options;

/* Shared by all threads, read-only during the run but for `run`. */
typedef struct {
    mixed_options options;
    wl_sizes table; /* no cells where sizes are uniform */
    uint64_t burst; /* calls between two that count them */
    int mode;
    wl_run run;
} mixed;

typedef struct {
    _Alignas(128) mixed *test;
    void **blocks;            /* NULL: the slot is empty */
    wl_tag *tags;             /* only with --check */
    unsigned char *set_aside; /* with --none: a block each `stride` bytes, see set_aside_for */
    uint64_t stride;
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    uint64_t filled, drained; /* calls in these phases */
    pthread_t thread;
} mixed_thread;

/* ---- the loops ----------------------------------------------------------------------------------
 */

WL_INLINE void get_into(mixed_thread *self, uint64_t index, uint32_t size, const int mode,
                        const bool timed) {
    self->blocks[index] = wl_block_get(
        size, (mode & WL_MODE_NONE) != 0 ? self->set_aside + index * self->stride : NULL,
        (mode & WL_MODE_CHECK) != 0 ? &self->tags[index] : NULL, &self->user, mode, timed);
}

WL_INLINE void release_from(mixed_thread *self, uint64_t index, const int mode, const bool timed) {
    void *block = self->blocks[index];
    self->blocks[index] = NULL;
    wl_block_release(block, (mode & WL_MODE_CHECK) != 0 ? &self->tags[index] : NULL, &self->user,
                     mode, timed);
}

WL_INLINE void churn(mixed_thread *self, uint64_t count, const int mode, const bool timed) {
    void **blocks = self->blocks;
    wl_random random = self->random;
    uint64_t checksum = self->checksum;
    const uint64_t slots = self->test->options.slots;
    const uint64_t largest = self->test->options.size;
    const wl_sizes *table = self->test->table.cells == NULL ? NULL : &self->test->table;
    for (; count > 0; count--) {
        uint64_t bits = wl_random_next(&random);
        uint64_t index = wl_random_below(wl_high_bits(bits), slots);
        if (blocks[index] != NULL) {
            checksum = wl_checksum_add(checksum, index << 32);
            release_from(self, index, mode, timed);
        } else {
            uint32_t size = table == NULL
                                ? 1 + (uint32_t)wl_random_below(wl_low_bits(bits), largest)
                                : wl_sizes_draw(table, &random);
            checksum = wl_checksum_add(checksum, index << 32 | size);
            get_into(self, index, size, mode, timed);
        }
    }
    self->random = random;
    self->checksum = checksum;
}

/* Fills each slot with probability 1/2. */
WL_INLINE void fill(mixed_thread *self, const int mode) {
    const mixed_options *options = &self->test->options;
    for (uint64_t i = 0; i < options->slots; i++) {
        uint64_t bits = wl_random_next(&self->random);
        if ((wl_high_bits(bits) & 1) == 0)
            continue;
        uint32_t size = self->test->table.cells == NULL
                            ? 1 + (uint32_t)wl_random_below(wl_low_bits(bits), options->size)
                            : wl_sizes_draw(&self->test->table, &self->random);
        self->checksum = wl_checksum_add(self->checksum, i << 32 | size);
        get_into(self, i, size, mode, false);
        self->filled++;
    }
}

WL_INLINE void drain(mixed_thread *self, const int mode) {
    for (uint64_t i = 0; i < self->test->options.slots; i++) {
        if (self->blocks[i] == NULL)
            continue;
        release_from(self, i, mode, false);
        self->drained++;
    }
}

WL_LOOPS(mixed_thread, churn);

/* ---- threads, set-up and result
 * ------------------------------------------------------------------- */

static void *serve(void *data) {
    mixed_thread *self = data;
    mixed *test = self->test;
    wl_run_pass(&test->run); /* START */
    loops[test->mode].fill(self);
    wl_run_pass(&test->run); /* FILLED */
    wl_count_add(&self->count, self->filled);
    for (uint64_t left = test->options.operations; left > 0;) {
        const uint64_t burst = left < test->burst ? left : test->burst;
        wl_run_loop(loops[test->mode].churn, loops[test->mode].churn_timed, self, burst,
                    &self->sampler);
        wl_count_add(&self->count, burst);
        left -= burst;
    }
    wl_run_pass(&test->run); /* STEADY */
    loops[test->mode].drain(self);
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* With --none: where a thread's blocks lie. They take as much memory as the blocks of an allocator
 * do on average, half of the slots times the mean size, so that the loop misses the caches as often
 * as with one: so they overlap, which only --check would see. Made resident in advance: no page
 * fault of theirs is in the run. */
typedef struct {
    unsigned char *bytes; /* of all threads; NULL without --none */
    uint64_t stride;      /* bytes from one slot's block to the next slot's */
    uint64_t of_thread;   /* bytes */
} set_aside_blocks;

static set_aside_blocks set_aside_for(const mixed_options *options, double mean, const char *what) {
    if (!options->common.none)
        return (set_aside_blocks){NULL, 0, 0};
    double wanted = options->common.check ? (double)options->size : mean / 2;
    uint64_t stride = ((uint64_t)wanted + 15) / 16 * 16;
    stride = stride == 0 ? 16 : stride;
    uint64_t count = options->slots + options->size / stride + 1; /* the last one is whole, too */
    return (set_aside_blocks){wl_map_table(options->threads * count, stride, 1, what), stride,
                              count * stride};
}

static mixed_thread *prepare(mixed *test) {
    const mixed_options *options = &test->options;
    const uint64_t entries = options->threads * options->slots;
    char what[160];
    snprintf(what, sizeof what, "--slots %" PRIu64 " for each of --threads %" PRIu64,
             options->slots, options->threads);
    test->mode = wl_mode_of(&options->common);
    test->burst = 16 * wl_burst_length(options->size);
    void **blocks = wl_map_table(entries, sizeof *blocks, 1, what);
    wl_tag *tags = options->common.check ? wl_map_table(entries, sizeof *tags, 1, what) : NULL;
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    mixed_thread *threads = wl_map_table(options->threads, sizeof *threads, 1, what);
    snprintf(what, sizeof what,
             "--slots %" PRIu64 " of up to --size %" PRIu64 " bytes for each of --threads %" PRIu64,
             options->slots, options->size, options->threads);
    double mean = test->table.cells == NULL ? (double)options->size / 2 : test->table.mean;
    wl_refuse_beyond_memory((double)entries / 2 * mean, what);
    const set_aside_blocks set_aside = set_aside_for(options, mean, what);
    for (uint64_t i = 0; i < options->threads; i++)
        threads[i] = (mixed_thread){
            .test = test,
            .blocks = blocks + i * options->slots,
            .tags = tags == NULL ? NULL : tags + i * options->slots,
            .set_aside = set_aside.bytes == NULL ? NULL : set_aside.bytes + i * set_aside.of_thread,
            .stride = set_aside.stride,
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
        };
    wl_run_init(&test->run, (unsigned)options->threads, 0);
    wl_progress_start(&test->run.progress, options->common.progress, &threads[0].count,
                      sizeof threads[0], options->threads);
    return threads;
}

static int report(const mixed *test, const mixed_thread *threads, const wl_arg_table *args) {
    const mixed_options *options = &test->options;
    uint64_t checksum = 0, checked = 0, filled = 0, drained = 0;
    for (uint64_t i = 0; i < options->threads; i++) {
        checksum = wl_checksum_add(checksum, wl_mix(threads[i].checksum));
        checked += threads[i].user.blocks_checked;
        filled += threads[i].filled;
        drained += threads[i].drained;
    }
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, filled),
                   wl_phase_between(&test->run, "churn", WL_MARK_FILLED, WL_MARK_STEADY,
                                    options->operations * options->threads),
                   wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED, drained)},
        .phase_count = 3,
        .has_checksum = true,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(threads[0].user.latency, options->threads),
    };
    return wl_report(&result);
}

static void settle_sizes(mixed *test, wl_arg_table *args) {
    mixed_options *options = &test->options;
    if (strcmp(options->sizes, "uniform") == 0)
        return;
    if (strcmp(options->sizes, "pareto") == 0) {
        test->table = wl_sizes_pareto((uint32_t)options->size);
        return;
    }
    bool limited = wl_args_given(args, "size");
    test->table = wl_sizes_from_file(options->sizes, limited ? options->size : WL_SIZE_LIMIT);
    if (!limited)
        options->size = test->table.largest;
}

int main(int argc, char **argv) {
    static mixed test;
    mixed_options *o = &test.options;
    wl_driver_start("bench_random_mixed");
    o->threads = 1;
    o->operations = 10000000;
    o->size = 256;
    o->slots = 4096;
    o->sizes = "uniform";
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads, each with its own table; default 1"),
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "calls of each thread in churn; default 10000000"),
        WL_NUMBER_ARG("size", "BYTES", &o->size, 1, WL_SIZE_LIMIT,
                      "greatest size; default 256, or the greatest in the file of --sizes"),
        WL_NUMBER_ARG("slots", "N", &o->slots, 1, WL_TABLE_MOST,
                      "slots of each thread, half of them in use; default 4096"),
        {.name = "sizes",
         .value = "uniform|pareto|FILE",
         .help = "how sizes are distributed; a file has lines SIZE COUNT",
         .kind = WL_ARG_TEXT,
         .target = &o->sizes},
        WL_COMMON_ARGS(o->common),
    };
    static const char *const classic[] = {"operations", "size", "seed"};
    static const wl_form forms[] = {{classic, 3}};
    wl_arg_table table = {"allocates into and frees from the slots of a table at random", args,
                          sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    settle_sizes(&test, &table);
    mixed_thread *threads = prepare(&test);
    WL_RUN_THREADS(&test.run, serve, threads, o->threads);
    return report(&test, threads, &table);
}
