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

#include "wl_process.h"

typedef enum { WL_MARK_START, WL_MARK_FILLED, WL_MARK_STEADY, WL_MARK_DRAINED, WL_MARKS } wl_mark;

enum { WL_RSS_SAMPLES = 1024 };

typedef struct {
    int64_t wall_ns;
    uint64_t bytes;
} wl_rss_sample;

typedef struct {
    pthread_mutex_t lock; /* guards all below but `stop` and `passed_hint` */
    pthread_cond_t changed;
    unsigned threads; /* that pass each mark */
    unsigned arrived; /* at the next mark */
    unsigned passed;  /* marks behind us */
    wl_usage marks[WL_MARKS];
    wl_rss_sample rss[WL_RSS_SAMPLES]; /* the memory's course; halved and thinned when full */
    unsigned rss_count;
    int64_t rss_interval_ns;
    atomic_uint passed_hint; /* copy of `passed`, to wait a moment without the lock */
    atomic_bool stop;        /* the time is over: finish the steady part */
} wl_run;

/* For `threads` threads (1 or more). The run must outlive them. */
void wl_run_init(wl_run *run, unsigned threads);

/* A thread has reached the next mark: returns when all have. */
void wl_run_pass(wl_run *run);

/* True when the steady part has to end. */
static inline bool wl_run_over(wl_run *run) {
    return atomic_load_explicit(&run->stop, memory_order_relaxed);
}

/* The main thread, after it started the others: samples the resident size, sets `stop` when
 * `seconds` have passed since FILLED (0: never), returns when DRAINED was passed. */
void wl_run_supervise(wl_run *run, double seconds);

/* The greatest resident size in the first and in the second half of the run's time. */
void wl_run_rss_halves(const wl_run *run, uint64_t halves[2]);

/* Starts a thread whose stack is mapped by the C library, not allocated. Ends the program with
 * exit status 1 where the system refuses it. */
pthread_t wl_thread_start(void *(*body)(void *), void *data);
void wl_thread_join(pthread_t thread);

#endif
