/* Runs of units for huge blocks: that they are whole, zero when they have to be, found again
 * together, and bounded when they are free. */
#include "check.h"
#include "hakmem.h"
#include "base/counters.h"
#include "base/options.h"
#include "heap/heap.h"
#include "large/large.h"
#include "large/runs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNIT HAK_SLAB_SIZE
#define MIB  ((size_t)1 << 20)

static void begin(void) {
    hak_init();
    assert_int_equal(hak_option_set("HAKMEM_PURGE_DELAY", -1), 0);
    assert_int_equal(hak_option_set("HAKMEM_CACHE_HUGE", 64), 0);
    hak_collect();
    assert_int_equal(hak_runs_cached(), 0);
}

static struct hak_run taken(size_t size) {
    struct hak_run run = hak_run_take(size);
    assert_non_null(run.base);
    assert_int_equal((uintptr_t)run.base % UNIT, 0);
    assert_int_equal(run.size, size);
    return run;
}

static void touch(const struct hak_run *run) {
    for (size_t i = 0; i < run->size; i += UNIT / 2)
        run->base[i] = 'x';
}

static uintptr_t *word_of(const struct hak_run *run, size_t at) {
    return (uintptr_t *)(void *)(run->base + at);
}

static void sign(const struct hak_run *run, size_t from, uintptr_t who) {
    for (size_t at = from; at < run->size; at += UNIT)
        *word_of(run, at) = who;
}

