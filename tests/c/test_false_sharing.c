/* What a thread frees of its own doesn't get to another thread while its neighbours live: both
 * would write to the same cache lines. */
#include "check.h"
#include "thread_life.h"
#include "base/counters.h"

#include <stdint.h>

enum { HELD = 3000, ROUNDS = 40, A_ROUND = 200, OTHERS = 30 };

static void *held[HELD];             /* the first thread's */
static void *others[ROUNDS][OTHERS]; /* the second one's */
static size_t size;
static pthread_barrier_t turn;

static void next_turn(void) {
    pthread_barrier_wait(&turn);
}

/* Takes its blocks when the first thread has just freed many. */
static void *take_a_few(void *argument) {
    (void)argument;
    for (unsigned round = 0; round < ROUNDS; round++) {
        next_turn();
        for (unsigned i = 0; i < OTHERS; i++)
            others[round][i] = malloc(size);
        next_turn();
    }
    return NULL;
}

/* Blocks of the second thread that share a line with one of the first. */
static unsigned shared_lines(void) {
    unsigned shared = 0;
    for (unsigned i = 0; i < ROUNDS * OTHERS; i++) {
        uintptr_t first = (uintptr_t)others[i / OTHERS][i % OTHERS] / 64;
        uintptr_t last = ((uintptr_t)others[i / OTHERS][i % OTHERS] + size - 1) / 64;
        bool found = false;
        for (unsigned k = 0; k < HELD && !found; k++)
            found =
                (uintptr_t)held[k] / 64 <= last && ((uintptr_t)held[k] + size - 1) / 64 >= first;
        shared += found;
    }
    return shared;
}

/* The first thread frees and allocates; the other one takes blocks in between. Returns how often
 * blocks went to the depot. */
static uint64_t take_turns(size_t bytes) {
    uint64_t before = hak_counter(HAK_COUNT_DEPOT_PUTS);
    size = bytes;
    assert_int_equal(pthread_barrier_init(&turn, NULL, 2), 0);
    pthread_t thread;
    thread_start(&thread, take_a_few, NULL);
    for (unsigned i = 0; i < HELD; i++)
        held[i] = malloc(size);
    unsigned at = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned freed[A_ROUND];
        for (unsigned i = 0; i < A_ROUND; i++) {
            at = (at + 769) % HELD; /* a prime: each in its turn, far from the last one */
            free(held[at]);
            freed[i] = at;
        }
        next_turn();
        next_turn();
        for (unsigned i = 0; i < A_ROUND; i++)
            held[freed[i]] = malloc(size);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&turn);
    return hak_counter(HAK_COUNT_DEPOT_PUTS) - before;
}

static void free_all(void) {
    for (unsigned i = 0; i < HELD; i++)
        free(held[i]);
    for (unsigned i = 0; i < ROUNDS * OTHERS; i++)
        free(others[i / OTHERS][i % OTHERS]);
}

static void small_blocks_of_two_threads_share_no_lines(void **state) {
    (void)state;
    for (size_t bytes = 16; bytes <= 144; bytes += 16) {
        if (bytes % 64 == 0)
            continue;
        take_turns(bytes);
        /* A line of two slabs' there is none, and of one slab's only where it changed hands. */
        assert_in_range(shared_lines(), 0, ROUNDS * OTHERS / 20);
        free_all();
    }
}

static void blocks_with_lines_of_their_own_are_exchanged(void **state) {
    (void)state;
    assert_in_range(take_turns(64), 1, UINT64_MAX);
    assert_int_equal(shared_lines(), 0);
    free_all();
}

static void *free_what_is_held(void *argument) {
    (void)argument;
    for (unsigned i = 0; i < HELD; i++)
        free(held[i]);
    return NULL;
}

static void others_blocks_go_to_the_depot(void **state) {
    (void)state;
    for (unsigned i = 0; i < HELD; i++)
        held[i] = malloc(48);
    uint64_t before = hak_counter(HAK_COUNT_DEPOT_PUTS);
    pthread_t thread;
    thread_start(&thread, free_what_is_held, NULL);
    pthread_join(thread, NULL);
    assert_true(hak_counter(HAK_COUNT_DEPOT_PUTS) > before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(small_blocks_of_two_threads_share_no_lines),
    cmocka_unit_test(blocks_with_lines_of_their_own_are_exchanged),
    cmocka_unit_test(others_blocks_go_to_the_depot),
};
CHECK_MAIN(tests)
