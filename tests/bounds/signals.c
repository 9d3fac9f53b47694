/* Stops a thread of a larson-like load by a signal at random times, and sees that the others go on.
 *
 * Four rows of blocks, each churned by a thread that after a while hands it to a new one and ends
 * (Larson & Krishnan, ISMM 1998). A signal finds one of the threads somewhere; if that is inside
 * malloc or free, it waits there until each of the other rows has got so many calls more. */
#include "../stress/common.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4u
#define CHUNKS  1000u  /* blocks of a row */
#define LIFE    300000 /* calls of a thread before it hands its row over */

static uint64_t seconds_most = 5, calls_wanted = 1000, wait_seconds = 5;
static _Atomic bool over;

static struct row {
    _Alignas(64) _Atomic uint64_t calls;
    pthread_t thread;     /* under the lock */
    bool alive;           /* it has a thread that signals may be sent to; under the lock */
    pthread_mutex_t lock; /* of a thread's hand-over against the signals to it */
    uint64_t seed;
    void *blocks[CHUNKS];
} rows[THREADS];

/* ---- the stop -------------------------------------------------------------------------------- */

#define TRIES    16    /* signals until one finds a thread inside */
#define APART_NS 50000 /* between two of them, at most */

static _Thread_local volatile sig_atomic_t inside __attribute__((tls_model("initial-exec")));
static _Thread_local int tries __attribute__((tls_model("initial-exec")));
static _Thread_local timer_t timer __attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t handler_seed __attribute__((tls_model("initial-exec")));
static sem_t answered; /* by the handler, whether it stops or not; and when it goes on */
static int release_pipe[2];
static _Atomic bool did_stop;

/* Once more, after a random time: now that the thread runs, it runs then, too. */
static void try_again(void) {
    struct itimerspec when = {
        .it_value = {.tv_nsec = 1 + (long)(random_next(&handler_seed) % APART_NS)}};
    tries++;
    timer_settime(timer, 0, &when, NULL);
}

static void on_signal(int number) {
    (void)number;
    int kept = errno;
    bool stops = inside;
    if (stops || tries >= TRIES) {
        tries = 0;
        did_stop = stops;
        sem_post(&answered);
        char byte;
        while (stops && read(release_pipe[0], &byte, 1) != 1)
            ;
        if (stops)
            sem_post(&answered);
    } else {
        try_again();
    }
    errno = kept;
}

static void make_timer(uint64_t seed) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event._sigev_un._tid = gettid();
    handler_seed = seed;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        fail("no timer");
}

/* ---- the load -------------------------------------------------------------------------------- */

static void *worker(void *argument) {
    struct row *row = argument;
    make_timer(random_state(row->seed, 1)); /* no signal before this, nor after its end */
    pthread_mutex_lock(&row->lock);
    row->alive = true;
    pthread_mutex_unlock(&row->lock);
    for (int i = 0; i < LIFE && !over; i++) {
        void **place = &row->blocks[random_next(&row->seed) % CHUNKS];
        size_t size = 8 + (size_t)(random_next(&row->seed) % 993);
        inside = 1;
        free(*place);
        char *block = malloc(size);
        inside = 0;
        if (!block)
            fail("no memory for %zu bytes", size);
        block[size - 1] = 1;
        *place = block;
        row->calls += 2;
    }
    pthread_mutex_lock(&row->lock); /* no signal after this */
    row->alive = false;
    timer_delete(timer);
    if (over)
        return NULL; /* with the lock: the program ends */
    pthread_t next;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&next, &detached, worker, row) != 0)
        fail("no thread");
    row->thread = next;
    pthread_mutex_unlock(&row->lock);
    return NULL;
}

static void wait_for_answer(void) {
    while (sem_wait(&answered) != 0)
        ;
}

/* Sends the signal to a row's thread; true once that waits inside a call of the allocator. */
static bool stop(struct row *row) {
    pthread_mutex_lock(&row->lock);
    bool sent = row->alive && pthread_kill(row->thread, SIGUSR1) == 0;
    if (sent)
        wait_for_answer();
    bool stopped = sent && did_stop;
    /* A thread that stops holds no row's lock, and hands its row over only afterwards. */
    pthread_mutex_unlock(&row->lock);
    return stopped;
}

static bool others_go_on(const struct row *stopped, double *longest) {
    uint64_t before[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        before[i] = rows[i].calls;
    double start = now_seconds();
    for (unsigned i = 0; i < THREADS; i++)
        while (&rows[i] != stopped && rows[i].calls < before[i] + calls_wanted) {
            if (now_seconds() - start > (double)wait_seconds) {
                return false;
            }
            sched_yield();
        }
    if (now_seconds() - start > *longest)
        *longest = now_seconds() - start;
    return true;
}

static const char usage[] =
    "usage: bounds_signals [--seconds N] [--calls N] [--wait-seconds N]\n"
    "Stops one of four threads of a larson-like load inside malloc or free, at random times, and\n"
    "sees that each of the others completes so many calls meanwhile. Status 1 if one can't.\n"
    "  --seconds N       (default 5)\n"
    "  --calls N         calls of each of the others in each stop (default 1000)\n"
    "  --wait-seconds N  what they have for these (default 5)\n";

int main(int argc, char **argv) {
    struct argument table[] = {{"seconds", 1, 100000, &seconds_most, false},
                               {"calls", 1, 100000000, &calls_wanted, false},
                               {"wait-seconds", 1, 1000, &wait_seconds, false}};
    arguments_read(argc, argv, table, sizeof table / sizeof *table, usage);
    repeat_announce(argv[0], table, sizeof table / sizeof *table);
    if (pipe(release_pipe) != 0)
        fail("no pipe");
    sem_init(&answered, 0, 0);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        rows[i].seed = random_state(5, i);
        pthread_mutex_init(&rows[i].lock, NULL);
        pthread_mutex_lock(&rows[i].lock);
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&rows[i].thread, &detached, worker, &rows[i]) != 0)
            fail("no thread");
        pthread_mutex_unlock(&rows[i].lock);
    }
    uint64_t seed = random_state((uint64_t)(now_seconds() * 1e6), 0);
    uint64_t signals = 0, stops = 0, blockings = 0;
    double end = now_seconds() + (double)seconds_most, longest = 0;
    while (now_seconds() < end) {
        struct row *row = &rows[random_next(&seed) % THREADS];
        signals++;
        if (stop(row)) {
            stops++;
            blockings += !others_go_on(row, &longest);
            if (write(release_pipe[1], "", 1) != 1)
                fail("the pipe is gone");
            wait_for_answer(); /* or the next one might read the byte */
        }
        usleep((unsigned)(random_next(&seed) % 200));
    }
    over = true;
    printf("%" PRIu64 " signals, %" PRIu64 " stops inside malloc or free, %" PRIu64
           " of which stopped others; they took at most %.3f s\n",
           signals, stops, blockings, longest);
    puts(blockings ? "a thread that stops stops others" : "all went on");
    fflush(stdout);
    _exit(blockings != 0);
}
