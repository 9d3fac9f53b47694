/* A long random test of an allocator: all operations, all sizes, hand-overs, threads that come and
 * go, contents checked, memory compared with what is live.
 *
 * The same seed makes every lane ask for the same; how the lanes interleave is the machine's, so a
 * failure that needs two threads may want several runs to come again. */
#include "common.h"
#include "lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Resident memory may not exceed --resident-percent of the most that ever was live (threads and
 * size classes have their peaks at different times), and RESIDENT_EXTRA (64 MiB of freed huge
 * blocks, and as much for what the depot, the threads' free slabs for spans and the purge delay
 * hold back), and for each thread a slab of each of 56 size classes. And HUGE_PERCENT of the most
 * that was live: while huge blocks are freed and asked for again, as many may be kept as are in
 * use, and of the bytes of this stress so many are.
 *
 * When all is freed it has to fall to RESIDENT_AT_END within SECONDS_TO_FALL of occasional calls:
 * the thread that freed it keeps 16 blocks of each class, each of which may lie in another slab.
 *
 * Not checked in sanitizer builds, which have memory of their own. */
#define RESIDENT_EXTRA    ((size_t)128 << 20)
#define HUGE_PERCENT      35
#define RESIDENT_A_THREAD ((size_t)56 * 65536)
#define RESIDENT_AT_END   ((size_t)64 << 20)
#define SECONDS_TO_FALL   15.0

static const char usage[] =
    "usage: stress [--seed N] [--seconds S | --operations N] [--threads N] [--max-live MIB]\n"
    "A random test of the allocator that this program is linked with, or that is preloaded.\n"
    "  --seed N          what the random numbers begin with (default: another one every time)\n"
    "  --seconds S       how long it runs (default 10)\n"
    "  --operations N    steps of all threads together, instead\n"
    "  --threads N       threads at a time, 1 to 256 (default 8)\n"
    "  --max-live MIB    bytes live at a time (default 256)\n"
    "  --hang-seconds N  fails when no thread has done anything for so long (default 60)\n"
    "  --resident-percent N\n"
    "                    bytes resident at a time, of the most that ever was live; beside\n"
    "                    35% of it for freed huge blocks, 128 MiB and 3.5 MiB a thread\n"
    "                    (default 125); 0: memory is not checked\n"
    "Exit status: 0 all was well, 1 the allocator failed, 2 wrong arguments.\n";

static uint64_t seed, seconds = 10, operations, threads = 8, max_live = 256, hang_seconds = 60,
                      resident_percent = 125;

enum { SEED, SECONDS, OPERATIONS, THREADS, MAX_LIVE, HANG_SECONDS, RESIDENT_PERCENT, ARGUMENTS };
static struct argument arguments[ARGUMENTS] = {
    [SEED] = {"seed", 0, UINT64_MAX, &seed, false},
    [SECONDS] = {"seconds", 1, 1000000, &seconds, false},
    [OPERATIONS] = {"operations", 1, UINT64_MAX, &operations, false},
    [THREADS] = {"threads", 1, LANES_MOST, &threads, false},
    [MAX_LIVE] = {"max-live", 1, 1 << 20, &max_live, false},
    [HANG_SECONDS] = {"hang-seconds", 1, 1000000, &hang_seconds, false},
    [RESIDENT_PERCENT] = {"resident-percent", 0, 10000, &resident_percent, false},
};

static struct lane *lanes;
static bool memory_checked(void) {
#ifdef HAKMEM_SANITIZED
    return false;
#endif
    return resident_percent != 0;
}

static size_t base_resident; /* before the first lane began */
static size_t most_resident; /* above that */

static void check_memory(void) {
    /* The peak only grows: read after the resident size it is no smaller than it was then. */
    size_t resident = resident_bytes();
    resident = resident > base_resident ? resident - base_resident : 0;
    size_t peak = lanes_peak();
    if (resident > most_resident)
        most_resident = resident;
    size_t allowed = peak / 100 * (resident_percent + HUGE_PERCENT) + RESIDENT_EXTRA +
                     (size_t)threads * RESIDENT_A_THREAD;
    if (memory_checked() && resident > allowed)
        fail("%zu MiB are resident, %zu MiB live and at most %zu MiB were: more than %zu MiB",
             resident >> 20, lanes_live() >> 20, peak >> 20, allowed >> 20);
}

