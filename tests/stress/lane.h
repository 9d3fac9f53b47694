/* Lanes: each is a line of threads that follow one another, with a table of blocks that the one
 * hands to the next, and a generator that makes the line ask for the same in every run. */
#ifndef STRESS_LANE_H
#define STRESS_LANE_H

#include "block.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define LANE_OPERATIONS(X)                                                                         \
    X(MALLOC, "malloc")                                                                            \
    X(CALLOC, "calloc")                                                                            \
    X(ALIGNED_ALLOC, "aligned_alloc")                                                              \
    X(POSIX_MEMALIGN, "posix_memalign")                                                            \
    X(MEMALIGN, "memalign")                                                                        \
    X(REALLOC_NEW, "realloc of NULL")                                                              \
    X(REALLOC_UP, "realloc to more")                                                               \
    X(REALLOC_DOWN, "realloc to less")                                                             \
    X(FREE, "free")                                                                                \
    X(FREE_FOREIGN, "free of another thread's block")                                              \
    X(USABLE_SIZE, "malloc_usable_size, all of it used")                                           \
    X(ZERO, "calls with size 0")                                                                   \
    X(REFUSED, "calls that must fail")                                                             \
    X(LOOK, "contents compared in place")                                                          \
    X(SWAP, "blocks exchanged with a shared slot")                                                 \
    X(SEND, "batches sent")                                                                        \
    X(RECEIVE, "batches received")                                                                 \
    X(HAND_ON, "tables handed to a new thread")                                                    \
    X(LATE, "destructors of thread-local data run")                                                \
    X(IDLE, "idle phases")                                                                         \
    X(FULL, "allocations left out, the live total at its bound")

enum lane_operation {
#define X(name, text) LANE_##name,
    LANE_OPERATIONS(X)
#undef X
        LANE_OPERATION_COUNT
};
extern const char *const lane_operation_text[LANE_OPERATION_COUNT];

enum { LANE_BLOCKS = 2048, LANE_KEEPSAKES = 16, LANES_MOST = 256 };

/* What a thread leaves to the destructor of its thread-local data. */
struct keepsake {
    struct block blocks[LANE_KEEPSAKES];
    unsigned count;
    _Atomic uint64_t *late; /* counts the destructors */
};

/* Belongs to the thread that runs in it; the atomic members are read by the main thread. */
struct lane {
    uint64_t random;
    uint64_t left; /* operations still to be done */
    uint64_t phase_left;
    unsigned phase;
    unsigned generation; /* threads that there were before this one */
    pthread_t thread;    /* the one that runs now, or ran last */
    struct block table[LANE_BLOCKS];
    struct keepsake keepsakes[2]; /* of this thread and the one before */
    _Atomic uint64_t counts[LANE_OPERATION_COUNT];
    _Atomic uint64_t steps;
    _Atomic bool finished;
};

/* Sets up what lanes share. `bound`: bytes that may be live in all. */
void lanes_prepare(size_t bound);

/* Starts a lane's first thread; its generator is seeded, and `left` set. */
void lane_start(struct lane *lane);

/* Makes all lanes end at their next step. */
void lanes_stop(void);

/* Waits for the lane's last thread; `finished` is set already. */
void lane_join(struct lane *lane);

/* Frees, on the calling thread, every block that lies in the lane's table or on its way between
 * lanes. All lanes have been joined. */
void lane_empty(struct lane *lane);
void lanes_empty_shared(void);

/* Bytes live now, and at most so far. */
size_t lanes_live(void);
size_t lanes_peak(void);

#endif
