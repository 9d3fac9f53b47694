/*
 * xmalloc: some threads only allocate and pass the blocks on in batches, others only free them, as
 * in a program whose stages hand work to each other.
 *
 * After C. Lever and D. Boreham, "malloc() Performance in a Multithreaded Linux Environment",
 * USENIX 2000 FREENIX track. Batches go through one bounded ring, so that at most
 * (ring + threads) * batch blocks live at a time; the ring has four batches for each thread, 32 at
 * least, rounded up to a power of two.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "batch_ring.h"
#include "wl_driver.h"
#include "wl_fail.h"
#include "wl_loops.h"
#include "wl_memory.h"
#include "wl_sizes.h"

typedef struct {
    uint64_t threads, allocators, releasers, operations, batch;
    double seconds;
    const char *size;
    wl_common common;
} xmalloc_options;

/* --size mix: small blocks are common, large ones rare; 100 in all, 114 bytes on average. */
static const uint32_t mix_sizes[] = {8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096};
static const double mix_shares[] = {10, 20, 10, 15, 10, 12, 6, 6, 4, 3, 2, 1, 1};

/* Shared by all threads, read-only during the run but for `ring`, `allocating` and `run`. */
typedef struct {
    xmalloc_options options;
    uint32_t fixed_size; /* 0: drawn from `mix` */
    wl_sizes mix;
    uint64_t burst;        /* blocks between two looks at the time */
    uint64_t fill_batches; /* that each allocating thread puts into the ring before the exchange */
    int mode;
    batch_ring ring;
    atomic_uint allocating; /* threads that have not yet put their last batch */
    wl_run run;
} xmalloc;

typedef struct {
    _Alignas(128) xmalloc *test;
    batch *current;
    uint64_t position; /* releasing threads: the next block of `current` */
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count counted;
    unsigned looks; /* at the time */
    uint64_t left;  /* blocks still to be allocated; UINT64_MAX where time ends the run */
    uint64_t filled, exchanged, drained; /* calls in each phase */
    pthread_t thread;
} xmalloc_thread;

/* ---- the loops ----------------------------------------------------------------------------------
 */

WL_INLINE void allocate(xmalloc_thread *self, uint64_t count, const int mode, const bool timed) {
    batch *current = self->current;
    wl_random random = self->random;
    uint64_t checksum = self->checksum;
    const uint32_t fixed = self->test->fixed_size;
    const wl_sizes *mix = &self->test->mix;
    uint64_t i = current->count;
    for (const uint64_t end = i + count; i < end; i++) {
        uint32_t size = fixed != 0 ? fixed : wl_sizes_draw(mix, &random);
        checksum = wl_checksum_add(checksum, size);
        current->blocks[i] = wl_block_get(
            size, (mode & WL_MODE_NONE) != 0 ? current->blocks[i] : NULL,
            (mode & WL_MODE_CHECK) != 0 ? &current->tags[i] : NULL, &self->user, mode, timed);
    }
    current->count = (uint32_t)i;
    self->random = random;
    self->checksum = checksum;
}

WL_INLINE void release(xmalloc_thread *self, uint64_t count, const int mode, const bool timed) {
    const batch *current = self->current;
    uint64_t i = self->position;
    for (const uint64_t end = i + count; i < end; i++)
        wl_block_release(current->blocks[i], (mode & WL_MODE_CHECK) != 0 ? &current->tags[i] : NULL,
                         &self->user, mode, timed);
    self->position = i;
}

WL_TWO_LOOPS(allocate, release);

/* ---- the threads --------------------------------------------------------------------------------
 */

/* Fills the current batch (less of it when the run is over) and passes it on. Returns its blocks.
 */
static uint64_t pass_a_batch_on(xmalloc_thread *self, bool timed) {
    xmalloc *test = self->test;
    uint64_t wanted = test->options.batch < self->left ? test->options.batch : self->left;
    uint64_t count = 0;
    self->current->count = 0;
    while (count < wanted && !wl_run_look(&test->run, &self->looks)) {
        uint64_t burst = wanted - count < test->burst ? wanted - count : test->burst;
        if (timed)
            wl_run_loop(loops[test->mode].allocate, loops[test->mode].allocate_timed, self, burst,
                        &self->sampler);
        else
            loops[test->mode].allocate(self, burst);
        count += burst;
        wl_count_add(&self->counted, burst);
    }
    if (count > 0)
        self->current = ring_put(&test->ring, self->current);
    if (self->left != UINT64_MAX)
        self->left -= count;
    return count;
}

