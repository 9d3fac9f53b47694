/*
 * thread_churn: short threads, each of which allocates a few blocks, uses and frees them all, and
 * ends, as in a program that starts a thread for each request.
 *
 * Every one of --threads lanes starts a thread, waits for its end, and starts the next. What is
 * measured is the whole life of a thread as the one that started it sees it: the system's part and
 * the C library's, and what an allocator does when a thread first allocates and when it ends. The
 * threads leave nothing behind, so resident memory that grows with their number is a leak: it is
 * read after the first tenth of the run and at its end.
 */
#include <inttypes.h>
#include <stdio.h>

#include "wl_clock.h"
#include "wl_driver.h"
#include "wl_loops.h"
#include "wl_memory.h"
#include "wl_sizes.h"

typedef struct {
    uint64_t threads, operations, starts, blocks, min, max;
    double seconds;
    wl_common common;
} churn_options;

/* Shared by all threads, read-only during the run but for `run` and what has a comment. */
typedef struct {
    churn_options options;
    uint64_t burst; /* blocks between two looks at the time */
    int mode;
    struct lane *lanes;
    wl_run run;
    atomic_bool tenth_seen; /* the first lane to come there reads the memory */
    uint64_t tenth_rss;     /* bytes; 0: the run ended before. Of the lane that set tenth_seen */
    uint64_t tenth_calls;   /* operations until then */
} thread_churn;

/* What the threads of a lane use one after the other. */
typedef struct lane {
    _Alignas(128) thread_churn *test;
    void **blocks;
    wl_tag *tags; /* only with --check */
    uint64_t position;
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks;     /* at the time */
    wl_histogram *life; /* from start to join, in nanoseconds */
    uint64_t lives_ns;  /* the sum of these */
    uint64_t filled;    /* operations in the first phase */
    pthread_t thread;
} lane;

/* ---- the loops ----------------------------------------------------------------------------------
 */

WL_INLINE void allocate(lane *self, uint64_t count, const int mode, const bool timed) {
    wl_random random = self->random;
    uint64_t checksum = self->checksum;
    const uint32_t min = (uint32_t)self->test->options.min;
    const uint64_t span = self->test->options.max - self->test->options.min + 1;
    uint64_t i = self->position;
    for (const uint64_t end = i + count; i < end; i++) {
        uint32_t size =
            min + (uint32_t)wl_random_below(wl_high_bits(wl_random_next(&random)), span);
        checksum = wl_checksum_add(checksum, size);
        self->blocks[i] =
            wl_block_get(size, self->blocks[i], (mode & WL_MODE_CHECK) != 0 ? &self->tags[i] : NULL,
                         &self->user, mode, timed);
    }
    self->position = i;
    self->random = random;
    self->checksum = checksum;
}

WL_INLINE void release(lane *self, uint64_t count, const int mode, const bool timed) {
    uint64_t i = self->position;
    for (const uint64_t end = i + count; i < end; i++)
        wl_block_release(self->blocks[i], (mode & WL_MODE_CHECK) != 0 ? &self->tags[i] : NULL,
                         &self->user, mode, timed);
    self->position = i;
}

WL_TWO_LOOPS(allocate, release);

/* ---- the threads --------------------------------------------------------------------------------
 */

/* A short thread. When the time is over it allocates no more, and frees what it has. */
static void *live(void *data) {
    lane *self = data;
    thread_churn *test = self->test;
    uint64_t wanted = test->options.blocks, made;
    self->position = 0;
    while (self->position < wanted) {
        uint64_t left = wanted - self->position;
        wl_run_loop(loops[test->mode].allocate, loops[test->mode].allocate_timed, self,
                    left < test->burst ? left : test->burst, &self->sampler);
        if (wl_run_look(&test->run, &self->looks))
            wanted = self->position;
    }
    made = self->position;
    self->position = 0;
    wl_run_loop(loops[test->mode].release, loops[test->mode].release_timed, self, made,
                &self->sampler);
    wl_count_add(&self->count, 2 * made);
    return NULL;
}

/* Operations of all lanes so far. */
static uint64_t calls_so_far(const thread_churn *test) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < test->options.threads; i++)
        sum += atomic_load_explicit(&test->lanes[i].count.operations, memory_order_relaxed);
    return sum;
}

