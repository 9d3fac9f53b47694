/*
 * mstress: waves of threads that start, allocate objects of mixed sizes, exchange some of them with
 * each other through shared slots, and end, while what lies in the slots outlives them.
 *
 * After the description that D. Leijen gives of mimalloc's stress test: it reflects a server's work
 * in that sizes are distributed evenly over powers of two with a few objects far larger, objects
 * are written when they are allocated and read when they are freed, pointers pass between threads,
 * and threads end and are started anew while some objects survive them.
 *
 * Slots are exchanged with one atomic instruction. Only --check has more to pass on than a pointer,
 * and claims a slot for that moment.
 */
#include "mstress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "wl_clock.h"
#include "wl_fail.h"
#include "wl_memory.h"

/* ---- the threads --------------------------------------------------------------------------------
 */

static const mstress_loops *loops_of(const mstress *test) {
    return &mstress_loops_of[test->mode];
}

/* A thread of a wave. When the time is over it leaves what it has to the drain. */
static void *live(void *data) {
    mstress_place *self = data;
    mstress *test = self->test;
    uint64_t left = test->options.scale, freed = self->freed;
    while (left > 0 && !wl_run_look(&test->run, &self->looks)) {
        uint64_t burst = left < test->burst ? left : test->burst;
        wl_run_loop(loops_of(test)->work, loops_of(test)->work_timed, self, burst, &self->sampler);
        left -= burst;
        self->allocated += burst;
        wl_count_add(&self->count, burst + self->freed - freed);
        freed = self->freed;
    }
    self->position = 0;
    for (left = test->table + self->kept; left > 0 && !wl_run_look(&test->run, &self->looks);) {
        uint64_t burst = left < test->burst ? left : test->burst;
        wl_run_loop(loops_of(test)->finish, loops_of(test)->finish_timed, self, burst,
                    &self->sampler);
        left -= burst;
        wl_count_add(&self->count, self->freed - freed);
        freed = self->freed;
    }
    if (left == 0)
        self->kept = 0;
    return NULL;
}

/* The steady part between two waves, as the main thread sees it. */
typedef struct {
    uint64_t waves, freed, faults;
    int64_t wall_ns, cpu_ns;
} between;

static void collect_between(mstress *test, mstress_place *self, between *sum) {
    const uint64_t freed = self->freed, faults = wl_thread_minor_faults();
    const int64_t wall = wl_now_ns(), cpu = wl_thread_cpu_ns();
    self->position = 0;
    wl_run_loop(loops_of(test)->collect, loops_of(test)->collect_timed, self, test->options.slots,
                &self->sampler);
    wl_count_add(&self->count, self->freed - freed);
    sum->cpu_ns += wl_thread_cpu_ns() - cpu;
    sum->wall_ns += wl_now_ns() - wall;
    sum->faults += wl_thread_minor_faults() - faults;
    sum->freed += self->freed - freed;
}

static void drain(mstress *test, mstress_place *places) {
    const uint64_t threads = test->options.threads;
    for (uint64_t i = 0; i < threads; i++) {
        places[i].position = 0;
        loops_of(test)->finish(&places[i], test->table + places[i].kept);
    }
    places[threads].position = 0;
    loops_of(test)->collect_all(&places[threads], test->options.slots);
}

/* The number of objects that all places have freed. */
static uint64_t all_freed(const mstress *test, const mstress_place *places) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i <= test->options.threads; i++)
        sum += places[i].freed;
    return sum;
}

static void *supervise(void *run) {
    wl_run_supervise(run);
    return NULL;
}

/* Goes through the phases as the only thread that lives throughout; returns what was freed before
 * the drain. */
static uint64_t direct(mstress *test, mstress_place *places, between *sum) {
    const uint64_t threads = test->options.threads;
    mstress_place *self = &places[threads];
    pthread_t supervisor = wl_thread_start(supervise, &test->run);
    wl_run_pass(&test->run); /* START */
    loops_of(test)->fill(self);
    wl_count_add(&self->count, self->allocated);
    wl_run_pass(&test->run); /* FILLED */
    while (sum->waves < test->options.waves && !wl_run_over(&test->run)) {
        for (uint64_t i = 0; i < threads; i++)
            places[i].thread = wl_thread_start(live, &places[i]);
        for (uint64_t i = 0; i < threads; i++)
            wl_thread_join(places[i].thread);
        sum->waves++;
        collect_between(test, self, sum);
    }
    wl_run_pass(&test->run); /* STEADY */
    uint64_t freed = all_freed(test, places);
    drain(test, places);
    wl_run_pass(&test->run); /* DRAINED */
    wl_thread_join(supervisor);
    return freed;
}

/* ---- set-up -------------------------------------------------------------------------------------
 */

/* Steps of equal ratio, 16 to a doubling, from `from` to `to` bytes: every doubling has the same
 * part of `share`. Returns the number of steps after those. */
