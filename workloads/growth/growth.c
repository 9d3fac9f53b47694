/*
 * growth: a block that realloc makes larger by half in each step, from 8 bytes to 64 MiB, then
 * freed, again and again: a text, a vector or a buffer that a program appends to.
 *
 * Whether a step costs nanoseconds or milliseconds is the allocator's choice: a block grows where
 * it is, its pages are moved by the kernel, or it is copied. What the program appends is written,
 * --touch says how much of it; --with-others allocates small blocks between the steps, as a program
 * does that appends what it has just read, so that no allocator can count on free room behind the
 * block. One step, a call of realloc, is one operation.
 */
#include <inttypes.h>
#include <stdio.h>

#include "wl_driver.h"
#include "wl_fail.h"
#include "wl_loops.h"
#include "wl_memory.h"
#include "wl_sizes.h"
#include "wl_touch.h"

enum {
    LEAST_STEP = 8,    /* bytes by which a block grows at least */
    STEPS_A_BURST = 8, /* between two looks at the time */
    SAMPLE_EVERY = 11, /* steps, of which one is timed */
    OTHERS_LEAST = 16,
    OTHERS_MOST = 256 /* bytes of the blocks between the steps */
};

typedef struct {
    uint64_t threads, operations, min, max, with_others;
    double seconds, factor;
    const char *touch;
    wl_common common;
} growth_options;

/* Shared by all threads, read-only during the run but for `run`. */
typedef struct {
    growth_options options;
    wl_touch touch;
    uint64_t steps; /* from the first to the largest size */
    int mode;
    wl_run run;
} growth;

typedef struct {
    _Alignas(128) growth *test;
    unsigned char *block;
    uint64_t size;
    uint32_t serial;          /* with --check: of the block's pattern */
    void **others;            /* of this growth, in the order in which they came */
    wl_tag *tags;             /* of the others, only with --check */
    uint64_t other_count;     /* so far */
    unsigned char *set_aside; /* with --none: the block, and behind it the others */
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks; /* at the time */
    uint64_t grown; /* steps in the steady part */
    pthread_t thread;
} growth_thread;

/* ---- the loops ----------------------------------------------------------------------------------
 */

static uint64_t next_size(const growth_options *options, uint64_t size) {
    uint64_t next = (uint64_t)((double)size * options->factor);
    if (next < size + LEAST_STEP)
        next = size + LEAST_STEP;
    return next < options->max ? next : options->max;
}

/* Where the others of a thread lie with --none: room for OTHERS_MOST bytes each. */
static unsigned char *other_cell(const growth_thread *self, uint64_t index) {
    return self->set_aside + (self->test->options.max + 15) / 16 * 16 + index * OTHERS_MOST;
}

WL_INLINE void use(growth_thread *self, uint64_t from, const int mode) {
    if ((mode & WL_MODE_CHECK) != 0) {
        self->serial = self->user.serial++;
        wl_pattern_fill(self->block, self->size, self->serial);
    } else {
        wl_touch_range(self->block, from, self->size, self->test->touch);
    }
}

WL_INLINE void begin(growth_thread *self, const int mode, const bool timed) {
    self->size = self->test->options.min;
    /* Not malloc's time but realloc's is what --latency shows. */
    self->block = wl_block_allocate(self->size, self->set_aside, &self->user, mode, false);
    use(self, 0, mode);
    (void)timed;
}

/* Frees the block and the others. */
WL_INLINE void end(growth_thread *self, const int mode, const bool timed) {
    if ((mode & WL_MODE_CHECK) != 0) {
        wl_pattern_verify(self->block, self->size, self->serial);
        self->user.blocks_checked++;
    } else if (self->test->touch != WL_TOUCH_NONE) {
        (void)*(const volatile unsigned char *)self->block;
    }
    wl_block_free(self->block, &self->user, mode, timed);
    for (uint64_t i = 0; i < self->other_count; i++)
        wl_block_release(self->others[i], (mode & WL_MODE_CHECK) != 0 ? &self->tags[i] : NULL,
                         &self->user, mode, false);
    self->block = NULL;
    self->other_count = 0;
}