static void see_tenth(thread_churn *test) {
    if (atomic_exchange_explicit(&test->tenth_seen, true, memory_order_relaxed))
        return;
    test->tenth_calls = calls_so_far(test);
    test->tenth_rss = wl_process_status().resident_bytes;
}

/* Starts threads one after the other until the time is over or there were enough. */
static void churn(lane *self) {
    thread_churn *test = self->test;
    const uint64_t starts = test->options.starts;
    const int64_t deadline = test->run.deadline_ns;
    int64_t now = wl_now_ns();
    const int64_t tenth =
        deadline == INT64_MAX ? INT64_MAX : now + (int64_t)(test->options.seconds * 1e8);
    bool seen = false;
    for (uint64_t started = 0; started < starts && now < deadline; started++) {
        if (!seen && (now >= tenth || (tenth == INT64_MAX && started >= (starts + 9) / 10))) {
            seen = true;
            see_tenth(test);
            now = wl_now_ns();
        }
        const int64_t before = now;
        wl_thread_join(wl_thread_start(live, self));
        now = wl_now_ns();
        wl_histogram_add(self->life, (uint64_t)(now - before));
        self->lives_ns += (uint64_t)(now - before);
    }
}

static void *direct(void *data) {
    lane *self = data;
    wl_run *run = &self->test->run;
    wl_run_pass(run); /* START */
    wl_thread_join(wl_thread_start(live, self));
    self->filled = atomic_load_explicit(&self->count.operations, memory_order_relaxed);
    wl_run_pass(run); /* FILLED */
    churn(self);
    wl_run_pass(run); /* STEADY */
    wl_run_pass(run); /* DRAINED: there is nothing to drain */
    return NULL;
}

/* ---- set-up and result
 * ---------------------------------------------------------------------------- */

static void prepare(thread_churn *test) {
    const churn_options *options = &test->options;
    const uint64_t entries = options->threads * options->blocks;
    char what[160];
    snprintf(what, sizeof what,
             "--blocks %" PRIu64 " of up to --max %" PRIu64 " bytes for each of --threads %" PRIu64,
             options->blocks, options->max, options->threads);
    test->mode = wl_mode_of(&options->common);
    test->burst = wl_burst_length(options->max);
    void **blocks = wl_map_table(entries, sizeof *blocks, 1, what);
    wl_tag *tags = options->common.check ? wl_map_table(entries, sizeof *tags, 1, what) : NULL;
    wl_refuse_beyond_memory((double)entries * (double)(options->min + options->max) / 2, what);
    if (options->common.none) {
        const uint64_t stride = (options->max + 15) / 16 * 16;
        unsigned char *set_aside = wl_map_table(entries, stride, 0, what);
        for (uint64_t i = 0; i < entries; i++)
            blocks[i] = set_aside + i * stride;
    }
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    wl_histogram *lives = wl_map_table(options->threads, sizeof *lives, 0, what);
    test->lanes = wl_map_table(options->threads, sizeof *test->lanes, 1, what);
    for (uint64_t i = 0; i < options->threads; i++)
        test->lanes[i] = (lane){
            .test = test,
            .blocks = blocks + i * options->blocks,
            .tags = tags == NULL ? NULL : tags + i * options->blocks,
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
            .life = &lives[i],
        };
    wl_run_init(&test->run, (unsigned)options->threads, options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &test->lanes[0].count,
                      sizeof test->lanes[0], options->threads);
}

/* What thread_churn measures besides; `text` is for the table. */
typedef struct {
    wl_figure figures[8];
    char text[256];
} findings;

