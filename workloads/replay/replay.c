/*
 * replay: plays the allocation calls of a recorded program, by the recorded threads and in the
 * recorded order, against the allocator under test.
 *
 * Recorded traces are an old way to measure allocators (P. Wilson, M. Johnstone, M. Neely and
 * D. Boles, "Dynamic Storage Allocation: A Survey and Critical Review", IWMM 1995, says why:
 * random sizes and lifetimes are not those of programs). Each thread makes its own calls in their
 * order; a call on a block that another thread had before waits for that thread's call, and nothing
 * else waits. replay_plan.h says why nobody waits for ever.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "replay_course.h"
#include "replay_load.h"
#include "replay_pace.h"
#include "replay_player.h"
#include "wl_driver.h"
#include "wl_memory.h"

enum {
    PATIENCE = 500, /* looks at a block that is another thread's turn, some 10 us */
    BURST = 4096,   /* calls between two counts for --progress */
    FIGURES_MOST = 20
};
#define LOOPS_MOST UINT64_C(1000000000)

typedef struct {
    const char *trace, *touch, *speed;
    uint64_t loops, points;
    double seconds;
    bool timed;
    wl_common common;
} replay_options;

/* Shared by all threads; read-only during the run but for `run`, `course` and the shared slots. */
typedef struct {
    replay_options options;
    replay_touch touch;
    double speed;
    uint64_t inherited, failed, resized, lost; /* of replay_events */
    char stopped[160];
    replay_plan plan;
    replay_shared *shared;
    wl_run run;
    replay_course course;
    bool peak_is_the_runs;
} replay;

typedef struct {
    replay_player player;
    replay *test;
    const replay_lane *lane;
    replay_stream stream;
    replay_loops loops;
    wl_sampler sampler;
    replay_pace pace;
    uint64_t made; /* calls of this loop */
    wl_count counted;
    pthread_t thread;
} replay_thread;

/* ---- the threads --------------------------------------------------------------------------- */

static void make_calls(replay_thread *self, uint64_t calls) {
    const bool paced = self->lane->times != NULL;
    while (calls > 0) {
        uint64_t burst = replay_stream_fill(&self->stream, &self->player.next);
        if (burst > BURST)
            burst = BURST;
        if (burst > calls)
            burst = calls;
        if (paced)
            burst = 1;
        if (paced)
            replay_pace_wait(&self->pace, self->test->course.begin_ns,
                             self->lane->times[self->made]);
        wl_run_loop(self->loops.plain, self->loops.timed, &self->player, burst, &self->sampler);
        wl_count_add(&self->counted, burst);
        self->made += burst;
        calls -= burst;
    }
}

static void drain(replay_thread *self) {
    for (uint64_t left = self->lane->drain_calls; left > 0;) {
        uint64_t burst = replay_stream_fill(&self->stream, &self->player.next);
        burst = burst < left ? burst : left;
        self->loops.plain(&self->player, burst);
        wl_count_add(&self->counted, burst);
        left -= burst;
    }
}

