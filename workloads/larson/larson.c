/*
 * larson: blocks of random sizes are replaced at random, and whole arrays of them are handed from
 * thread to thread, as in a server whose requests outlive the thread that accepted them.
 *
 * After P. Larson and M. Krishnan, "Memory Allocation for Long-Running Server Applications",
 * ISMM 1998. A thread owns an array of blocks; a replacement frees a random one and allocates one
 * of random size in its place; a round is as many replacements as the array has blocks. After its
 * rounds a thread hands the array to a new thread and exits, so that the new one frees blocks that
 * it did not allocate.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "wl_clock.h"
#include "wl_driver.h"
#include "wl_fail.h"
#include "wl_loops.h"
#include "wl_memory.h"

typedef struct {
    uint64_t threads, operations, min, max, chunks, rounds;
    double seconds;
    wl_common common;
} larson_options;

typedef struct larson_slot larson_slot;

/* Shared by all threads, read-only during the run but for `run`. */
typedef struct {
    larson_options options;
    uint64_t burst; /* replacements between two looks at the time */
    int mode;
    larson_slot *slots;
    wl_run run;
} larson;

/* What passes from thread to thread: at any time one thread uses it. */
struct larson_slot {
    _Alignas(128) larson *test;
    void **blocks;
    wl_tag *tags; /* only with --check */
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks; /* at the time; a thread of few rounds alone would never come to the clock */
    uint64_t left;  /* replacements still to be made; UINT64_MAX where time ends the run */
    uint64_t handovers;
    int64_t handover_start_ns;
    pthread_t thread; /* the one before this, then the last */
    /* Figures of the two phases that each slot passes at moments of its own. */
    uint64_t churn_replacements, handover_replacements;
    int64_t handover_ns, churn_cpu_ns;
    uint64_t churn_faults;
};

/* ---- the loops ----------------------------------------------------------------------------------
 */

WL_INLINE void replace(larson_slot *slot, uint64_t count, const int mode, const bool timed) {
    void **blocks = slot->blocks;
    wl_tag *tags = slot->tags;
    wl_random random = slot->random;
    uint64_t checksum = slot->checksum;
    const uint64_t chunks = slot->test->options.chunks;
    const uint32_t min = (uint32_t)slot->test->options.min;
    const uint64_t span = slot->test->options.max - slot->test->options.min + 1;
    for (; count > 0; count--) {
        uint64_t bits = wl_random_next(&random);
        uint64_t index = wl_random_below(wl_high_bits(bits), chunks);
        uint32_t size = min + (uint32_t)wl_random_below(wl_low_bits(bits), span);
        checksum = wl_checksum_add(checksum, index << 32 | size);
        void *block = blocks[index];
        wl_tag *tag = (mode & WL_MODE_CHECK) != 0 ? &tags[index] : NULL;
        wl_block_release(block, tag, &slot->user, mode, timed);
        blocks[index] = wl_block_get(size, block, tag, &slot->user, mode, timed);
    }
    slot->random = random;
    slot->checksum = checksum;
}

WL_INLINE void fill(larson_slot *slot, const int mode) {
    const larson_options *options = &slot->test->options;
    for (uint64_t i = 0; i < options->chunks; i++) {
        uint64_t bits = wl_random_next(&slot->random);
        uint32_t size = (uint32_t)(options->min + wl_random_below(wl_low_bits(bits),
                                                                  options->max - options->min + 1));
        slot->checksum = wl_checksum_add(slot->checksum, i << 32 | size);
        slot->blocks[i] =
            wl_block_get(size, slot->blocks[i], (mode & WL_MODE_CHECK) != 0 ? &slot->tags[i] : NULL,
                         &slot->user, mode, false);
    }
}

WL_INLINE void drain(larson_slot *slot, const int mode) {
    for (uint64_t i = 0; i < slot->test->options.chunks; i++)
        wl_block_release(slot->blocks[i], (mode & WL_MODE_CHECK) != 0 ? &slot->tags[i] : NULL,
                         &slot->user, mode, false);
}

WL_LOOPS(larson_slot, replace);

/* ---- the threads --------------------------------------------------------------------------------
 */

