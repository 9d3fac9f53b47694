/*
 * --progress: what a run has done so far, one line on standard error at each interval.
 *
 * Every thread slot has a counter of its own that only its thread writes, once for each burst of
 * its loop; a thread that else sleeps adds them up when a line is due. So the loops pay one store
 * in some hundred operations, whether or not anybody reads.
 */
#ifndef WL_PROGRESS_H
#define WL_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WL_PROGRESS_LEAST_MS = 10 };

/* Operations of one slot so far. It never decreases. */
typedef struct {
    _Atomic uint64_t operations;
} wl_count;

/* Adds to a slot's count. The slot's own thread alone. Relaxed: a count orders nothing, and where a
 * slot passes to another thread, the thread's start does. */
static inline void wl_count_add(wl_count *count, uint64_t operations) {
    uint64_t before = atomic_load_explicit(&count->operations, memory_order_relaxed);
    atomic_store_explicit(&count->operations, before + operations, memory_order_relaxed);
}

/* All zero: no lines, and every function below does nothing. */
typedef struct {
    int64_t interval_ns;
    const wl_count *first; /* the counts lie `stride` bytes apart */
    size_t stride, slots;
    int (*stats)(const char *name, uint64_t *value); /* NULL: the allocator tells no counters */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what is below */
    pthread_cond_t changed;
    int64_t start_ns;    /* of the run */
    int64_t steady_ns;   /* since when there are lines; 0: not yet */
    int64_t deadline_ns; /* the last line comes then, so that there is no other */
    bool over;
} wl_progress;

/*
 * Prints the line that names the allocator and starts the thread that prints the others; nothing
 * where `seconds` is 0. `first` is the count within the first element of an array of `slots`
 * elements of `stride` bytes. The main thread, before the run's threads start; the progress and
 * the array stay where they are until wl_progress_stop.
 */
void wl_progress_start(wl_progress *progress, double seconds, const wl_count *first, size_t stride,
                       size_t slots);

/* The steady part begins now, at `steady_ns`; the run began at `start_ns`, and its time is over at
 * `deadline_ns` (INT64_MAX: not bounded by time). Any thread, once. */
void wl_progress_begin(wl_progress *progress, int64_t start_ns, int64_t steady_ns,
                       int64_t deadline_ns);

/* The steady part is over: no line begins after this. Any thread; may be called again. */
void wl_progress_end(wl_progress *progress);

/* Waits for the thread. The main thread, after wl_progress_end. */
void wl_progress_stop(wl_progress *progress);

/* Prints the last line. The main thread, after wl_progress_stop. */
void wl_progress_last(const wl_progress *progress, double elapsed_seconds, uint64_t operations);

#endif
