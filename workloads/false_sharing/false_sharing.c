/* The engine of cache_thrash and cache_scratch; what they do and after whom: false_sharing.h. */
#include "false_sharing.h"

#include <inttypes.h>
#include <stdio.h>

#include "cache_lines.h"
#include "wl_driver.h"
#include "wl_loops.h"
#include "wl_memory.h"

enum {
    SIZE_MOST = 65536,
    REPETITIONS_MOST = 1000000000,
    WRITES_A_BURST = 16384, /* bytes written between two looks at the time, some 5 us */
    SLOTS_A_LOOK = 64,      /* other threads' objects that a look compares with one's own */
    APART = 128 /* bytes between blocks set aside: a line, and the one that is fetched with it */
};

typedef struct {
    uint64_t threads, size, repetitions, operations;
    double seconds;
    wl_common common;
} sharing_options;

typedef struct sharing_thread sharing_thread;

/* Shared by all threads, read-only during the run but for `run`. */
typedef struct {
    sharing_options options;
    const fs_driver *driver;
    sharing_thread *threads;
    uint64_t burst; /* objects between two that are counted */
    uint64_t chunk; /* repetitions between two looks at the time */
    size_t line;    /* bytes of a cache line */
    int mode;
    wl_run run;
} sharing;

/* Of one thread; no two lie on one cache line, or the driver itself would share falsely. */
struct sharing_thread {
    /* The object, for the others to compare with: NULL while it is being replaced, so that what is
     * seen here lives. */
    _Alignas(APART) _Atomic uintptr_t seen;
    sharing *test;
    unsigned char *object;
    unsigned char *set_aside; /* with --none */
    uint64_t written;         /* repetitions on the object; 0 after the fill */
    wl_tag tag;               /* with --check */
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks;                /* at the time */
    unsigned looked;               /* how many of these when it last looked at the others */
    uint64_t samples, shared;      /* looks at the others' objects; those that met one */
    uint64_t next;                 /* slot at which the next such look begins */
    uint64_t churned;              /* objects allocated in churn */
    uintptr_t filled_at, ended_at; /* where the object was at these marks */
    uint64_t checksum;
    pthread_t thread;
};

/* ---- the loops ----------------------------------------------------------------------------------
 */

/* Allocates the object of `owner`, which is the calling thread but for the first objects. */
WL_INLINE void take(sharing_thread *self, sharing_thread *owner, const int mode, const bool timed) {
    owner->object =
        wl_block_get((uint32_t)self->test->options.size, owner->set_aside,
                     (mode & WL_MODE_CHECK) != 0 ? &owner->tag : NULL, &self->user, mode, timed);
    owner->written = 0;
    atomic_store_explicit(&owner->seen, (uintptr_t)owner->object, memory_order_relaxed);
}

/* Frees the object. Every repetition added one to every byte, which --check takes back. */
WL_INLINE void give_back(sharing_thread *self, const int mode, const bool timed) {
    atomic_store_explicit(&self->seen, 0, memory_order_relaxed);
    if ((mode & WL_MODE_CHECK) != 0)
        for (uint64_t i = 0; i < self->test->options.size; i++)
            self->object[i] = (unsigned char)(self->object[i] - self->written);
    wl_block_release(self->object, (mode & WL_MODE_CHECK) != 0 ? &self->tag : NULL, &self->user,
                     mode, timed);
}

/* Writes an object `count` times: each time every byte of it is read, added one to and stored, by
 * instructions that volatile keeps. One piece of code, aligned, for all modes: nearly all the time
 * is spent here, and where a loop lies can change its speed by a third. */
__attribute__((noinline, aligned(64))) static void write_bytes(volatile unsigned char *bytes,
                                                               uint64_t size, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        for (uint64_t k = 0; k < size; k++)
            bytes[k] = (unsigned char)(bytes[k] + 1);
}

/* Writes the object as often as was asked for, or until the run's time is over. */
WL_INLINE void write_object(sharing_thread *self) {
    for (uint64_t left = self->test->options.repetitions; left > 0;) {
        const uint64_t count = left < self->test->chunk ? left : self->test->chunk;
        write_bytes(self->object, self->test->options.size, count);
        self->written += count;
        left -= count;
        if (left > 0 && wl_run_look(&self->test->run, &self->looks))
            return;
    }
}