/* Makes `rounds` rounds of replacements and adds them to *made. True when the slot's work is over.
 */
static bool replace_rounds(larson_slot *slot, uint64_t rounds, uint64_t *made) {
    larson *test = slot->test;
    uint64_t count = rounds * test->options.chunks; /* at most 10^17 */
    while (count > 0 && slot->left > 0 && !wl_run_look(&test->run, &slot->looks)) {
        uint64_t burst = count < test->burst ? count : test->burst;
        if (burst > slot->left)
            burst = slot->left;
        wl_run_loop(loops[test->mode].replace, loops[test->mode].replace_timed, slot, burst,
                    &slot->sampler);
        count -= burst;
        *made += burst;
        wl_count_add(&slot->count, 2 * burst);
        if (slot->left != UINT64_MAX)
            slot->left -= burst;
    }
    return slot->left == 0 || wl_run_over(&test->run);
}

static bool churn(larson_slot *slot, uint64_t rounds) {
    int64_t cpu = wl_thread_cpu_ns();
    uint64_t faults = wl_thread_minor_faults();
    bool over = replace_rounds(slot, rounds, &slot->churn_replacements);
    slot->churn_cpu_ns += wl_thread_cpu_ns() - cpu;
    slot->churn_faults += wl_thread_minor_faults() - faults;
    return over;
}

/*
 * The phase "handover" of a slot: from the moment its thread decides to hand over until the new
 * thread has made its first round and has seen the old one's end. In that round some 63% of the
 * inherited blocks are freed by the thread that did not allocate them; the old thread's exit, in
 * which an allocator gives up what it kept for it, happens meanwhile.
 */
static void *serve(void *data);

static void hand_over(larson_slot *slot) {
    slot->handover_start_ns = wl_now_ns();
    slot->handovers++;
    slot->thread = pthread_self();
    (void)wl_thread_start(serve, slot); /* from here on the slot belongs to the new thread */
}

static bool take_over(larson_slot *slot) {
    bool over = replace_rounds(slot, 1, &slot->handover_replacements);
    wl_thread_join(slot->thread);
    slot->handover_ns += wl_now_ns() - slot->handover_start_ns;
    return over;
}

static void *serve(void *data) {
    larson_slot *slot = data;
    larson *test = slot->test;
    uint64_t rounds = test->options.rounds;
    bool over = false;
    if (slot->handovers == 0) {
        wl_run_pass(&test->run); /* START */
        loops[test->mode].fill(slot);
        wl_count_add(&slot->count, test->options.chunks);
        wl_run_pass(&test->run); /* FILLED */
    } else {
        over = take_over(slot);
        rounds--;
    }
    if (!over && rounds > 0)
        over = churn(slot, rounds);
    if (!over) {
        hand_over(slot);
        return NULL;
    }
    slot->thread = pthread_self();
    wl_run_pass(&test->run); /* STEADY */
    loops[test->mode].drain(slot);
    wl_run_pass(&test->run); /* DRAINED */
    return NULL;
}

/* ---- set-up and result
 * ---------------------------------------------------------------------------- */