WL_INLINE void add_others(growth_thread *self, const int mode) {
    for (uint64_t n = self->test->options.with_others; n > 0; n--) {
        const uint64_t bits = wl_random_next(&self->random);
        const uint32_t size =
            OTHERS_LEAST +
            (uint32_t)wl_random_below(wl_high_bits(bits), OTHERS_MOST - OTHERS_LEAST + 1);
        const uint64_t i = self->other_count++;
        self->checksum = wl_checksum_add(self->checksum, size);
        self->others[i] = wl_block_get(
            size, (mode & WL_MODE_NONE) != 0 ? other_cell(self, i) : NULL,
            (mode & WL_MODE_CHECK) != 0 ? &self->tags[i] : NULL, &self->user, mode, false);
    }
}

/* Each iteration is a step. A block that has reached its size is freed and a new one begun. */
WL_INLINE void grow(growth_thread *self, uint64_t count, const int mode, const bool timed) {
    const growth_options *options = &self->test->options;
    for (; count > 0; count--) {
        if (self->size == options->max) {
            end(self, mode, timed);
            begin(self, mode, timed);
        }
        add_others(self, mode);
        const uint64_t old_size = self->size;
        const unsigned char *old = self->block;
        self->size = next_size(options, old_size);
        self->checksum = wl_checksum_add(self->checksum, self->size);
        self->block = wl_block_resize(self->block, self->size, &self->user, mode, timed);
        if ((mode & WL_MODE_CHECK) != 0) {
            wl_pattern_verify_moved(self->block, self->size, old, old_size, self->serial);
            self->user.blocks_checked++;
        }
        use(self, old_size, mode);
    }
}

WL_INLINE void fill(growth_thread *self, const int mode) {
    begin(self, mode, false);
}

WL_INLINE void drain(growth_thread *self, const int mode) {
    end(self, mode, false);
}

WL_LOOPS(growth_thread, grow);

/* ---- threads, set-up and result
 * ------------------------------------------------------------------- */

static void *serve(void *data) {
    growth_thread *self = data;
    growth *test = self->test;
    uint64_t left = test->options.operations > 0 ? test->options.operations : UINT64_MAX;
    wl_run_pass(&test->run); /* START */
    loops[test->mode].fill(self);
    loops[test->mode].grow(self, test->steps);
    wl_run_pass(&test->run); /* FILLED */
    wl_count_add(&self->count, test->steps);
    while (left > 0 && !wl_run_look(&test->run, &self->looks)) {
        const uint64_t burst = left < STEPS_A_BURST ? left : STEPS_A_BURST;
        wl_run_loop(loops[test->mode].grow, loops[test->mode].grow_timed, self, burst,
                    &self->sampler);
        wl_count_add(&self->count, burst);
        self->grown += burst;
        left -= burst;
    }
    wl_run_pass(&test->run); /* STEADY */
    loops[test->mode].drain(self);
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

static growth_thread *prepare(growth *test) {
    const growth_options *options = &test->options;
    char what[160];
    snprintf(what, sizeof what, "--max %" PRIu64 " for each of --threads %" PRIu64, options->max,
             options->threads);
    test->mode = wl_mode_of(&options->common);
    for (uint64_t size = options->min; size < options->max; size = next_size(options, size))
        test->steps++;
    wl_refuse_beyond_memory((double)options->max * (double)options->threads, what);
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    growth_thread *threads = wl_map_table(options->threads, sizeof *threads, 1, what);
    const uint64_t stride = (options->max + 15) / 16 * 16;
    snprintf(what, sizeof what,
             "--with-others %" PRIu64 " in each of %" PRIu64
             " steps for each of --threads %" PRIu64,
             options->with_others, test->steps, options->threads);
    const uint64_t others = options->with_others * test->steps;
    void **table = wl_map_table(others * options->threads, sizeof *table, 1, what);
    wl_tag *tags = options->common.check
                       ? wl_map_table(others * options->threads, sizeof *tags, 1, what)
                       : NULL;
    const uint64_t room = stride + others * OTHERS_MOST;
    unsigned char *set_aside =
        options->common.none ? wl_map_table(options->threads, room, 0, what) : NULL;
    for (uint64_t i = 0; i < options->threads; i++)
        threads[i] = (growth_thread){
            .test = test,
            .others = table + i * others,
            .tags = tags == NULL ? NULL : tags + i * others,
            .set_aside = set_aside == NULL ? NULL : set_aside + i * room,
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler =
                wl_sampler_every(options->common.latency, options->common.seed, i, SAMPLE_EVERY),
        };
    wl_run_init(&test->run, (unsigned)options->threads,
                options->operations > 0 ? 0 : options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &threads[0].count,
                      sizeof threads[0], options->threads);
    return threads;
}

static int report(const growth *test, const growth_thread *threads, const wl_arg_table *args) {
    const growth_options *options = &test->options;
    uint64_t checksum = 0, checked = 0, grown = 0;
    for (uint64_t i = 0; i < options->threads; i++) {
        checksum = wl_checksum_add(checksum, wl_mix(threads[i].checksum));
        checked += threads[i].user.blocks_checked;
        grown += threads[i].grown;
    }
    char note[80];
    snprintf(note, sizeof note, "%" PRIu64 " steps make one growth; an operation is one of them",
             test->steps);
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED,
                                    options->threads * test->steps),
                   wl_phase_between(&test->run, "grow", WL_MARK_FILLED, WL_MARK_STEADY, grown),
                   wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED, 0)},
        .phase_count = 3,
        .has_checksum = options->operations > 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(threads[0].user.latency, options->threads),
        .note = note,
        .call = "realloc",
        .sample_every = SAMPLE_EVERY,
    };
    return wl_report(&result);
}