static void *allocating_thread(void *data) {
    xmalloc_thread *self = data;
    xmalloc *test = self->test;
    wl_run_pass(&test->run); /* START */
    for (uint64_t i = 0; i < test->fill_batches && self->left > 0; i++)
        self->filled += pass_a_batch_on(self, false);
    wl_run_pass(&test->run); /* FILLED */
    while (self->left > 0 && !wl_run_over(&test->run))
        self->exchanged += pass_a_batch_on(self, true);
    if (atomic_fetch_sub_explicit(&test->allocating, 1, memory_order_acq_rel) == 1)
        ring_close(&test->ring);
    wl_run_pass(&test->run); /* STEADY */
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* Frees the blocks of a batch and returns how many there were. */
static uint64_t free_a_batch(xmalloc_thread *self, bool timed) {
    xmalloc *test = self->test;
    const uint64_t count = self->current->count;
    self->position = 0;
    if (timed)
        wl_run_loop(loops[test->mode].release, loops[test->mode].release_timed, self, count,
                    &self->sampler);
    else
        loops[test->mode].release(self, count);
    wl_count_add(&self->counted, count);
    return count;
}

static void *releasing_thread(void *data) {
    xmalloc_thread *self = data;
    xmalloc *test = self->test;
    batch *full;
    wl_run_pass(&test->run); /* START */
    wl_run_pass(&test->run); /* FILLED */
    while (!ring_closed(&test->ring) && (full = ring_take(&test->ring, self->current)) != NULL) {
        self->current = full;
        self->exchanged += free_a_batch(self, true);
    }
    wl_run_pass(&test->run); /* STEADY */
    while ((full = ring_try_take(&test->ring, self->current)) != NULL) {
        self->current = full;
        self->drained += free_a_batch(self, false);
    }
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* ---- set-up and result
 * ---------------------------------------------------------------------------- */

/* Batches with room for their blocks, and with --none the blocks themselves. */
static batch *make_batches(const xmalloc *test, uint64_t count, uint64_t largest, double mean) {
    const xmalloc_options *options = &test->options;
    const uint64_t entries = count * options->batch;
    char what[160];
    snprintf(what, sizeof what,
             "--batch %" PRIu64 " of --size %.20s with --allocators %" PRIu64
             " and --releasers %" PRIu64,
             options->batch, options->size, options->allocators, options->releasers);
    wl_refuse_beyond_memory((double)entries * mean, what);
    batch *batches = wl_map_table(count, sizeof *batches, 1, what);
    void **blocks = wl_map_table(entries, sizeof *blocks, 1, what);
    wl_tag *tags = options->common.check ? wl_map_table(entries, sizeof *tags, 1, what) : NULL;
    for (uint64_t i = 0; i < count; i++)
        batches[i] = (batch){.blocks = blocks + i * options->batch,
                             .tags = tags == NULL ? NULL : tags + i * options->batch};
    if (options->common.none) {
        const uint64_t stride = (largest + 15) / 16 * 16;
        unsigned char *set_aside = wl_map_table(entries, stride, 0, what);
        for (uint64_t i = 0; i < entries; i++)
            blocks[i] = set_aside + i * stride;
    }
    return batches;
}

static xmalloc_thread *prepare(xmalloc *test) {
    const xmalloc_options *options = &test->options;
    const uint64_t count = options->allocators + options->releasers;
    uint64_t capacity = 32;
    while (capacity < 4 * count)
        capacity *= 2;
    const uint64_t largest = test->fixed_size != 0 ? test->fixed_size : test->mix.largest;
    const double mean = test->fixed_size != 0 ? (double)test->fixed_size : test->mix.mean;
    test->mode = wl_mode_of(&options->common);
    test->burst = wl_burst_length(largest);
    test->fill_batches = capacity / 2 / options->allocators;
    atomic_init(&test->allocating, (unsigned)options->allocators);
    batch *batches = make_batches(test, capacity + count, largest, mean);
    ring_cell *cells = wl_map_table(capacity, sizeof *cells, 1, "the ring");
    ring_init(&test->ring, cells, batches, capacity, count <= wl_cores() ? 500 : 0);
    xmalloc_thread *threads = wl_map_table(count, sizeof *threads, 1, "the threads' table");
    wl_latency *latencies = options->common.latency
                                ? wl_map_table(count, sizeof *latencies, 0, "the times' table")
                                : NULL;
    for (uint64_t i = 0; i < count; i++)
        threads[i] = (xmalloc_thread){
            .test = test,
            .current = &batches[capacity + i],
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
            .left = options->operations > 0 ? options->operations : UINT64_MAX,
        };
    wl_run_init(&test->run, (unsigned)count, options->operations > 0 ? 0 : options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &threads[0].counted,
                      sizeof threads[0], count);
    return threads;
}

static int report(const xmalloc *test, const xmalloc_thread *threads, const wl_arg_table *args) {
    const xmalloc_options *options = &test->options;
    uint64_t checksum = 0, checked = 0, filled = 0, exchanged = 0, drained = 0;
    for (uint64_t i = 0; i < options->allocators + options->releasers; i++) {
        if (i < options->allocators)
            checksum = wl_checksum_add(checksum, wl_mix(threads[i].checksum));
        checked += threads[i].user.blocks_checked;
        filled += threads[i].filled;
        exchanged += threads[i].exchanged;
        drained += threads[i].drained;
    }
    char note[80];
    snprintf(note, sizeof note, "the ring holds %" PRIu64 " batches", test->ring.capacity);
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, filled),
                   wl_phase_between(&test->run, "exchange", WL_MARK_FILLED, WL_MARK_STEADY,
                                    exchanged),
                   wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED, drained)},
        .phase_count = 3,
        .has_checksum = options->operations > 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency =
            wl_latency_sum(threads[0].user.latency, options->allocators + options->releasers),
        .note = note,
    };
    return wl_report(&result);
}