WL_INLINE void churn(sharing_thread *self, uint64_t count, const int mode, const bool timed) {
    const uint64_t size = self->test->options.size;
    for (; count > 0; count--) {
        give_back(self, mode, timed);
        take(self, self, mode, timed);
        write_object(self);
        self->checksum = wl_checksum_add(self->checksum, size);
    }
}

/* The first objects: each thread allocates its own, or the first thread those of all. */
WL_INLINE void fill(sharing_thread *self, const int mode) {
    const sharing *test = self->test;
    if (!test->driver->handover)
        take(self, self, mode, false);
    else if (self == test->threads)
        for (uint64_t i = 0; i < test->options.threads; i++)
            take(self, &test->threads[i], mode, false);
}

WL_INLINE void drain(sharing_thread *self, const int mode) {
    give_back(self, mode, false);
}

WL_LOOPS(sharing_thread, churn);

/* ---- the threads --------------------------------------------------------------------------------
 */

/* Does the thread's object share a line with one that another thread has at this moment? Looks at
 * some of the others, in turn, so that the cost does not grow with their number. */
static void look_at_others(sharing_thread *self) {
    const sharing *test = self->test;
    const uint64_t threads = test->options.threads;
    const uint64_t looks = threads - 1 < SLOTS_A_LOOK ? threads - 1 : SLOTS_A_LOOK;
    bool met = false;
    self->looked = self->looks;
    for (uint64_t i = 0; i < looks; i++) {
        if (&test->threads[self->next] == self)
            self->next = self->next + 1 < threads ? self->next + 1 : 0;
        uintptr_t other =
            atomic_load_explicit(&test->threads[self->next].seen, memory_order_relaxed);
        met |= other != 0 && cache_lines_meet(other, (uintptr_t)self->object,
                                              (size_t)test->options.size, test->line);
        self->next = self->next + 1 < threads ? self->next + 1 : 0;
    }
    self->samples++;
    self->shared += met;
}