static void settle_options(growth *test, wl_arg_table *args) {
    growth_options *o = &test->options;
    wl_args_exclude(args, "seconds", "operations");
    wl_args_find(args, o->operations > 0 ? "seconds" : "operations")->unused = true;
    wl_args_settle_bounds(args, "min", "max");
    if (o->min == o->max)
        wl_fail(WL_EXIT_USAGE,
                "--max %" PRIu64 " leaves nothing to grow from --min %" PRIu64 "; give more",
                o->max, o->min);
    test->touch = wl_touch_parse(o->touch);
}

int main(int argc, char **argv) {
    static growth test;
    growth_options *o = &test.options;
    wl_driver_start("growth");
    o->threads = 1;
    o->seconds = 1;
    o->min = 8;
    o->max = 64 << 20;
    o->factor = 1.5;
    o->touch = "pages";
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads, each with its own block; default 1"),
        {.name = "seconds",
         .value = "S",
         .help = "how long to grow; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "instead: steps of each thread, calls of realloc"),
        WL_NUMBER_ARG("min", "BYTES", &o->min, 1, WL_SIZE_LIMIT, "at first; default 8"),
        WL_NUMBER_ARG("max", "BYTES", &o->max, 2, WL_SIZE_LIMIT,
                      "at last; default 67108864 (64 MiB)"),
        {.name = "factor",
         .value = "X",
         .help = "of a step, which is 8 bytes at least; default 1.5",
         .kind = WL_ARG_DECIMAL,
         .target = &o->factor,
         .min = 1001,
         .max = 1000000},
        WL_NUMBER_ARG("with-others", "N", &o->with_others, 0, 1000000,
                      "blocks of 16 to 256 bytes allocated before each step; default 0"),
        WL_TOUCH_ARG(o->touch),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const brief[] = {"threads", "operations", "max"};
    static const wl_form forms[] = {{brief, 3}};
    wl_arg_table table = {"grows a block by realloc, step by step", args,
                          sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    settle_options(&test, &table);
    growth_thread *threads = prepare(&test);
    WL_RUN_THREADS(&test.run, serve, threads, o->threads);
    return report(&test, threads, &table);
}
