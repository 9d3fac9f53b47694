/* --progress: what a run has done so far, one line on standard error at each interval. */
#include "wl_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "wl_clock.h"
#include "wl_fail.h"
#include "wl_provider.h"
#include "wl_report.h"
#include "wl_run.h"

enum { A_MOMENT_NS = 1000000 };

/* The counters that a line shows, under the allocator's names for them. */
static const char *const shown[] = {"claims", "claims_failed", "drains", "drained_blocks",
                                    "adopted"};

static uint64_t operations_now(const wl_progress *progress) {
    const char *at = (const char *)progress->first;
    uint64_t sum = 0;
    for (size_t i = 0; i < progress->slots; i++, at += progress->stride)
        sum += atomic_load_explicit(&((const wl_count *)(const void *)at)->operations,
                                    memory_order_relaxed);
    return sum;
}

static void print(const wl_progress *progress, int64_t elapsed_ns, uint64_t operations) {
    char counters[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof shown / sizeof *shown && progress->stats != NULL; i++) {
        uint64_t value;
        if (progress->stats(shown[i], &value) != 0)
            continue;
        int added =
            snprintf(counters + used, sizeof counters - used, " %s=%" PRIu64, shown[i], value);
        if (added > 0)
            used += (size_t)added; /* five names and five numbers fit */
    }
    wl_note("progress elapsed=%" PRId64 ".%03" PRId64 " operations=%" PRIu64 "%s",
            elapsed_ns / 1000000000, elapsed_ns / 1000000 % 1000, operations, counters);
}

static int64_t next_line_after(const wl_progress *progress, int64_t now) {
    const int64_t interval = progress->interval_ns;
    int64_t next = progress->steady_ns + ((now - progress->steady_ns) / interval + 1) * interval;
    if (progress->deadline_ns != INT64_MAX && llabs(next - progress->deadline_ns) < A_MOMENT_NS)
        next += interval;
    return next;
}

/* A thread of its own: the main thread waits for the run's lock, and where threads by the thousand
 * wake up and take it in turn, that wait is as long as all their turns together. */
static void *print_lines(void *data) {
    wl_progress *progress = data;
    /* Where it is allowed, before all others: it needs the processor for some microseconds. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), -20);
    pthread_mutex_lock(&progress->lock);
    int64_t next = 0;
    while (!progress->over) {
        if (progress->steady_ns == 0) {
            pthread_cond_wait(&progress->changed, &progress->lock);
            continue;
        }
        if (next == 0)
            next = next_line_after(progress, wl_now_ns());
        struct timespec until = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000};
        pthread_cond_timedwait(&progress->changed, &progress->lock, &until);
        int64_t now = wl_now_ns();
        if (progress->over || now < next)
            continue;
        /* unlocked: writing may take its time, and the run must not wait for it */
        pthread_mutex_unlock(&progress->lock);
        print(progress, now - progress->start_ns, operations_now(progress));
        pthread_mutex_lock(&progress->lock);
        next = next_line_after(progress, wl_now_ns());
    }
    pthread_mutex_unlock(&progress->lock);
    return NULL;
}

void wl_progress_start(wl_progress *progress, double seconds, const wl_count *first, size_t stride,
                       size_t slots) {
    if (seconds <= 0)
        return;
    const wl_provider *provider = wl_provider_find();
    progress->first = first;
    progress->stride = stride;
    progress->slots = slots;
    progress->stats = wl_provider_stats();
    progress->interval_ns = (int64_t)(seconds * 1e9);
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&progress->changed, &monotonic) != 0 ||
        pthread_condattr_destroy(&monotonic) != 0 || pthread_mutex_init(&progress->lock, NULL) != 0)
        wl_fail(WL_EXIT_RUN, "--progress can't be prepared; leave it out");
    wl_note("progress allocator=%s version=%s build=%s path=%s", provider->name,
            provider->has_version ? provider->version : "unknown", wl_build_variant,
            provider->parts[WL_PART_MALLOC]);
    progress->thread = wl_thread_start(print_lines, progress);
}

void wl_progress_begin(wl_progress *progress, int64_t start_ns, int64_t steady_ns,
                       int64_t deadline_ns) {
    if (progress->interval_ns == 0)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->start_ns = start_ns;
    progress->steady_ns = steady_ns;
    progress->deadline_ns = deadline_ns;
    pthread_cond_signal(&progress->changed);
    pthread_mutex_unlock(&progress->lock);
}

void wl_progress_end(wl_progress *progress) {
    if (progress->interval_ns == 0)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->over = true;
    pthread_cond_signal(&progress->changed);
    pthread_mutex_unlock(&progress->lock);
}

void wl_progress_stop(wl_progress *progress) {
    if (progress->interval_ns != 0)
        wl_thread_join(progress->thread);
}

void wl_progress_last(const wl_progress *progress, double elapsed_seconds, uint64_t operations) {
    if (progress->interval_ns != 0)
        print(progress, (int64_t)(elapsed_seconds * 1e9), operations);
}
