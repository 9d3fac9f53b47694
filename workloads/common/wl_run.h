/*
 * The course of a run: threads pass its phases together, and the main thread watches over the time
 * and the memory.
 *
 * Every workload has the same skeleton. Between the marks START, FILLED, STEADY and DRAINED lie its
 * phases fill, the steady part (churn or exchange) and drain. A mark is passed by all threads
 * together; the last to arrive takes the time, the processor time, the page faults and the resident
 * size, so that the phases touch each other and their times add up to the run's.
 */
#ifndef WL_RUN_H
#define WL_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wl_clock.h"
#include "wl_process.h"
#include "wl_progress.h"

typedef enum { WL_MARK_START, WL_MARK_FILLED, WL_MARK_STEADY, WL_MARK_DRAINED, WL_MARKS } wl_mark;

enum {
    WL_RSS_SAMPLES = 1024,
    WL_LOOKS_A_CLOCK = 16 /* bursts of a loop between two readings of the clock, some 50 us */
};

typedef struct {
    int64_t wall_ns;
    uint64_t bytes;
} wl_rss_sample;

typedef struct {
    pthread_mutex_t lock; /* guards all below but `stop`, `passed_hint` and `progress` */
    pthread_cond_t changed;
    double seconds;        /* of the steady part; 0: no limit */
    int64_t deadline_ns;   /* set when FILLED is passed, before any thread goes on; or INT64_MAX */
    unsigned awake_rounds; /* of waiting at a mark before sleeping */
    unsigned threads;      /* that pass each mark */
    unsigned arrived;      /* at the next mark */
    unsigned passed;       /* marks behind us */
    wl_usage marks[WL_MARKS];
    wl_rss_sample rss[WL_RSS_SAMPLES]; /* the memory's course; halved and thinned when full */
    unsigned rss_count;
    int64_t rss_interval_ns;
    wl_progress progress;    /* has a lock of its own; wl_progress_start may follow wl_run_init */
    atomic_uint passed_hint; /* copy of `passed`, to wait a moment without the lock */
    atomic_bool stop;        /* the time is over: finish the steady part */
} wl_run;

/* For `threads` threads (1 or more), whose steady part ends `seconds` after FILLED (0: when they
 * themselves have done their work). The run must outlive them. */
void wl_run_init(wl_run *run, unsigned threads, double seconds);

/* A thread has reached the next mark: returns when all have. */
void wl_run_pass(wl_run *run);

/* True when the steady part's time is over. Any thread. */
static inline bool wl_run_over(wl_run *run) {
    return atomic_load_explicit(&run->stop, memory_order_relaxed);
}

/* The same for a thread in its loop, which now and then looks at the clock itself: where threads
 * outnumber the processors the main thread may come too late. `looks` is the caller's, 0 at first.
 */
static inline bool wl_run_look(wl_run *run, unsigned *looks) {
    if (++*looks % WL_LOOKS_A_CLOCK == 0 && run->deadline_ns != INT64_MAX &&
        wl_now_ns() >= run->deadline_ns)
        atomic_store_explicit(&run->stop, true, memory_order_relaxed);
    return wl_run_over(run);
}

/* The main thread, after it started the others: samples the resident size, sets `stop` when the
 * time is over, returns when DRAINED was passed and the lines of --progress have ended. */
void wl_run_supervise(wl_run *run);

/* The greatest resident size seen in the first and in the second half of the run's time. */
void wl_run_rss_halves(const wl_run *run, uint64_t halves[2]);

/* Starts a thread whose stack is mapped by the C library, not allocated. Ends the program with
 * exit status 1 where the system refuses it. */
pthread_t wl_thread_start(void *(*body)(void *), void *data);
void wl_thread_join(pthread_t thread);

/* Starts one thread for each of `workers`, an array whose members have a pthread_t `thread` and are
 * the threads' data, watches over the run, and joins them. */
#define WL_RUN_THREADS(run, body, workers, count)                                                  \
    do {                                                                                           \
        for (uint64_t wl_i = 0; wl_i < (count); wl_i++)                                            \
            (workers)[wl_i].thread = wl_thread_start((body), &(workers)[wl_i]);                    \
        wl_run_supervise(run);                                                                     \
        for (uint64_t wl_i = 0; wl_i < (count); wl_i++)                                            \
            wl_thread_join((workers)[wl_i].thread);                                                \
    } while (0)

#endif