static void prepare(larson *test) {
    const larson_options *options = &test->options;
    const uint64_t entries = options->threads * options->chunks;
    char what[160];
    snprintf(what, sizeof what, "--chunks %" PRIu64 " for each of --threads %" PRIu64,
             options->chunks, options->threads);
    test->mode = wl_mode_of(&options->common);
    test->burst = wl_burst_length(options->max);
    void **blocks = wl_map_table(entries, sizeof *blocks, 1, what);
    wl_tag *tags = options->common.check ? wl_map_table(entries, sizeof *tags, 1, what) : NULL;
    wl_latency *latencies =
        options->common.latency ? wl_map_table(options->threads, sizeof *latencies, 0, what) : NULL;
    test->slots = wl_map_table(options->threads, sizeof *test->slots, 1, what);
    snprintf(what, sizeof what,
             "--chunks %" PRIu64 " of up to --max %" PRIu64 " bytes for each of --threads %" PRIu64,
             options->chunks, options->max, options->threads);
    wl_refuse_beyond_memory((double)entries * (double)(options->min + options->max) / 2, what);
    if (options->common.none) {
        const uint64_t stride = (options->max + 15) / 16 * 16;
        unsigned char *set_aside = wl_map_table(entries, stride, 0, what);
        for (uint64_t i = 0; i < entries; i++)
            blocks[i] = set_aside + i * stride;
    }
    for (uint64_t i = 0; i < options->threads; i++) {
        test->slots[i] = (larson_slot){
            .test = test,
            .blocks = blocks + i * options->chunks,
            .tags = tags == NULL ? NULL : tags + i * options->chunks,
            .random = wl_random_stream(options->common.seed, i),
            .user = {.latency = latencies == NULL ? NULL : &latencies[i],
                     .serial = wl_first_serial(i)},
            .sampler = wl_sampler_new(options->common.latency, options->common.seed, i),
            .left = options->operations > 0 ? (options->operations + 1) / 2 : UINT64_MAX,
        };
    }
    wl_run_init(&test->run, (unsigned)options->threads,
                options->operations > 0 ? 0 : options->seconds);
    wl_progress_start(&test->run.progress, options->common.progress, &test->slots[0].count,
                      sizeof test->slots[0], options->threads);
}

/*
 * Slots pass from churn to handover and back at moments of their own, so the steady part's wall
 * time is divided between the two in the proportion of the processor time they took. (The threads'
 * wall times would be no measure: where threads outnumber the processors, a new one waits for its
 * turn while the others churn, and nearly all of that wait would fall to the handover.)
 */
static void split_steady(const larson *test, wl_phase *churned, wl_phase *handed) {
    int64_t churn_cpu_ns = 0;
    uint64_t churn_made = 0, handover_made = 0, handovers = 0, churn_faults = 0;
    for (uint64_t i = 0; i < test->options.threads; i++) {
        const larson_slot *slot = &test->slots[i];
        churn_cpu_ns += slot->churn_cpu_ns;
        churn_made += slot->churn_replacements;
        handover_made += slot->handover_replacements;
        handovers += slot->handovers;
        churn_faults += slot->churn_faults;
    }
    wl_phase steady = wl_phase_between(&test->run, "churn", WL_MARK_FILLED, WL_MARK_STEADY, 0);
    *churned = *handed = steady;
    handed->name = "handover";
    churned->operations = 2 * churn_made;
    handed->operations = 2 * handover_made;
    if (handovers > 0) {
        churned->cpu_seconds = fmin((double)churn_cpu_ns / 1e9, steady.cpu_seconds);
        churned->minor_faults =
            churn_faults < steady.minor_faults ? churn_faults : steady.minor_faults;
        if (steady.cpu_seconds > 0)
            churned->wall_seconds *= churned->cpu_seconds / steady.cpu_seconds;
    }
    handed->wall_seconds = steady.wall_seconds - churned->wall_seconds;
    handed->cpu_seconds = steady.cpu_seconds - churned->cpu_seconds;
    handed->minor_faults = steady.minor_faults - churned->minor_faults;
}

static int report(const larson *test, const wl_arg_table *args) {
    const larson_options *options = &test->options;
    const uint64_t blocks = options->threads * options->chunks;
    uint64_t checksum = 0, checked = 0, handovers = 0;
    double handover_us = 0;
    wl_result result = {.args = args, .common = &options->common, .run = &test->run};
    for (uint64_t i = 0; i < options->threads; i++) {
        const larson_slot *slot = &test->slots[i];
        checksum = wl_checksum_add(checksum, wl_mix(slot->checksum));
        checked += slot->user.blocks_checked;
        handovers += slot->handovers;
        handover_us += (double)slot->handover_ns / 1e3;
    }
    char note[160];
    snprintf(note, sizeof note,
             "%" PRIu64 " hand-overs to a new thread; each took %.1f us, waiting for a processor "
             "included",
             handovers, handovers > 0 ? handover_us / (double)handovers : 0.0);
    result.phases[0] = wl_phase_between(&test->run, "fill", WL_MARK_START, WL_MARK_FILLED, blocks);
    split_steady(test, &result.phases[1], &result.phases[2]);
    result.phases[3] =
        wl_phase_between(&test->run, "drain", WL_MARK_STEADY, WL_MARK_DRAINED, blocks);
    result.phase_count = 4;
    result.has_checksum = options->operations > 0;
    result.checksum = checksum;
    result.blocks_checked = checked;
    result.latency = wl_latency_sum(test->slots[0].user.latency, options->threads);
    result.note = note;
    return wl_report(&result);
}