static void settle_options(xmalloc *test, wl_arg_table *args) {
    xmalloc_options *options = &test->options;
    uint64_t size;
    wl_args_exclude(args, "seconds", "operations");
    wl_args_exclude(args, "threads", "allocators");
    wl_args_exclude(args, "threads", "releasers");
    wl_args_find(args, options->operations > 0 ? "seconds" : "operations")->unused = true;
    if (wl_args_given(args, "allocators") || wl_args_given(args, "releasers")) {
        wl_args_find(args, "threads")->unused = true;
    } else {
        options->allocators = (options->threads + 1) / 2;
        options->releasers = options->threads / 2 > 0 ? options->threads / 2 : 1;
        wl_args_find(args, "allocators")->derived = true;
        wl_args_find(args, "releasers")->derived = true;
    }
    if (strcmp(options->size, "mix") == 0) {
        test->mix =
            wl_sizes_from_table(mix_sizes, mix_shares, sizeof mix_sizes / sizeof *mix_sizes);
        return;
    }
    if (!wl_parse_number(options->size, &size) || size < 1 || size > WL_SIZE_LIMIT)
        wl_fail(WL_EXIT_USAGE, "--size takes mix or a whole number from 1 to %d, not '%.200s'",
                WL_SIZE_LIMIT, options->size);
    test->fixed_size = (uint32_t)size;
}

int main(int argc, char **argv) {
    static xmalloc test;
    xmalloc_options *o = &test.options;
    wl_driver_start("xmalloc");
    o->threads = wl_cores();
    o->allocators = o->releasers = 1;
    o->seconds = 1;
    o->batch = 100;
    o->size = "mix";
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "half of them allocate, the others free; default: the processors"),
        WL_NUMBER_ARG("allocators", "N", &o->allocators, 1, WL_THREADS_MOST,
                      "threads that allocate; default with --releasers 1"),
        WL_NUMBER_ARG("releasers", "N", &o->releasers, 1, WL_THREADS_MOST,
                      "threads that free; default with --allocators 1"),
        {.name = "seconds",
         .value = "S",
         .help = "how long to exchange; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "instead: blocks that each allocating thread allocates"),
        {.name = "size",
         .value = "BYTES|mix",
         .help = "of every block, 1 to 1073741824; default mix: 8 to 4096, mostly small",
         .kind = WL_ARG_TEXT,
         .target = &o->size},
        WL_NUMBER_ARG("batch", "N", &o->batch, 1, 65536,
                      "blocks that travel together; default 100"),
        WL_COMMON_ARGS(o->common),
    };
    wl_arg_table table = {
        "some threads only allocate, others only free what those pass on (Lever & Boreham)", args,
        sizeof args / sizeof args[0], NULL, 0};
    wl_args_parse(&table, argc, argv);
    settle_options(&test, &table);
    xmalloc_thread *threads = prepare(&test);
    const uint64_t count = o->allocators + o->releasers;
    for (uint64_t i = 0; i < count; i++)
        threads[i].thread =
            wl_thread_start(i < o->allocators ? allocating_thread : releasing_thread, &threads[i]);
    wl_run_supervise(&test.run);
    for (uint64_t i = 0; i < count; i++)
        wl_thread_join(threads[i].thread);
    return report(&test, threads, &table);
}