static bool is_zero(const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static void neighbours_serve_together(void **state) {
    (void)state;
    begin();
    struct hak_run a = taken(2 * MIB), b = taken(3 * MIB), c = taken(4 * MIB);
    if (b.base != a.base + a.size || c.base != b.base + b.size)
        fail_msg("runs of a fresh piece lie apart");
    touch(&a), touch(&b), touch(&c);
    assert_false(hak_run_is_used(&c));
    char *first = a.base;
    hak_run_shrink(&b, 0);
    hak_run_shrink(&a, 0);
    assert_int_equal(hak_runs_cached(), 5 * MIB);
    struct hak_run both = taken(5 * MIB);
    assert_ptr_equal(both.base, first);
    assert_true(hak_run_is_used(&both));
    assert_int_equal(hak_runs_cached(), 0);
    assert_false(hak_run_extend(&both, 6 * MIB)); /* c is there */
    hak_run_shrink(&c, MIB);
    assert_int_equal(hak_runs_cached(), 3 * MIB);
    assert_int_equal(c.size, MIB);
    hak_run_shrink(&c, 0);
    assert_true(hak_run_extend(&both, 7 * MIB));
    assert_int_equal(both.size, 7 * MIB);
    assert_int_equal(hak_runs_cached(), 2 * MIB);
    hak_run_shrink(&both, 0);
    hak_collect();
    assert_int_equal(hak_runs_cached(), 0);
}

/* Every length, across the words of 64 units, beside runs of all others. */
static void runs_of_every_length_are_apart(void **state) {
    (void)state;
    begin();
    enum { MOST = 200 };
    static struct hak_run runs[MOST];
    for (size_t i = 0; i < MOST; i++) {
        runs[i] = taken((i + 1) * UNIT);
        sign(&runs[i], 0, i);
    }
    for (size_t i = 0; i < MOST; i += 2)
        hak_run_shrink(&runs[i], 0);
    for (size_t i = 0; i < MOST; i += 2) {
        runs[i] = taken((MOST - i) * UNIT);
        sign(&runs[i], 0, i);
    }
    for (size_t i = 0; i < MOST; i++) {
        for (size_t at = 0; at < runs[i].size; at += UNIT)
            assert_int_equal(*word_of(&runs[i], at), i);
        hak_run_shrink(&runs[i], 0);
    }
    hak_collect();
    assert_int_equal(hak_runs_cached(), 0);
}

static void what_was_used_is_cleared_for_calloc(void **state) {
    (void)state;
    begin();
    struct hak_run dirty = taken(2 * MIB), between = taken(UNIT), rest = taken(2 * MIB);
    memset(dirty.base, 1, dirty.size);
    hak_run_shrink(&dirty, 0);
    hak_run_shrink(&between, 0);
    hak_run_shrink(&rest, MIB); /* its second half is dirty by now, and zero */
    struct hak_run run = taken(2 * MIB + UNIT);
    hak_run_clear(&run, run.base + 100, run.size - 200);
    assert_true(is_zero(run.base + 100, run.size - 200));
    assert_int_equal(run.base[99], 1);
    hak_run_shrink(&run, 0);
    hak_run_shrink(&rest, 0);
    for (int round = 0; round < 20; round++) {
        size_t size = (size_t)(round % 7 + 2) * MIB;
        char *block = hak_calloc(1, size), *beside = hak_calloc(3, MIB / 2);
        assert_true(block && beside && is_zero(block, size) && is_zero(beside, 3 * MIB / 2));
        memset(block, 2, size);
        memset(beside, 3, 3 * MIB / 2);
        hak_free(round % 3 ? block : beside);
        char *again = hak_calloc(size / 4, 4);
        assert_true(again && is_zero(again, size));
        memset(again, 4, size);
        hak_free(round % 3 ? beside : block);
        hak_free(again);
    }
}

static void what_is_purged_reads_as_zeros(void **state) {
    (void)state;
    begin();
    struct hak_run run = taken(9 * MIB);
    memset(run.base, 1, run.size);
    char *base = run.base;
    hak_run_shrink(&run, 0);
    assert_int_equal(hak_runs_purge(0, 1000, 100), 0); /* too early */
    assert_int_equal(hak_runs_cached(), 9 * MIB);
    struct hak_run apart = taken(MIB); /* at the beginning: what is free are two parts now */
    hak_run_shrink(&apart, MIB / 2);
    struct hak_run other = taken(MIB);
    hak_run_shrink(&apart, 0);
    size_t part = hak_runs_purge(UINT64_MAX / 2, 0, 1);
    assert_int_equal(part, MIB / 2);
    hak_run_shrink(&other, 0);
    assert_int_equal(hak_runs_purge(UINT64_MAX / 2, 0, 100), 9 * MIB - part);
    assert_int_equal(hak_runs_cached(), 0);
    run = taken(9 * MIB);
    assert_ptr_equal(run.base, base);
    assert_false(hak_run_is_used(&run));
    assert_true(is_zero(run.base, run.size));
    memset(run.base, 1, run.size); /* readable and writable again, all of it */
    hak_run_shrink(&run, 0);
}

/* Units that are used now and then keep their pages, those beside them don't. */
static void only_what_is_idle_is_purged(void **state) {
    (void)state;
    begin();
    struct hak_run busy = taken(MIB), idle = taken(2 * MIB);
    touch(&busy), touch(&idle);
    hak_run_shrink(&idle, 0);
    hak_run_shrink(&busy, 0);
    uint64_t now = 1000000;
    size_t purged = 0;
    for (int round = 0; round < 5; round++, now += 50) {
        busy = taken(MIB);
        assert_true(hak_run_is_used(&busy));
        hak_run_shrink(&busy, 0);
        purged += hak_runs_purge(now, 40, 100);
    }
    assert_int_equal(purged, 2 * MIB);
    assert_int_equal(hak_runs_cached(), MIB);
    purged = hak_runs_purge(now, 40, 100);
    purged += hak_runs_purge(now + 50, 40, 100);
    assert_int_equal(purged, MIB);
}

static void more_is_kept_of_what_is_used_again(void **state) {
    (void)state;
    begin();
    assert_int_equal(hak_option_set("HAKMEM_CACHE_HUGE", 4), 0);
    enum { RUNS = 8 };
    struct hak_run runs[RUNS];
    for (int i = 0; i < RUNS; i++)
        runs[i] = taken(4 * MIB);
    for (int round = 0; round < 40; round++) {
        hak_run_shrink(&runs[round % RUNS], 0);
        runs[round % RUNS] = taken(4 * MIB);
    }
    hak_run_shrink(&runs[0], 0);
    hak_run_shrink(&runs[1], 0);
    assert_int_equal(hak_runs_cached(), 8 * MIB);
    runs[0] = taken(4 * MIB);
    runs[1] = taken(4 * MIB);
    for (int i = 0; i < RUNS; i++) /* and little once the program only frees */
        hak_run_shrink(&runs[i], 0);
    assert_true(hak_runs_cached() <= 4 * MIB);
    hak_collect();
}

static void little_is_kept_while_little_is_in_use(void **state) {
    (void)state;
    begin();
    enum { RUNS = 64 };
    static struct hak_run runs[RUNS];
    for (int i = 0; i < RUNS; i++) {
        runs[i] = taken(4 * MIB);
        touch(&runs[i]);
    }
    for (int i = 0; i < RUNS; i++) {
        hak_run_shrink(&runs[i], 0);
        assert_true(hak_runs_cached() <= 64 * MIB);
    }
    assert_int_equal(hak_runs_cached(), 64 * MIB);
    assert_int_equal(hak_option_set("HAKMEM_CACHE_HUGE", 0), 0);
    struct hak_run run = taken(2 * MIB);
    touch(&run);
    hak_run_shrink(&run, 0); /* goes with what was kept before */
    struct hak_run again = taken(3 * MIB);
    assert_true(is_zero(again.base, MIB));
    hak_run_shrink(&again, 0);
    hak_collect();
    assert_int_equal(hak_runs_cached(), 0);
}

static void too_long_or_nowhere(void **state) {
    (void)state;
    begin();
    assert_null(hak_run_take(HAK_RUN_MAX + UNIT).base);
    struct hak_run run = taken(HAK_RUN_MAX);
    hak_run_shrink(&run, 0);
    run = taken(UNIT);
    assert_false(hak_run_extend(&run, (size_t)1 << 40)); /* beyond the piece */
    assert_false(hak_run_extend(&run, HAK_RUN_MAX + UNIT));
    assert_true(hak_run_extend(&run, HAK_RUN_MAX));
    hak_run_shrink(&run, 0);
    hak_collect();
}

/* Where the system gives no more memory, address space isn't used up in vain. */
static void refusals_cost_no_address_space(void **state) {
    (void)state;
    begin();
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
        setrlimit(RLIMIT_DATA, &none);
        /* An emulator may keep no such limit. */
        if (mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
            MAP_FAILED)
            _exit(0);
        uint64_t before = hak_gauge(HAK_GAUGE_MAPPED);
        unsigned got = 0;
        for (int i = 0; i < 300; i++)
            got += hak_malloc(20 * MIB) != NULL;
        uint64_t more = hak_gauge(HAK_GAUGE_MAPPED) - before;
        _exit(got > 3 || (int64_t)more > (int64_t)3 << 30); /* less: what is kept goes back */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* More than one piece holds; all of them serve, and what is free in the first is found again. */
static void pieces_follow_each_other(void **state) {
    (void)state;
    begin();
    enum { RUNS = 80 }; /* of 32 MiB: 2.5 GiB, untouched */
    static struct hak_run runs[RUNS];
    unsigned pieces = 0;
    for (int i = 0; i < RUNS; i++) {
        runs[i] = taken(HAK_RUN_MAX);
        pieces += !i || runs[i].piece != runs[i - 1].piece;
    }
    assert_in_range(pieces, 3, 4);
    char *hole = runs[3].base;
    hak_run_shrink(&runs[3], 0);
    runs[3] = taken(HAK_RUN_MAX);
    assert_ptr_equal(runs[3].base, hole);
    for (int i = 0; i < RUNS; i++)
        hak_run_shrink(&runs[i], 0);
    hak_collect();
    assert_int_equal(hak_runs_cached(), 0);
}

/* ---- threads ------------------------------------------------------------------------------- */

#ifdef HAKMEM_SANITIZED
#define HAK_RUNS_TEST_ROUNDS 2000
#else
#define HAK_RUNS_TEST_ROUNDS 30000
#endif
enum { THREADS = 3, ROUNDS = HAK_RUNS_TEST_ROUNDS, HELD = 6 };
static _Atomic bool over;
static _Atomic unsigned wrong;

static void *take_and_give(void *argument) {
    uintptr_t who = (uintptr_t)argument;
    uint64_t seed = who * 77;
    struct hak_run held[HELD] = {{.base = NULL}};
    for (int round = 0; round < ROUNDS; round++) {
        struct hak_run *run = &held[next_random(&seed) % HELD];
        size_t size = (1 + next_random(&seed) % 130) * UNIT;
        if (!run->base) {
            *run = hak_run_take(size);
            if (!run->base)
                continue;
            hak_run_clear(run, run->base, run->size);
            for (size_t at = 0; at < size; at += UNIT)
                wrong += *word_of(run, at) != 0;
            sign(run, 0, who);
            continue;
        }
        for (size_t at = 0; at < run->size; at += UNIT)
            wrong += *word_of(run, at) != who;
        size_t before = run->size;
        if (size > before) {
            if (hak_run_extend(run, size))
                sign(run, before, who);
        } else {
            hak_run_shrink(run, next_random(&seed) % 2 ? size : 0);
            if (!run->size)
                run->base = NULL;
        }
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].base)
            hak_run_shrink(&held[i], 0);
    return NULL;
}

static void *purge_all_the_time(void *argument) {
    (void)argument;
    while (!over)
        hak_runs_purge(UINT64_MAX / 2, 0, 3);
    return NULL;
}

static void no_unit_has_two_holders(void **state) {
    (void)state;
    begin();
    pthread_t threads[THREADS], purger;
    assert_int_equal(pthread_create(&purger, NULL, purge_all_the_time, NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    over = true;
    pthread_join(purger, NULL);
    assert_int_equal(wrong, 0);
    hak_runs_purge(UINT64_MAX / 2, 0, UINT32_MAX);
    assert_int_equal(hak_runs_cached(), 0);
    /* Nothing stayed taken: the longest runs lie side by side again. */
    struct hak_run first = taken(HAK_RUN_MAX), second = taken(HAK_RUN_MAX);
    assert_ptr_equal(second.base, first.base + HAK_RUN_MAX);
    hak_run_shrink(&first, 0);
    hak_run_shrink(&second, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(neighbours_serve_together),
    cmocka_unit_test(runs_of_every_length_are_apart),
    cmocka_unit_test(what_was_used_is_cleared_for_calloc),
    cmocka_unit_test(what_is_purged_reads_as_zeros),
    cmocka_unit_test(only_what_is_idle_is_purged),
    cmocka_unit_test(more_is_kept_of_what_is_used_again),
    cmocka_unit_test(little_is_kept_while_little_is_in_use),
    cmocka_unit_test(refusals_cost_no_address_space),
    cmocka_unit_test(too_long_or_nowhere),
    cmocka_unit_test(pieces_follow_each_other),
    cmocka_unit_test(no_unit_has_two_holders),
};
CHECK_MAIN(tests)