/* ---- arguments
 * ------------------------------------------------------------------------------------ */

static void settle_options(larson_options *options, wl_arg_table *args) {
    wl_args_exclude(args, "seconds", "operations");
    wl_args_default_sizes(args, &options->min, &options->max, 1000);
    if (options->min > options->max) {
        uint64_t larger = options->min;
        wl_note("MIN %" PRIu64 " exceeds MAX %" PRIu64 "; the two are swapped, sizes are %" PRIu64
                " to %" PRIu64 " bytes",
                options->min, options->max, options->max, options->min);
        options->min = options->max;
        options->max = larger;
    }
    if (options->operations > 0) {
        /* So many chunks and rounds that even a short run hands over several times. */
        uint64_t replacements = (options->operations + 1) / 2;
        if (!wl_args_given(args, "chunks")) {
            uint64_t chunks = replacements / 20;
            options->chunks = chunks > 1000 ? 1000 : (chunks < 1 ? 1 : chunks);
        }
        if (!wl_args_given(args, "rounds")) {
            uint64_t rounds = replacements / options->chunks / 10;
            options->rounds = rounds > 100 ? 100 : (rounds < 2 ? 2 : rounds);
        }
        wl_args_find(args, "seconds")->unused = true;
    } else {
        wl_args_find(args, "operations")->unused = true;
    }
}

int main(int argc, char **argv) {
    static larson test;
    larson_options *o = &test.options;
    wl_driver_start("larson");
    o->threads = wl_cores();
    o->seconds = 1;
    o->chunks = 5000;
    o->rounds = 100;
    o->common.seed = WL_DEFAULT_SEED;
    wl_arg args[] = {
        WL_NUMBER_ARG("threads", "N", &o->threads, 1, WL_THREADS_MOST,
                      "threads at a time; default: the processors"),
        {.name = "seconds",
         .value = "S",
         .help = "how long to churn; default 1",
         .kind = WL_ARG_SECONDS,
         .target = &o->seconds,
         .min = 1,
         .max = WL_SECONDS_MOST_MS},
        WL_NUMBER_ARG("operations", "N", &o->operations, 1, WL_OPERATIONS_MOST,
                      "instead: calls of each thread in churn and handover, made even"),
        WL_NUMBER_ARG("min", "BYTES", &o->min, 1, 1U << 30,
                      "least size; default 8, or the greatest if less"),
        WL_NUMBER_ARG("max", "BYTES", &o->max, 1, 1U << 30, "greatest size; default 1000"),
        WL_NUMBER_ARG("chunks", "N", &o->chunks, 1, WL_TABLE_MOST,
                      "blocks of each thread; default 5000, with operations at most 1000"),
        WL_NUMBER_ARG("rounds", "N", &o->rounds, 1, 1000000000,
                      "rounds before a hand-over; default 100, with operations 2 to 100"),
        WL_COMMON_ARGS(o->common),
    };
    static const char *const classic[] = {"seconds", "min",  "max",    "chunks",
                                          "rounds",  "seed", "threads"};
    static const char *const brief[] = {"threads", "operations", "max"};
    static const wl_form forms[] = {{classic, 7}, {brief, 3}};
    wl_arg_table table = {
        "replaces random blocks at random and hands them from thread to thread (Larson & Krishnan)",
        args, sizeof args / sizeof args[0], forms, 2};
    wl_args_parse(&table, argc, argv);
    settle_options(o, &table);
    prepare(&test);
    for (uint64_t i = 0; i < o->threads; i++)
        (void)wl_thread_start(serve, &test.slots[i]);
    wl_run_supervise(&test.run);
    for (uint64_t i = 0; i < o->threads; i++)
        wl_thread_join(test.slots[i].thread);
    return report(&test, &table);
}