static uint32_t add_sizes(uint32_t *sizes, double *weights, uint32_t count, uint64_t from,
                          uint64_t to, double share) {
    const double all = log2((double)(to + 1) / (double)from);
    for (uint64_t size = from, next; size <= to; size = next) {
        next = (uint64_t)((double)size * 1.0442737824274138); /* 2^(1/16) */
        if (next <= size)
            next = size + 1;
        if (next > to)
            next = to + 1;
        sizes[count] = (uint32_t)size;
        weights[count++] = share * log2((double)next / (double)size) / all;
    }
    return count;
}

static void make_sizes(mstress *test) {
    enum { STEPS_MOST = 2048 };
    static uint32_t sizes[STEPS_MOST];
    static double weights[STEPS_MOST];
    const mstress_options *options = &test->options;
    const double large = (double)options->large / 1000.0;
    uint32_t count = 0;
    if (large < 1)
        count = add_sizes(sizes, weights, count, options->min, options->max, 1 - large);
    if (large > 0)
        count = add_sizes(sizes, weights, count, options->max, options->large_max, large);
    test->sizes = wl_sizes_from_table(sizes, weights, count);
}

/* With --none: a block for every holder, of the average size, so that the loop spans as much memory
 * as with an allocator that packs its blocks. */
static void set_blocks_aside(mstress *test, void **objects, uint64_t holders, const char *what) {
    const uint64_t stride = ((uint64_t)test->sizes.mean + 16) / 16 * 16;
    test->aside_bytes = (uint32_t)stride;
    unsigned char *blocks = wl_map_table(holders + test->options.slots, stride, 0, what);
    for (uint64_t i = 0; i < holders; i++)
        objects[i] = blocks + i * stride + 1; /* the lowest bit: empty */
    for (uint64_t i = 0; i < test->options.slots; i++)
        atomic_init(&test->slots[i].block, blocks + (holders + i) * stride + 1);
}

static mstress_place *prepare(mstress *test) {
    const mstress_options *options = &test->options;
    const uint64_t threads = options->threads;
    test->mode = wl_mode_of(&options->common);
    test->table = options->scale / 4 > 0 ? options->scale / 4 : 1;
    make_sizes(test);
    test->burst = wl_burst_length((uint64_t)test->sizes.mean);
    const uint64_t each = test->table + options->scale, holders = threads * each;
    char what[200];
    snprintf(what, sizeof what,
             "--scale %" PRIu64 " for each of --threads %" PRIu64 " and --slots %" PRIu64
             " of up to --max %" PRIu64 " and --large-max %" PRIu64 " bytes",
             options->scale, threads, options->slots, options->max, options->large_max);
    const double kept = (double)options->scale * (double)options->keep / 100.0;
    const double live = (double)threads * ((double)test->table + kept) + (double)options->slots;
    wl_refuse_beyond_memory(live * test->sizes.mean, what);
    void **objects = wl_map_table(holders, sizeof *objects, 1, what);
    wl_tag *tags = options->common.check ? wl_map_table(holders, sizeof *tags, 1, what) : NULL;
    test->slots = wl_map_table(options->slots, sizeof *test->slots, 1, what);
    if (options->common.none)
        set_blocks_aside(test, objects, holders, what);
    wl_latency *latencies =
        options->common.latency ? wl_map_table(threads + 1, sizeof *latencies, 0, what) : NULL;
    mstress_place *places = wl_map_table(threads + 1, sizeof *places, 1, what);
    for (uint64_t i = 0; i <= threads; i++)
        places[i] = (mstress_place){
            .test = test,
            .objects = i < threads ? objects + i * each : NULL,
            .tags = i < threads && tags != NULL ? tags + i * each : NULL,
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
        };
    /* One thread passes the marks: the main thread. */
    wl_run_init(&test->run, 1, options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &places[0].count,
                      sizeof places[0], threads + 1);
    return places;
}

/* ---- result -------------------------------------------------------------------------------------
 */

/* The steady part is the waves and what lies between them; the main thread timed the latter. */
static void split_steady(const mstress *test, const between *sum, wl_phase *waves,
                         wl_phase *betweens) {
    wl_phase steady = wl_phase_between(&test->run, "wave", WL_MARK_FILLED, WL_MARK_STEADY, 0);
    *waves = *betweens = steady;
    betweens->name = "between";
    betweens->operations = sum->freed;
    betweens->wall_seconds = (double)sum->wall_ns / 1e9;
    betweens->cpu_seconds = fmin((double)sum->cpu_ns / 1e9, steady.cpu_seconds);
    betweens->minor_faults = sum->faults < steady.minor_faults ? sum->faults : steady.minor_faults;
    waves->wall_seconds = steady.wall_seconds - betweens->wall_seconds;
    waves->cpu_seconds = steady.cpu_seconds - betweens->cpu_seconds;
    waves->minor_faults = steady.minor_faults - betweens->minor_faults;
}