static void *serve(void *data) {
    replay_thread *self = data;
    replay *test = self->test;
    wl_run_pass(&test->run); /* START */
    if (self->lane == test->plan.lanes)
        replay_course_begin(&test->course);
    wl_run_pass(&test->run); /* FILLED */
    do {
        self->player.next = replay_stream_rewind(&self->stream);
        self->made = 0;
        for (unsigned point = 0; point < test->plan.point_count; point++) {
            make_calls(self, self->lane->calls_to[point]);
            replay_course_pass(&test->course, point);
        }
        replay_course_meet(&test->course);
        drain(self);
    } while (replay_course_goes_on(&test->course));
    wl_run_pass(&test->run); /* STEADY */
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* ---- set-up -------------------------------------------------------------------------------- */

/* With --none: a block for each slot, as large as the largest that ever lies there. Untouched parts
 * of them cost no memory. */
static void set_blocks_aside(const replay *test, replay_thread *threads) {
    const replay_plan *plan = &test->plan;
    for (uint32_t i = 0; i <= plan->threads; i++) {
        const bool shared = i == plan->threads;
        const uint32_t slots = shared ? plan->shared_slots : plan->lanes[i].slots;
        const uint64_t *room = shared ? plan->shared_room : plan->lanes[i].room;
        uint64_t bytes = 0;
        for (uint32_t s = 0; s < slots; s++)
            bytes += (room[s] + 15) / 16 * 16;
        unsigned char *at = wl_map_table(bytes, 1, 0, "what --none sets aside");
        for (uint32_t s = 0; s < slots; s++) {
            *(shared ? &test->shared[s].block : &threads[i].player.local[s]) = at;
            at += (room[s] + 15) / 16 * 16;
        }
    }
}

/* The peak of the resident size begins here: reading and compiling the trace took memory that the
 * run does not have. False where the kernel does not allow it. */
static bool forget_peak(void) {
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    const bool done = write(file, "5", 1) == 1;
    (void)close(file);
    return done;
}

static void plan_from_file(replay *test) {
    const replay_options *options = &test->options;
    replay_events events = replay_load(options->trace);
    const replay_wishes wishes = {
        .points = (unsigned)options->points,
        .times = options->timed,
        .room = options->common.none,
        .no_quick = test->touch != REPLAY_TOUCH_ENDS,
    };
    if (events.threads > WL_THREADS_MOST)
        wl_fail(WL_EXIT_USAGE,
                "'%.300s' was recorded with %" PRIu32 " threads; replay takes up to %d",
                options->trace, events.threads, WL_THREADS_MOST);
    if (options->timed && !events.has_times)
        wl_fail(WL_EXIT_USAGE,
                "--timed: '%.300s' has no times, it was recorded with HAKMEM_TRACE_TIMES=0; leave "
                "the option out, or record it again",
                options->trace);
    test->inherited = events.inherited;
    test->failed = events.failed;
    test->resized = events.resized;
    test->lost = events.lost;
    memcpy(test->stopped, events.stopped, sizeof test->stopped);
    test->plan = replay_plan_make(&events, options->trace, wishes);
    replay_unload(&events);
}

static replay_thread *prepare(replay *test) {
    const replay_options *options = &test->options;
    plan_from_file(test);
    const replay_plan *plan = &test->plan;
    const int mode = wl_mode_of(&options->common);
    const char *what = "the tables of blocks";
    test->shared = wl_map_table(plan->shared_slots, sizeof *test->shared, 1, what);
    replay_thread *threads = wl_map_table(plan->threads, sizeof *threads, 1, what);
    wl_latency *latencies =
        options->common.latency ? wl_map_table(plan->threads, sizeof *latencies, 0, what) : NULL;
    for (uint32_t i = 0; i < plan->threads; i++) {
        const replay_lane *lane = &plan->lanes[i];
        threads[i] = (replay_thread){
            .test = test,
            .lane = lane,
            .stream = lane->stream,
            .loops = replay_loops_of[mode],
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
            .pace = {.speed = test->speed},
            .player = {
                .local = wl_map_table(lane->slots, sizeof(void *), 1, what),
                .tags = options->common.check ? wl_map_table(lane->slots, sizeof(wl_tag), 1, what)
                                              : NULL,
                .shared = test->shared,
                .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                         .serial = wl_first_serial(i)},
                .patience = plan->threads <= wl_cores() ? PATIENCE : 0,
                .touch = test->touch,
            }};
    }
    if (options->common.none)
        set_blocks_aside(test, threads);
    wl_run_init(&test->run, plan->threads, options->seconds);
    replay_course_init(&test->course, plan, &test->run, options->loops);
    wl_progress_start(&test->run.progress, options->common.progress, &threads[0].counted,
                      sizeof threads[0], plan->threads);
    test->peak_is_the_runs = forget_peak();
    return threads;
}

/* ---- result -------------------------------------------------------------------------------- */

static unsigned add_figure(wl_figure *figures, unsigned count, const char *name, double value) {
    figures[count] = (wl_figure){.name = name, .value = value};
    return count + 1;
}

