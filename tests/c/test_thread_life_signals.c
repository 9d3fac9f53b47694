/* Signals that arrive in the middle of malloc and free, and threads that are cancelled. */
#include "thread_life.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* ---- signals ------------------------------------------------------------------------------- */

enum { WORKERS = 4, ALTERNATE_BYTES = 65536 };
static _Atomic bool stop;
static _Atomic unsigned long handled, handled_elsewhere;
static _Thread_local unsigned char *alternate; /* this thread's stack for signals */

/* What a handler may do: no allocation, and errno as it was. */
static void on_signal(int number) {
    (void)number;
    int kept = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned char here = 0;
    uintptr_t offset = (uintptr_t)&here - (uintptr_t)alternate;
    atomic_fetch_add_explicit(offset < ALTERNATE_BYTES ? &handled : &handled_elsewhere, 1,
                              memory_order_relaxed);
    errno = EINTR;
    errno = kept;
}

/* A clock for the calling thread alone, five thousand times a second. */
static timer_t start_timer(void) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec period = {.it_interval.tv_nsec = 200000, .it_value.tv_nsec = 200000};
    REQUIRE(timer_settime(timer, 0, &period, NULL) == 0);
    return timer;
}

static struct box *_Atomic exchanged[64];

static void *work_under_signals(void *argument) {
    uint64_t seed = 9 + (uintptr_t)argument;
    alternate = malloc(ALTERNATE_BYTES);
    REQUIRE(alternate);
    stack_t stack = {.ss_sp = alternate, .ss_size = ALTERNATE_BYTES};
    REQUIRE(sigaltstack(&stack, NULL) == 0);
    timer_t timer = start_timer();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t r = next_random(&seed);
        size_t size = r % 32 == 0 ? (r >> 8) % 3000000 : (r >> 8) % 3000;
        struct box *box = malloc(sizeof *box);
        REQUIRE(box);
        box_fill(box, size);
        if (r & 1) {
            box_check(box);
            size_t half = size / 2 + 1;
            unsigned char *moved = realloc(box->bytes, half);
            REQUIRE(moved);
            free(moved);
            box_fill(box, half);
        }
        box = atomic_exchange(&exchanged[(r >> 40) % 64], box);
#ifdef HAKMEM_WRAP
        usleep(1); /* which delivers them */
#endif
        if (!box)
            continue;
        box_check(box);
        errno = 777;
        free(box->bytes);
        free(box);
        REQUIRE(errno == 777);
    }
    timer_delete(timer);
    stack = (stack_t){.ss_flags = SS_DISABLE};
    sigaltstack(&stack, NULL);
    unsigned char *mine = alternate;
    struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL); /* what is still pending is handled on the other stack */
    alternate = NULL;
    free(mine);
    return NULL;
}

static void signals_may_arrive_anywhere(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    struct itimerval period = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    assert_int_equal(setitimer(ITIMER_REAL, &period, NULL), 0);
    pthread_t workers[WORKERS];
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < WORKERS; i++)
        thread_start(&workers[i], work_under_signals, (void *)i);
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 1;
    do /* the main thread allocates, too, and ITIMER_REAL's signals come to it */
        free(malloc(100));
    while (clock_gettime(CLOCK_MONOTONIC, &now),
           now.tv_sec < end.tv_sec || now.tv_nsec < end.tv_nsec);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    period = (struct itimerval){.it_value.tv_usec = 0};
    setitimer(ITIMER_REAL, &period, NULL);
    for (unsigned i = 0; i < 64; i++) {
        struct box *box = atomic_exchange(&exchanged[i], NULL);
        if (box)
            box_free(box);
        free(box);
    }
#ifdef HAKMEM_WRAP /* ThreadSanitizer keeps signals back until a call that may wait */
    assert_true(atomic_load(&handled_elsewhere) > 100);
#else
    assert_true(atomic_load(&handled) > 500);
    assert_true(atomic_load(&handled_elsewhere) > 0);
#endif
}

/* ---- cancellation -------------------------------------------------------------------------- */

enum { BOXES = 30 };
static _Atomic long outstanding; /* boxes that cancelled threads have not freed */
static _Atomic unsigned begun;

static void fill(struct box *box, size_t size) {
    box_fill(box, size);
    atomic_fetch_add_explicit(&outstanding, 1, memory_order_relaxed);
}

static void empty(struct box *box) {
    if (box->bytes)
        atomic_fetch_sub_explicit(&outstanding, 1, memory_order_relaxed);
    box_free(box);
}

struct victim {
    uint64_t seed;
    struct box boxes[BOXES];
};

static void change_one(struct victim *victim) {
    struct box *box = &victim->boxes[next_random(&victim->seed) % BOXES];
    empty(box);
    fill(box, next_random(&victim->seed) % 5000);
}

static void clean_up(void *argument) {
    struct box *boxes = ((struct victim *)argument)->boxes;
    struct box more;
    box_fill(&more, 100000);
    for (unsigned i = 0; i < BOXES; i++)
        empty(&boxes[i]);
    box_free(&more);
}

static void *until_cancelled(void *argument) {
    struct victim victim = {.seed = 1 + (uintptr_t)argument};
    pthread_cleanup_push(clean_up, &victim);
    atomic_fetch_add(&begun, 1);
    for (;;) {
        change_one(&victim);
        if (next_random(&victim.seed) % 8 == 0)
            pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

/* Cancelled in the middle of a computation, but never inside the allocator. The type is what keeps
 * it out, not the state: the C library's handler looks at the type alone, and cancels a thread that
 * disabled it after the signal was sent. */
static void *until_cancelled_anywhere(void *argument) {
    struct victim victim = {.seed = 1 + (uintptr_t)argument};
    int old;
    pthread_cleanup_push(clean_up, &victim);
    atomic_fetch_add(&begun, 1);
    for (;;) {
        change_one(&victim);
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
        for (volatile int i = 0; i < 200; i++)
            continue;
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
    }
    pthread_cleanup_pop(1);
    return NULL;
}

static void cancel_many(void *(*function)(void *)) {
    enum { TOGETHER = 8 };
    for (int round = 0; round < 40 / SCALE; round++) {
        pthread_t threads[TOGETHER];
        atomic_store(&begun, 0);
        for (uintptr_t i = 0; i < TOGETHER; i++)
            thread_start(&threads[i], function, (void *)(i + (uintptr_t)round * TOGETHER));
        while (atomic_load(&begun) < TOGETHER)
            sched_yield();
        for (unsigned i = 0; i < TOGETHER; i++)
            REQUIRE(pthread_cancel(threads[i]) == 0);
        for (unsigned i = 0; i < TOGETHER; i++) {
            REQUIRE(pthread_join(threads[i], NULL) == 0); /* they end in no other way */
        }
        assert_int_equal(atomic_load(&outstanding), 0);
    }
}

static void cancelled_threads_clean_up(void **state) {
    (void)state;
    cancel_many(until_cancelled);
}
static void threads_cancelled_anywhere_clean_up(void **state) {
    (void)state;
    cancel_many(until_cancelled_anywhere);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(signals_may_arrive_anywhere),
    cmocka_unit_test(cancelled_threads_clean_up),
    cmocka_unit_test(threads_cancelled_anywhere_clean_up),
};
CHECK_MAIN(tests)
