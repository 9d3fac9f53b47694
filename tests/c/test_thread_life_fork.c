/* New processes while other threads allocate: fork, vfork and posix_spawn. */
#include "thread_life.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

/* ---- the load ------------------------------------------------------------------------------ */

enum { BUSY = 2, SLOTS = 128, STARTERS = 2 };

/* In one word, so that a slot is exchanged whole, and a child finds in it what was written before.
 */
static struct box *_Atomic slots[SLOTS];
static _Atomic bool stop;

static size_t some_size(uint64_t *seed) {
    uint64_t r = next_random(seed);
    return r % 256 == 0 ? (r >> 8) % 2000000 : r % 8 == 0 ? (r >> 8) % 40000 : (r >> 8) % 1000;
}

static struct box *new_box(uint64_t *seed) {
    struct box *box = malloc(sizeof *box);
    REQUIRE(box);
    box_fill(box, some_size(seed));
    return box;
}

static void end_box(struct box *box) {
    if (!box)
        return;
    box_free(box);
    free(box);
}

static void turn_over(uint64_t *seed) {
    struct box *box = next_random(seed) % 4 ? new_box(seed) : NULL;
    end_box(atomic_exchange(&slots[next_random(seed) % SLOTS], box));
}

static void *keep_busy(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        turn_over(&seed);
    return NULL;
}

static void under_load(void *(*function)(void *), unsigned threads) {
    pthread_t busy[BUSY], starters[STARTERS];
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < BUSY; i++)
        thread_start(&busy[i], keep_busy, (void *)(i + 1));
    for (uintptr_t i = 0; i < threads; i++)
        thread_start(&starters[i], function, (void *)i);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(starters[i], NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < BUSY; i++)
        pthread_join(busy[i], NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        end_box(atomic_exchange(&slots[i], NULL));
}

static void expect_success(pid_t child) {
    int status;
    pid_t ended;
    do
        ended = waitpid(child, &status, 0);
    while (ended < 0);
    if (status != 0) {
        fprintf(stderr, "child %d ended with status 0x%x%s\n", (int)child, (unsigned)status,
                WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
        _exit(1);
    }
}

/* ---- fork ---------------------------------------------------------------------------------- */

#ifdef HAKMEM_DEBUG
enum { FORKS = 250 }; /* children and grandchildren together */
#else
enum { FORKS = 1000 / SCALE };
#endif
enum { HANG_SECONDS = 60 };

/* ThreadSanitizer has no threads in a child of a program with threads, nor has qemu, for which the
 * small form is built, too. */
#if defined(HAKMEM_SANITIZED) && !defined(HAKMEM_ASAN)
enum { CHILD_THREADS = 0 };
#else
enum { CHILD_THREADS = 2 };
#endif

static void *work_in_child(void *argument) {
    uint64_t seed = 17 + (uintptr_t)argument;
    for (unsigned i = 0; i < 30; i++)
        turn_over(&seed);
    return NULL;
}

/* Nobody but the thread that forked is there; what the others owned is everybody's. The child frees
 * one half of it, the grandchild the other, each while its own threads allocate. */
static void take_over(struct box *mine, unsigned count, unsigned half, uint64_t seed,
                      pthread_t threads[2]) {
    alarm(HANG_SECONDS);
    for (unsigned i = half; i < count; i += 2)
        box_free(&mine[i]);
    for (unsigned i = half; i < SLOTS; i += 2)
        end_box(atomic_exchange(&slots[i], NULL));
    for (uintptr_t i = 0; i != CHILD_THREADS; i++)
        thread_start(&threads[i], work_in_child, (void *)(seed % 1000 + i));
    for (unsigned i = 0; i < 30; i++)
        turn_over(&seed);
}

_Noreturn static void live_as_child(struct box *mine, unsigned count, uint64_t seed) {
    pthread_t threads[2], others[2];
    take_over(mine, count, 0, seed, threads);
    pid_t grandchild = fork();
    REQUIRE(grandchild >= 0);
    if (grandchild == 0) {
        take_over(mine, count, 1, seed + 1, others);
        for (unsigned i = 0; i != CHILD_THREADS; i++)
            pthread_join(others[i], NULL);
        _exit(0);
    }
    for (unsigned i = 0; i != CHILD_THREADS; i++)
        pthread_join(threads[i], NULL);
    expect_success(grandchild);
    _exit(0);
}

static void *fork_again_and_again(void *argument) {
    uint64_t seed = 1000 + (uintptr_t)argument;
    struct box mine[64];
    for (unsigned i = 0; i < 64; i++)
        box_fill(&mine[i], some_size(&seed));
    for (unsigned i = 0; i < FORKS / STARTERS / 2; i++) {
        turn_over(&seed);
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0)
            live_as_child(mine, 64, seed);
        expect_success(child);
    }
    for (unsigned i = 0; i < 64; i++)
        box_free(&mine[i]);
    return NULL;
}