static int report(const mstress *test, const mstress_place *places, const between *sum,
                  uint64_t freed_before_drain, const wl_arg_table *args) {
    const mstress_options *options = &test->options;
    const uint64_t threads = options->threads, filled = places[threads].allocated;
    uint64_t checksum = 0, checked = 0, allocated = 0, received = 0;
    for (uint64_t i = 0; i <= threads; i++) {
        checksum = wl_checksum_add(checksum, wl_mix(places[i].checksum));
        checked += places[i].user.blocks_checked;
        allocated += places[i].allocated;
        received += places[i].received;
    }
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, filled),
                   [3] = wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED,
                                          all_freed(test, places) - freed_before_drain)},
        .phase_count = 4,
        .has_checksum = options->seconds <= 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(places[0].user.latency, threads + 1),
    };
    split_steady(test, sum, &result.phases[1], &result.phases[2]);
    result.phases[1].operations = allocated - filled + freed_before_drain - sum->freed;
    const double wave_us =
        sum->waves > 0 ? result.phases[1].wall_seconds * 1e6 / (double)sum->waves : 0;
    const wl_figure figures[] = {{"waves", (double)sum->waves, 0},
                                 {"threads_started", (double)(sum->waves * threads), 0},
                                 {"wave_us", wave_us, 3},
                                 {"objects_received", (double)received, 0}};
    char note[200];
    snprintf(note, sizeof note,
             "%" PRIu64 " waves of %.1f us, starting and joining threads included; %" PRIu64
             " objects came through a slot",
             sum->waves, wave_us, received);
    result.note = note;
    result.figures = figures;
    result.figure_count = sizeof figures / sizeof *figures;
    return wl_report(&result);
}

/* ---- arguments ----------------------------------------------------------------------------------
 */

static void settle_options(mstress_options *options, const wl_arg_table *args) {
    const uint64_t default_large_max = 65536;
    wl_args_default_sizes(args, &options->min, &options->max, 1024);
    wl_args_refuse_reversed(options->min, options->max);
    if (!wl_args_given(args, "large-max"))
        options->large_max = options->max > default_large_max ? options->max : default_large_max;
    if (options->large_max < options->max)
        wl_fail(WL_EXIT_USAGE,
                "--large-max %" PRIu64 " is less than --max %" PRIu64 "; take at least that",
                options->large_max, options->max);
    if (options->keep + options->exchange > 100)
        wl_fail(WL_EXIT_USAGE,
                "--keep %" PRIu64 " and --exchange %" PRIu64 " are more than 100 per cent together",
                options->keep, options->exchange);
    if (wl_args_given(args, "operations") && !wl_args_given(args, "scale")) {
        /* So few objects a wave that even a short run has several. */
        const uint64_t few = options->operations / 20 > 0 ? options->operations / 20 : 1;
        options->scale = few < options->scale ? few : options->scale;
    }
    wl_args_bound_run(args, "waves", 2 * options->scale, &options->waves, &options->operations,
                      &options->seconds);
}

int main(int argc, char **argv) {
    static mstress test;
    mstress_options *o = &test.options;
    wl_driver_start("mstress");
    o->threads = wl_cores();
    o->seconds = 1;
    o->scale = 10000;
    o->slots = 1000;
    o->keep = 10;
    o->exchange = 25;
    o->large = 10;
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads of a wave; default: the processors"),
        WL_NUMBER_ARG("scale", "N", &o->scale, 1, WL_TABLE_MOST,
                      "objects that each allocates; default 10000, with operations at most that"),
        {.name = "seconds",
         .value = "S",
         .help = "how long waves are started; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG(
            "operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
            "instead: calls for each thread of a wave, in all waves; whole waves are made"),
        WL_NUMBER_ARG("waves", "N", &o->waves, 1, 1000000000, "instead: number of waves"),
        WL_NUMBER_ARG("slots", "N", &o->slots, 1, WL_TABLE_MOST,
                      "shared slots, which outlive the threads; default 1000"),
        WL_NUMBER_ARG("keep", "PERCENT", &o->keep, 0, 100,
                      "of the objects stay with their thread until it ends; default 10"),
        WL_NUMBER_ARG("exchange", "PERCENT", &o->exchange, 0, 100,
                      "as many objects are exchanged through a slot; default 25"),
        WL_NUMBER_ARG("min", "BYTES", &o->min, 1, WL_SIZE_LIMIT,
                      "least size; default 8, or the greatest if less"),
        WL_NUMBER_ARG("max", "BYTES", &o->max, 1, WL_SIZE_LIMIT, "greatest size; default 1024"),
        WL_NUMBER_ARG("large", "PER-MILLE", &o->large, 0, 1000,
                      "of the objects are large: from the greatest size on; default 10"),
        WL_NUMBER_ARG("large-max", "BYTES", &o->large_max, 1, WL_SIZE_LIMIT,
                      "greatest size of a large object; default 65536"),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const brief[] = {"threads", "scale", "waves"};
    static const wl_form forms[] = {{brief, 3}};
    wl_arg_table table = {
        "waves of threads exchange objects through slots that outlive them (after Leijen's stress "
        "test)",
        args, sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    settle_options(o, &table);
    mstress_place *places = prepare(&test);
    between sum = {0};
    uint64_t freed = direct(&test, places, &sum);
    return report(&test, places, &sum, freed, &table);
}
