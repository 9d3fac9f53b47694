/* The course of a run: threads pass its phases together; the main thread watches time and memory.
 */
#include "wl_run.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "wl_clock.h"
#include "wl_fail.h"
#include "wl_relax.h"

enum {
    FIRST_RSS_INTERVAL_NS = 10000000, /* a tenth of a second has a first and a second half, too */
    /* Where each thread has a processor it waits this many rounds awake before it sleeps at a mark,
     * 10 to 70 us: a sleeper's late start would count as the allocator's time in short runs. */
    AWAKE_ROUNDS = 1000,
    STACK_BYTES = 256 * 1024 /* small, so that the C library keeps the stacks of 160 threads */
};

static void check(int error, const char *what) {
    if (error != 0)
        wl_fail(WL_EXIT_RUN, "%s failed: %s", what, strerror(error));
}

void wl_run_init(wl_run *run, unsigned threads, double seconds) {
    memset(run, 0, sizeof *run);
    pthread_condattr_t monotonic;
    check(pthread_condattr_init(&monotonic), "pthread_condattr_init");
    check(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC), "pthread_condattr_setclock");
    check(pthread_cond_init(&run->changed, &monotonic), "pthread_cond_init");
    check(pthread_condattr_destroy(&monotonic), "pthread_condattr_destroy");
    check(pthread_mutex_init(&run->lock, NULL), "pthread_mutex_init");
    run->threads = threads;
    run->seconds = seconds;
    run->deadline_ns = INT64_MAX;
    run->awake_rounds = threads <= wl_cores() ? AWAKE_ROUNDS : 0;
    run->rss_interval_ns = FIRST_RSS_INTERVAL_NS;
    atomic_init(&run->passed_hint, 0);
    atomic_init(&run->stop, false);
}

/* With the lock held. A full table keeps the greater of each two neighbours. */
static void add_rss_sample(wl_run *run, int64_t wall_ns, uint64_t bytes) {
    if (run->rss_count == WL_RSS_SAMPLES) {
        for (unsigned i = 0; i < WL_RSS_SAMPLES / 2; i++) {
            const wl_rss_sample *pair = &run->rss[2 * (size_t)i];
            run->rss[i] = pair[0].bytes > pair[1].bytes ? pair[0] : pair[1];
        }
        run->rss_count = WL_RSS_SAMPLES / 2;
        run->rss_interval_ns *= 2;
    }
    run->rss[run->rss_count++] = (wl_rss_sample){wall_ns, bytes};
}

void wl_run_pass(wl_run *run) {
    check(pthread_mutex_lock(&run->lock), "pthread_mutex_lock");
    unsigned mark = run->passed;
    if (++run->arrived == run->threads) {
        run->arrived = 0;
        wl_usage now = wl_usage_now();
        run->marks[mark] = now;
        add_rss_sample(run, now.wall_ns, now.rss_bytes);
        if (mark == WL_MARK_FILLED && run->seconds > 0)
            run->deadline_ns = now.wall_ns + (int64_t)(run->seconds * 1e9);
        if (mark == WL_MARK_FILLED)
            wl_progress_begin(&run->progress, run->marks[WL_MARK_START].wall_ns, now.wall_ns,
                              run->deadline_ns);
        run->passed = mark + 1;
        atomic_store_explicit(&run->passed_hint, mark + 1, memory_order_release);
        check(pthread_cond_broadcast(&run->changed), "pthread_cond_broadcast");
        check(pthread_mutex_unlock(&run->lock), "pthread_mutex_unlock");
        if (mark == WL_MARK_STEADY)
            wl_progress_end(&run->progress);
        return;
    }
    check(pthread_mutex_unlock(&run->lock), "pthread_mutex_unlock");
    for (unsigned i = 0; i < run->awake_rounds; i++) {
        if (atomic_load_explicit(&run->passed_hint, memory_order_acquire) > mark)
            return;
        wl_relax();
    }
    check(pthread_mutex_lock(&run->lock), "pthread_mutex_lock");
    while (run->passed <= mark)
        check(pthread_cond_wait(&run->changed, &run->lock), "pthread_cond_wait");
    check(pthread_mutex_unlock(&run->lock), "pthread_mutex_unlock");
}

void wl_run_supervise(wl_run *run) {
    check(pthread_mutex_lock(&run->lock), "pthread_mutex_lock");
    int64_t next_sample = wl_now_ns() + run->rss_interval_ns;
    bool stopped = false;
    while (run->passed < WL_MARKS) {
        int64_t deadline = stopped ? INT64_MAX : run->deadline_ns;
        int64_t wake = deadline < next_sample ? deadline : next_sample;
        struct timespec until = {.tv_sec = wake / 1000000000, .tv_nsec = wake % 1000000000};
        int error = pthread_cond_timedwait(&run->changed, &run->lock, &until);
        if (error != ETIMEDOUT)
            check(error, "pthread_cond_timedwait");
        int64_t now = wl_now_ns();
        if (now >= deadline) {
            stopped = true;
            atomic_store_explicit(&run->stop, true, memory_order_relaxed);
        }
        if (now >= next_sample) {
            if (run->passed > WL_MARK_START && run->passed < WL_MARKS)
                add_rss_sample(run, now, wl_process_status().resident_bytes);
            next_sample = now + run->rss_interval_ns;
        }
    }
    check(pthread_mutex_unlock(&run->lock), "pthread_mutex_unlock");
    wl_progress_stop(&run->progress);
}

void wl_run_rss_halves(const wl_run *run, uint64_t halves[2]) {
    int64_t start = run->marks[WL_MARK_START].wall_ns;
    int64_t middle = start + (run->marks[WL_MARK_DRAINED].wall_ns - start) / 2;
    halves[0] = halves[1] = 0;
    for (unsigned i = 0; i < run->rss_count; i++) {
        uint64_t *half = &halves[run->rss[i].wall_ns < middle ? 0 : 1];
        if (run->rss[i].bytes > *half)
            *half = run->rss[i].bytes;
    }
}

pthread_t wl_thread_start(void *(*body)(void *), void *data) {
    pthread_attr_t attributes;
    pthread_t thread;
    check(pthread_attr_init(&attributes), "pthread_attr_init");
    size_t stack = STACK_BYTES;
#ifdef PTHREAD_STACK_MIN
    if (stack < (size_t)PTHREAD_STACK_MIN * 2)
        stack = (size_t)PTHREAD_STACK_MIN * 2;
#endif
    check(pthread_attr_setstacksize(&attributes, stack), "pthread_attr_setstacksize");
    int error = pthread_create(&thread, &attributes, body, data);
    if (error == EINVAL) /* a library's thread-local storage does not fit */
        error = pthread_create(&thread, NULL, body, data);
    if (error != 0)
        wl_fail(WL_EXIT_RUN, "a thread can't be started (%s); ask for fewer --threads",
                strerror(error));
    check(pthread_attr_destroy(&attributes), "pthread_attr_destroy");
    return thread;
}

void wl_thread_join(pthread_t thread) {
    check(pthread_join(thread, NULL), "pthread_join");
}