static void a_thousand_forks_under_load(void **state) {
    (void)state;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    under_load(fork_again_and_again, STARTERS);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 60); /* some 10 on two cores */
}

/* A thread that never allocated forks, and its child does. */
static void *fork_without_a_heap(void *argument) {
    (void)argument;
    for (unsigned i = 0; i < 40 / SCALE; i++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            alarm(HANG_SECONDS);
            uint64_t seed = 3;
            for (unsigned k = 0; k < 50; k++)
                turn_over(&seed);
            _exit(0);
        }
        expect_success(child);
    }
    return NULL;
}
static void a_thread_without_a_heap_may_fork(void **state) {
    (void)state;
    under_load(fork_without_a_heap, 1);
}

/* A line of processes, each the child of the one before, each with threads at work when it forks.
 */
static void every_generation_may_fork(void **state) {
    (void)state;
    enum { GENERATIONS = 12 };
    unsigned generation = 0;
    pid_t child = 0, first = getpid();
    struct box mine;
    box_fill(&mine, 3000);
    for (; generation < GENERATIONS && child == 0; generation++) {
        alarm(HANG_SECONDS);
        atomic_store(&stop, false);
        pthread_t busy;
        if (CHILD_THREADS)
            thread_start(&busy, keep_busy, (void *)(uintptr_t)(generation + 1));
        uint64_t seed = generation + 5;
        for (unsigned i = 0; i < 300; i++)
            turn_over(&seed);
        child = fork();
        REQUIRE(child >= 0);
        if (child == 0)
            continue;
        atomic_store(&stop, true);
        if (CHILD_THREADS)
            pthread_join(busy, NULL);
        expect_success(child);
    }
    box_free(&mine);
    if (getpid() != first)
        _exit(0);
    alarm(0);
    for (unsigned i = 0; i < SLOTS; i++)
        end_box(atomic_exchange(&slots[i], NULL));
}

/* ---- vfork and posix_spawn ----------------------------------------------------------------- */

static void *start_programs(void *argument) {
    static char *const arguments[] = {(char *)(uintptr_t) "true", NULL};
    uint64_t seed = 50 + (uintptr_t)argument;
    for (unsigned i = 0; i < 100 / SCALE; i++) {
        turn_over(&seed);
        pid_t child = vfork();
        if (child == 0) {
            execve("/bin/true", arguments, environ);
            _exit(127);
        }
        REQUIRE(child > 0);
        expect_success(child);

        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
        REQUIRE(posix_spawn(&child, "/bin/true", &actions, NULL, arguments, environ) == 0);
        posix_spawn_file_actions_destroy(&actions);
        expect_success(child);
    }
    return NULL;
}
static void programs_start_under_load(void **state) {
    (void)state;
    under_load(start_programs, STARTERS);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_thousand_forks_under_load),
    cmocka_unit_test(a_thread_without_a_heap_may_fork),
    cmocka_unit_test(every_generation_may_fork),
    cmocka_unit_test(programs_start_under_load),
};
CHECK_MAIN(tests)