static uint64_t steps_done(void) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < threads; i++)
        sum += atomic_load_explicit(&lanes[i].steps, memory_order_relaxed);
    return sum;
}

static bool all_finished(void) {
    for (uint64_t i = 0; i < threads; i++)
        if (!atomic_load(&lanes[i].finished))
            return false;
    return true;
}

/* Looks at memory and progress until every lane has finished. */
static void watch(void) {
    double start = now_seconds(), progress = start;
    for (uint64_t last = 0; !all_finished(); sleep_ms(20)) {
        double now = now_seconds();
        if (!operations && now - start >= (double)seconds)
            lanes_stop();
        uint64_t steps = steps_done();
        if (steps != last)
            progress = now;
        last = steps;
        if (now - progress > (double)hang_seconds)
            fail("no thread has made a step for %" PRIu64 " s, after %" PRIu64 " steps in all",
                 hang_seconds, steps);
        check_memory();
    }
}

/* Everything is freed: a program that calls now and then gets its memory back. */
static void wait_for_memory(void) {
    double start = now_seconds();
    uint64_t random = 1;
    for (;;) {
        for (unsigned i = 0; i < 50; i++) {
            void *volatile block = malloc(i % 10 ? random_next(&random) % 4000 : 40000);
            free(block);
        }
        size_t resident = resident_bytes();
        resident = resident > base_resident ? resident - base_resident : 0;
        double passed = now_seconds() - start;
        if (!memory_checked() || resident <= RESIDENT_AT_END) {
            printf("after the end: %.1f MiB resident, %.1f s later\n", (double)resident / 1048576,
                   passed);
            return;
        }
        if (passed > SECONDS_TO_FALL)
            fail("%.1f MiB are still resident %.0f s after everything was freed; "
                 "%zu MiB are allowed",
                 (double)resident / 1048576, passed, RESIDENT_AT_END >> 20);
        sleep_ms(10);
    }
}

static void print_counts(void) {
    for (unsigned i = 0; i < LANE_OPERATION_COUNT; i++) {
        uint64_t sum = 0;
        for (uint64_t k = 0; k < threads; k++)
            sum += atomic_load(&lanes[k].counts[i]);
        printf("%12" PRIu64 "  %s\n", sum, lane_operation_text[i]);
    }
}

int main(int argc, char **argv) {
    seed = (uint64_t)(now_seconds() * 1e6) * 2654435761u + (uint64_t)getpid();
    arguments_read(argc, argv, arguments, ARGUMENTS, usage);
    if (arguments[SECONDS].given && arguments[OPERATIONS].given)
        arguments_refuse("--seconds and --operations exclude each other; give one of them");
    /* Those that have a default are named too: the default may change. */
    for (unsigned i = 0; i < ARGUMENTS; i++)
        arguments[i].given = i == SECONDS ? operations == 0 : i != OPERATIONS || operations != 0;
    printf("seed %" PRIu64 "\n", seed);
    repeat_announce(argv[0], arguments, ARGUMENTS);

    lanes = own_memory(threads * sizeof *lanes);
    lanes_prepare(max_live << 20);
    base_resident = resident_bytes();
    double start = now_seconds();
    for (uint64_t i = 0; i < threads; i++) {
        lanes[i].random = random_state(seed, i);
        lanes[i].left = operations ? operations / threads + (i < operations % threads) : UINT64_MAX;
        lane_start(&lanes[i]);
    }
    watch();
    for (uint64_t i = 0; i < threads; i++)
        lane_join(&lanes[i]);
    check_memory();
    for (uint64_t i = 0; i < threads; i++)
        lane_empty(&lanes[i]);
    lanes_empty_shared();
    if (lanes_live())
        fail("%zu bytes are live after the end: the test has lost blocks", lanes_live());

    print_counts();
    printf("%.1f s, %" PRIu64 " steps, at most %zu MiB live and %zu MiB resident\n",
           now_seconds() - start, steps_done(), lanes_peak() >> 20, most_resident >> 20);
    wait_for_memory();
    puts("all was well");
    return 0;
}