/* Of the resident size what is the player's: pieces of the streams, and the tables of blocks. */
static uint64_t own_bytes(const replay *test) {
    const replay_plan *plan = &test->plan;
    uint64_t bytes = plan->shared_slots * sizeof(replay_shared);
    const uint64_t a_slot = sizeof(void *) + (test->options.common.check ? sizeof(wl_tag) : 0);
    for (uint32_t i = 0; i < plan->threads; i++)
        bytes += plan->lanes[i].stream.room * sizeof(uint64_t) + plan->lanes[i].slots * a_slot;
    if (test->options.timed)
        bytes += plan->calls * sizeof(uint64_t);
    return bytes;
}

static unsigned fill_figures(const replay *test, const replay_thread *threads, wl_figure *f) {
    const replay_plan *plan = &test->plan;
    uint64_t waits = 0, late = 0;
    for (uint32_t i = 0; i < plan->threads; i++) {
        waits += threads[i].player.waits;
        late = threads[i].pace.latest_ns > late ? threads[i].pace.latest_ns : late;
    }
    unsigned n = 0;
    n = add_figure(f, n, "recorded_calls", (double)plan->calls);
    n = add_figure(f, n, "recorded_threads", plan->threads);
    f[n++] = (wl_figure){"recorded_seconds", (double)plan->recorded_ns / 1e9, 6};
    n = add_figure(f, n, "loops", (double)test->course.loops);
    n = add_figure(f, n, "reallocs", (double)plan->reallocs);
    n = add_figure(f, n, "frees_of_null", (double)plan->frees_of_null);
    n = add_figure(f, n, "crossing_calls", (double)plan->crossings);
    n = add_figure(f, n, "waits", (double)waits);
    n = add_figure(f, n, "peak_live_bytes", (double)plan->peak_live_bytes);
    n = add_figure(f, n, "peak_live_blocks", (double)plan->peak_live_blocks);
    n = add_figure(f, n, "left_live_bytes", (double)plan->drain_bytes);
    n = add_figure(f, n, "left_live_blocks", (double)plan->drain_calls);
    n = add_figure(f, n, "skipped_inherited", (double)test->inherited);
    n = add_figure(f, n, "skipped_failed", (double)test->failed);
    n = add_figure(f, n, "inherited_resized", (double)test->resized);
    n = add_figure(f, n, "lost_blocks", (double)test->lost);
    n = add_figure(f, n, "player_bytes", (double)own_bytes(test));
    n = add_figure(f, n, "peak_is_the_runs", test->peak_is_the_runs);
    f[n++] = (wl_figure){"latest_seconds", (double)late / 1e9, 9};
    return n;
}

static void write_note(const replay *test, const wl_figure *figures, unsigned count, char *note,
                       size_t room) {
    const replay_plan *plan = &test->plan;
    int used =
        snprintf(note, room,
                 "%" PRIu64 " recorded calls of %" PRIu32 " thread%s, %" PRIu64
                 " time%s; a quarter is a quarter of the calls\n"
                 "             at most %.1f MiB in %" PRIu64 " blocks alive, %.1f MiB in %" PRIu64
                 " at the end; %" PRIu64 " calls on blocks that threads share\n"
                 "             the player's own tables take %.1f MiB of the memory",
                 plan->calls, plan->threads, plan->threads == 1 ? "" : "s", test->course.loops,
                 test->course.loops == 1 ? "" : "s", (double)plan->peak_live_bytes / 1048576.0,
                 plan->peak_live_blocks, (double)plan->drain_bytes / 1048576.0, plan->drain_calls,
                 plan->crossings, (double)own_bytes(test) / 1048576.0);
    if (test->inherited + test->failed > 0)
        used +=
            snprintf(note + used, room - (size_t)used,
                     "\n             not played: %" PRIu64
                     " frees of blocks from before the recording, %" PRIu64 " calls that failed",
                     test->inherited, test->failed);
    if (test->stopped[0] != '\0')
        used += snprintf(note + used, room - (size_t)used,
                         "\n             the recording ended before the program did: %s",
                         test->stopped);
    if (test->options.timed)
        used += snprintf(note + used, room - (size_t)used,
                         "\n             recorded timing: the latest call was %.3f ms late",
                         figures[count - 1].value * 1e3);
    if (!test->peak_is_the_runs)
        (void)snprintf(note + used, room - (size_t)used,
                       "\n             the peak contains the reading of the trace");
}