static void *serve(void *data) {
    sharing_thread *self = data;
    sharing *test = self->test;
    const uint64_t wanted = test->options.operations > 0 ? test->options.operations : UINT64_MAX;
    wl_run_pass(&test->run); /* START */
    loops[test->mode].fill(self);
    wl_run_pass(&test->run); /* FILLED */
    self->filled_at = (uintptr_t)self->object;
    wl_count_add(&self->count, 1);
    /* Each replaces its first object at least, or those of threads that came too late for the
     * processors would count at the end as they were allocated in fill. */
    do {
        const uint64_t left = wanted - self->churned;
        const uint64_t burst = left < test->burst ? left : test->burst;
        wl_run_loop(loops[test->mode].churn, loops[test->mode].churn_timed, self, burst,
                    &self->sampler);
        self->churned += burst;
        wl_count_add(&self->count, 2 * burst);
        if (self->looks - self->looked >= WL_LOOKS_A_CLOCK)
            look_at_others(self);
    } while (self->churned < wanted && !wl_run_look(&test->run, &self->looks));
    self->ended_at = (uintptr_t)self->object;
    wl_run_pass(&test->run); /* STEADY */
    loops[test->mode].drain(self);
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* ---- set-up and result
 * ---------------------------------------------------------------------------- */

static void prepare(sharing *test) {
    const sharing_options *options = &test->options;
    const uint64_t work = options->size * options->repetitions;
    char what[80];
    snprintf(what, sizeof what, "--size %" PRIu64 " for each of --threads %" PRIu64, options->size,
             options->threads);
    test->mode = wl_mode_of(&options->common);
    test->line = cache_line_bytes();
    test->burst = work < WRITES_A_BURST ? wl_burst_length(16 * work) : 1;
    test->chunk = WRITES_A_BURST > options->size ? WRITES_A_BURST / options->size : 1;
    const uint64_t stride = (options->size + APART - 1) / APART * APART;
    unsigned char *set_aside =
        options->common.none ? wl_map_table(options->threads, stride, 1, what) : NULL;
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    test->threads = wl_map_table(options->threads, sizeof *test->threads, 1, what);
    for (uint64_t i = 0; i < options->threads; i++)
        test->threads[i] = (sharing_thread){
            .test = test,
            .set_aside = set_aside == NULL ? NULL : set_aside + i * stride,
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
        };
    wl_run_init(&test->run, (unsigned)options->threads,
                options->operations > 0 ? 0 : options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &test->threads[0].count,
                      sizeof test->threads[0], options->threads);
}

/* What the addresses show of the sharing of cache lines. */
typedef struct {
    cache_lines filled, ended; /* of all objects, at the end of fill and of churn */
    uint64_t samples, shared;  /* of single objects during churn */
} sharing_found;

static sharing_found find_sharing(const sharing *test) {
    const uint64_t count = test->options.threads;
    const size_t size = (size_t)test->options.size;
    uintptr_t *addresses = wl_map_table(count, sizeof *addresses, 1, "the objects' addresses");
    sharing_found found = {.samples = 0};
    for (uint64_t i = 0; i < count; i++)
        addresses[i] = test->threads[i].filled_at;
    found.filled = cache_lines_count(addresses, count, size, test->line);
    for (uint64_t i = 0; i < count; i++) {
        addresses[i] = test->threads[i].ended_at;
        found.samples += test->threads[i].samples;
        found.shared += test->threads[i].shared;
    }
    found.ended = cache_lines_count(addresses, count, size, test->line);
    wl_unmap_table(addresses, count, sizeof *addresses);
    return found;
}

static int report(const sharing *test, const wl_arg_table *args) {
    const sharing_options *options = &test->options;
    uint64_t checksum = 0, checked = 0, churned = 0;
    for (uint64_t i = 0; i < options->threads; i++) {
        const sharing_thread *thread = &test->threads[i];
        checksum = wl_checksum_add(checksum, wl_mix(thread->checksum));
        checked += thread->user.blocks_checked;
        churned += thread->churned;
    }
    const sharing_found found = find_sharing(test);
    const double percent =
        found.samples > 0 ? 100.0 * (double)found.shared / (double)found.samples : 0.0;
    const wl_figure figures[] = {
        {"line_bytes", (double)test->line, 0},
        {"fill_lines", (double)found.filled.lines, 0},
        {"fill_shared_objects", (double)found.filled.shared_objects, 0},
        {"churn_lines", (double)found.ended.lines, 0},
        {"churn_shared_objects", (double)found.ended.shared_objects, 0},
        {"churn_samples", (double)found.samples, 0},
        {"churn_shared_percent", percent, 2},
    };
    char note[240];
    int used = snprintf(
        note, sizeof note,
        "of %" PRIu64 " objects %" PRIu64 " shared a cache line of %zu bytes with "
        "another thread's at the end of fill,\n             %" PRIu64 " at the end of churn",
        options->threads, found.filled.shared_objects, test->line, found.ended.shared_objects);
    if (found.samples > 0)
        snprintf(note + used, sizeof note - (size_t)used,
                 "; in churn %.1f%% of %" PRIu64 " samples did", percent, found.samples);
    wl_result result = {
        .args = args,
        .common = &options->common,
        .run = &test->run,
        .phases = {wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED,
                                    options->threads),
                   wl_phase_between(&test->run, "churn", WL_MARK_FILLED, WL_MARK_STEADY,
                                    2 * churned),
                   wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED,
                                    options->threads)},
        .phase_count = 3,
        .has_checksum = options->operations > 0,
        .checksum = checksum,
        .blocks_checked = checked,
        .latency = wl_latency_sum(test->threads[0].user.latency, options->threads),
        .note = note,
        .figures = figures,
        .figure_count = sizeof figures / sizeof figures[0],
    };
    return wl_report(&result);
}

int false_sharing_main(const fs_driver *driver, int argc, char **argv) {
    static sharing test;
    sharing_options *o = &test.options;
    wl_driver_start(driver->program);
    test.driver = driver;
    o->threads = wl_cores();
    o->seconds = 1;
    o->size = 8;
    o->repetitions = 1000;
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads, each with one object at a time; default: the processors"),
        {.name = "seconds",
         .value = "S",
         .help = "how long to churn; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "instead: objects that each thread allocates in churn"),
        WL_NUMBER_ARG("size", "BYTES", &o->size, 1, SIZE_MOST, "of every object; default 8"),
        WL_NUMBER_ARG("repetitions", "N", &o->repetitions, 1, REPETITIONS_MOST,
                      "how often each object is written from end to end; default 1000"),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const classic[] = {"threads", "operations", "size", "repetitions"};
    static const wl_form forms[] = {{classic, 4}};
    wl_arg_table table = {driver->summary, args, sizeof args / sizeof args[0], forms, 1};
    wl_args_parse(&table, argc, argv);
    wl_args_exclude(&table, "seconds", "operations");
    wl_args_find(&table, o->operations > 0 ? "seconds" : "operations")->unused = true;
    prepare(&test);
    WL_RUN_THREADS(&test.run, serve, test.threads, o->threads);
    return report(&test, &table);
}