static findings find(const thread_churn *test, const wl_histogram *lives, uint64_t lives_ns,
                     uint64_t churned) {
    findings found;
    const uint64_t calls = 2 * test->options.blocks;
    const uint64_t end_rss = test->run.marks[WL_MARK_STEADY].rss_bytes;
    const uint64_t tenth_rss = test->tenth_rss > 0 ? test->tenth_rss : end_rss;
    const uint64_t filled = test->options.threads * calls;
    const double later =
        test->tenth_rss > 0 ? (double)(churned + filled - test->tenth_calls) / (double)calls : 0;
    const double growth = later > 0 ? ((double)end_rss - (double)tenth_rss) / later : 0;
    const double mean = lives->samples > 0 ? (double)lives_ns / (double)lives->samples / 1e3 : 0;
    const double median = wl_histogram_quantile(lives, 0.5) / 1e3;
    const wl_figure figures[] = {
        {"threads_started", (double)lives->samples, 0},
        {"thread_us_mean", mean, 3},
        {"thread_us_p50", median, 3},
        {"thread_us_p99", wl_histogram_quantile(lives, 0.99) / 1e3, 3},
        {"thread_us_max", (double)lives->max_ticks / 1e3, 3},
        {"rss_tenth_bytes", (double)tenth_rss, 0},
        {"rss_end_bytes", (double)end_rss, 0},
        {"rss_growth_bytes_per_thread", growth, 3},
    };
    _Static_assert(sizeof figures == sizeof found.figures, "room for every figure");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        found.figures[i] = figures[i];
    snprintf(found.text, sizeof found.text,
             "%" PRIu64 " threads, each %.1f us from start to join (median %.1f); %.1f MiB after a "
             "tenth, %.1f at the end: %+.0f bytes a thread",
             lives->samples, mean, median, (double)tenth_rss / 1048576.0,
             (double)end_rss / 1048576.0, growth);
    return found;
}

static int report(const thread_churn *test, const wl_arg_table *args) {
    const churn_options *options = &test->options;
    uint64_t checksum = 0, checked = 0, filled = 0, lives_ns = 0;
    wl_histogram *lives = wl_map_table(1, sizeof *lives, 0, "the sum of the threads' times");
    for (uint64_t i = 0; i < options->threads; i++) {
        const lane *self = &test->lanes[i];
        checksum = wl_checksum_add(checksum, wl_mix(self->checksum));
        checked += self->user.blocks_checked;
        filled += self->filled;
        lives_ns += self->lives_ns;
        wl_histogram_merge(lives, self->life);
    }
    const uint64_t churned = calls_so_far(test) - filled;
    const findings found = find(test, lives, lives_ns, churned);
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, filled),
                   wl_phase_between(&test->run, "churn", WL_MARK_FILLED, WL_MARK_DRAINED, churned)},
        .phase_count = 2,
        .has_checksum = options->seconds <= 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(test->lanes[0].user.latency, options->threads),
        .note = found.text,
        .figures = found.figures,
        .figure_count = sizeof found.figures / sizeof *found.figures,
    };
    return wl_report(&result);
}

/* ---- arguments
 * ------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    static thread_churn test;
    churn_options *o = &test.options;
    wl_driver_start("thread_churn");
    o->threads = wl_cores();
    o->seconds = 1;
    o->blocks = 100;
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "short threads at a time; default: the processors"),
        WL_NUMBER_ARG("blocks", "N", &o->blocks, 1, WL_TABLE_MOST,
                      "that each thread allocates and frees; default 100"),
        {.name = "seconds",
         .value = "S",
         .help = "how long threads are started; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("starts", "N", &o->starts, 1, 1000000000,
                      "instead: threads one after the other, for each at a time"),
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "the same in calls; threads are whole"),
        WL_NUMBER_ARG("min", "BYTES", &o->min, 1, WL_SIZE_LIMIT,
                      "least size; default 8, or the greatest if less"),
        WL_NUMBER_ARG("max", "BYTES", &o->max, 1, WL_SIZE_LIMIT, "greatest size; default 512"),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const brief[] = {"threads", "starts", "blocks"};
    static const wl_form forms[] = {{brief, 3}};
    wl_arg_table table = {"short threads that each allocate a little, free it all, and end", args,
                          sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    wl_args_default_sizes(&table, &o->min, &o->max, 512);
    wl_args_refuse_reversed(o->min, o->max);
    wl_args_bound_run(&table, "starts", 2 * o->blocks, &o->starts, &o->operations, &o->seconds);
    prepare(&test);
    WL_RUN_THREADS(&test.run, direct, test.lanes, o->threads);
    return report(&test, &table);
}