static int report(replay *test, const replay_thread *threads, const wl_arg_table *args) {
    const replay_options *options = &test->options;
    uint64_t checked = 0;
    for (uint32_t i = 0; i < test->plan.threads; i++) {
        checked += threads[i].player.user.blocks_checked;
    }
    replay_course_end(&test->course);
    static char note[1000];
    static wl_figure figures[FIGURES_MOST];
    const unsigned count = fill_figures(test, threads, figures);
    write_note(test, figures, count, note, sizeof note);
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phase_count = REPLAY_PHASES,
        .has_checksum = options->loops > 0,
        .checksum = test->plan.checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(threads[0].player.user.latency, test->plan.threads),
        .note = note,
        .figures = figures,
        .figure_count = count,
        .memory = test->course.memory,
        .memory_count = options->points > 0 ? test->plan.point_count : 0,
    };
    memcpy(result.phases, test->course.phases, sizeof test->course.phases);
    return wl_report(&result);
}

/* ---- arguments ----------------------------------------------------------------------------- */

static void settle_options(replay *test, wl_arg_table *args) {
    replay_options *options = &test->options;
    static const char *const touches[] = {"ends", "pages", "all"};
    wl_args_exclude(args, "seconds", "loops");
    wl_args_find(args, options->seconds > 0 ? "loops" : "seconds")->unused = true;
    if (options->seconds > 0)
        options->loops = 0;
    if (!wl_args_given(args, "trace"))
        wl_fail(WL_EXIT_USAGE, "there is no TRACE to replay; name a file that libhakmem-trace.so "
                               "recorded, see --help");
    unsigned touch = 0;
    while (touch < 3 && strcmp(options->touch, touches[touch]) != 0)
        touch++;
    if (touch == 3)
        wl_fail(WL_EXIT_USAGE, "--touch takes ends, pages or all, not '%.200s'", options->touch);
    test->touch = (replay_touch)touch;
    if (!replay_pace_parse(options->speed, &test->speed))
        wl_fail(WL_EXIT_USAGE, "--speed takes a number from %g to %g, not '%.200s'",
                REPLAY_SPEED_LEAST, REPLAY_SPEED_MOST, options->speed);
    if (!options->timed && wl_args_given(args, "speed"))
        wl_fail(WL_EXIT_USAGE, "--speed is of recorded timing; give --timed too, or leave it out");
    wl_args_find(args, "speed")->unused = !options->timed;
}

int main(int argc, char **argv) {
    static replay test;
    replay_options *o = &test.options;
    wl_driver_start("replay");
    o->trace = "";
    o->touch = "ends";
    o->speed = "1";
    o->loops = 1;
    o->points = 64;
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        {.name = "trace",
         .value = "FILE",
         .help = "a trace of libhakmem-trace.so, also compressed; redis, gcc, python; -: standard "
                 "input",
         .kind = WL_ARG_TEXT,
         .target = &o->trace},
        WL_NUMBER_ARG("loops", "N", &o->loops, 1, LOOPS_MOST, "plays it so many times; default 1"),
        {.name = "seconds",
         .value = "S",
         .help = "plays it again until so much time has passed; always whole loops",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        {.name = "timed",
         .help = "with the recorded time between calls; default: as fast as possible",
         .kind = WL_ARG_FLAG,
         .target = &o->timed},
        {.name = "speed",
         .value = "X",
         .help = "with --timed: so many times as fast as recorded; default 1",
         .kind = WL_ARG_TEXT,
         .target = &o->speed},
        {.name = "touch",
         .value = "ends|pages|all",
         .help = "what is written of a new block: its ends (default), each page, or all",
         .kind = WL_ARG_TEXT,
         .target = &o->touch},
        WL_NUMBER_ARG("points", "N", &o->points, 0, REPLAY_POINTS_MOST,
                      "moments of the first loop at which memory is noted; default 64, 0: none"),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const positional[] = {"trace"};
    static const wl_form forms[] = {{positional, 1}};
    wl_arg_table table = {"plays a recorded program's allocation calls", args,
                          sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    settle_options(&test, &table);
    replay_thread *threads = prepare(&test);
    WL_RUN_THREADS(&test.run, serve, threads, test.plan.threads);
    return report(&test, threads, &table);
}
