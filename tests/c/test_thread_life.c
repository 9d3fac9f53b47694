/* Threads that end: with blocks of every kind left, in destructors, by the thousand, cancelled. */
#include "check.h"
#include "thread_life.h"
#include "base/counters.h"

#include <string.h>

/* ---- blocks that outlive their owner ------------------------------------------------------- */

enum { OWNERS = 8, KINDS = 13, EACH = 40 };
static const size_t kinds[KINDS] = {1,    16,   48,    100,   256,    592,    1024,
                                    4000, 9000, 32768, 70000, 500000, 1500000};
static struct box left[OWNERS][KINDS][EACH];
static _Atomic unsigned left_ready;

static unsigned copies(unsigned kind) {
    return kinds[kind] > 40000 ? 3 : EACH;
}

static void *allocate_and_leave(void *argument) {
    struct box(*mine)[EACH] = argument;
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < copies(kind); i++)
            box_fill(&mine[kind][i], kinds[kind]);
    for (unsigned kind = 0; kind < KINDS; kind++) /* holes: some go home, or to the depot */
        for (unsigned i = 1; i < copies(kind); i += 3)
            box_free(&mine[kind][i]);
    atomic_fetch_add_explicit(&left_ready, 1, memory_order_release);
    return NULL;
}

/* Each of these frees a share of every owner's blocks, while other owners are still ending. */
static void *free_a_share(void *argument) {
    unsigned share = (unsigned)(uintptr_t)argument;
    while (atomic_load_explicit(&left_ready, memory_order_acquire) < OWNERS)
        sched_yield();
    for (unsigned owner = 0; owner < OWNERS; owner++)
        for (unsigned kind = 0; kind < KINDS; kind++)
            for (unsigned i = share; i < copies(kind); i += 3)
                box_free(&left[(owner + share) % OWNERS][kind][i]);
    return NULL;
}

static void blocks_of_every_kind_outlive_their_thread(void **state) {
    (void)state;
    size_t first = 0;
    for (int round = 0; round < 60 / SCALE; round++) {
        pthread_t owners[OWNERS], freers[3];
        atomic_store(&left_ready, 0);
        for (unsigned i = 0; i < OWNERS; i++)
            thread_start(&owners[i], allocate_and_leave, left[i]);
        for (uintptr_t i = 0; i < 3; i++)
            thread_start(&freers[i], free_a_share, (void *)i);
        for (unsigned i = 0; i < OWNERS; i++)
            pthread_join(owners[i], NULL);
        for (unsigned i = 0; i < 3; i++)
            pthread_join(freers[i], NULL);
        if (round == 10)
            first = resident_bytes();
        if (round > 10) /* what all owners have at once may be there twice, not more often */
            assert_true(resident_bytes() < first + (64u << 20));
    }
    assert_true(hak_counter(HAK_COUNT_ABANDONED) > 0);
    assert_true(hak_counter(HAK_COUNT_CLAIMS) > 0);
}

/* ---- destructors of thread-local data ------------------------------------------------------ */

static pthread_key_t keys[4];
static _Atomic unsigned destructors_run, descendants;

struct chain {
    struct box box;
    unsigned depth;
};

static void *descendant(void *argument);

/* Runs after the allocator's own: its key is younger. Starts a thread, which has such data too. */
static void start_from_destructor(void *value) {
    struct chain *chain = value;
    box_check(&chain->box);
    atomic_fetch_add(&destructors_run, 1);
    struct box mine[20];
    for (unsigned i = 0; i < 20; i++)
        box_fill(&mine[i], i * 300);
    unsigned depth = chain->depth;
    if (depth) {
        pthread_t next;
        chain->depth = depth - 1;
        thread_start(&next, descendant, chain); /* from here on the chain is that thread's */
        if (depth % 2)
            pthread_join(next, NULL);
        else
            pthread_detach(next);
    } else {
        box_free(&chain->box);
        free(chain);
        atomic_fetch_add_explicit(&descendants, 1, memory_order_release);
    }
    for (unsigned i = 0; i < 20; i++)
        box_free(&mine[i]);
}

static void *descendant(void *argument) {
    struct chain *chain = argument;
    struct box other;
    box_check(&chain->box);
    box_free(&chain->box); /* its allocator is in a destructor, or gone */
    box_fill(&chain->box, 700 + chain->depth);
    box_fill(&other, 60000);
    REQUIRE(pthread_setspecific(keys[0], chain) == 0);
    box_free(&other);
    return NULL;
}

static void destructors_may_start_threads(void **state) {
    (void)state;
    free(malloc(1));
    assert_int_equal(pthread_key_create(&keys[0], start_from_destructor), 0);
    enum { CHAINS = 40 / SCALE + 4, DEPTH = 8 };
    for (unsigned i = 0; i < CHAINS; i++) {
        struct chain *chain = malloc(sizeof *chain);
        chain->depth = DEPTH;
        box_fill(&chain->box, 100);
        pthread_t thread;
        thread_start(&thread, descendant, chain);
        pthread_join(thread, NULL);
    }
    while (atomic_load_explicit(&descendants, memory_order_acquire) < CHAINS)
        sched_yield();
    assert_int_equal(atomic_load(&destructors_run), CHAINS * (DEPTH + 1));
    assert_true(hak_counter(HAK_COUNT_HEAPS) < 3 * CHAINS);
}

static void *_Atomic relay; /* from one thread's destructor to another's */

/* In every round that the system gives: frees what another thread left, and leaves something. */
static void again_and_again(void *value) {
    struct box *box = value;
    box_free(box);
    box_fill(box, 2000);
    struct box *other = atomic_exchange(&relay, box);
    if (other) {
        box_free(other);
        box_fill(other, 30);
#ifndef HAKMEM_SANITIZED /* ThreadSanitizer's own end comes before the later rounds */
        pthread_setspecific(keys[1], other);
#endif
    }
    void *grown = realloc(malloc(10), 100000);
    REQUIRE(grown);
    free(grown);
}

enum { RELAYS = 64 };
static struct box relay_boxes[RELAYS];

static void *take_part_in_relay(void *argument) {
    struct box *box = argument;
    box_fill(box, 500);
    REQUIRE(pthread_setspecific(keys[1], box) == 0);
    return NULL;
}

static void destructors_free_what_other_destructors_left(void **state) {
    (void)state;
    free(malloc(1));
    assert_int_equal(pthread_key_create(&keys[1], again_and_again), 0);
    for (int round = 0; round < 20 / SCALE + 2; round++) {
        pthread_t threads[RELAYS];
        for (unsigned i = 0; i < RELAYS; i++)
            thread_start(&threads[i], take_part_in_relay, &relay_boxes[i]);
        for (unsigned i = 0; i < RELAYS; i++)
            pthread_join(threads[i], NULL);
        atomic_store(&relay, NULL);
        for (unsigned i = 0; i < RELAYS; i++)
            box_free(&relay_boxes[i]);
    }
    assert_true(hak_counter(HAK_COUNT_HEAPS) < 2 * RELAYS);
}

/* ---- many threads -------------------------------------------------------------------------- */

static void *pass_it_on(void *argument) {
    struct box *passed = argument, own[8];
    for (unsigned i = 0; i < 8; i++)
        box_fill(&own[i], (size_t)16 << i);
    box_free(passed); /* of a thread that ended before this one began */
    box_fill(passed, 50 + (uintptr_t)passed->bytes % 3000);
    for (unsigned i = 0; i < 8; i++)
        box_free(&own[i]);
    return NULL;
}

static void ten_thousand_short_threads(void **state) {
    (void)state;
    struct box passed;
    box_fill(&passed, 1);
    size_t first = 0;
    uint64_t heaps = hak_counter(HAK_COUNT_HEAPS);
    for (int i = 0; i < 10000 / SCALE / SCALE; i++) {
        pthread_t thread;
        thread_start(&thread, pass_it_on, &passed);
        pthread_join(thread, NULL);
        if (i == 100)
            first = resident_bytes();
    }
    box_free(&passed);
    assert_true(resident_bytes() < first + (2u << 20));
    assert_true(hak_counter(HAK_COUNT_HEAPS) <= heaps + 2);
}

enum { AT_ONCE = 1000 / SCALE / SCALE };
static pthread_barrier_t barrier;
static struct box crowd_boxes[AT_ONCE][12];

static void *one_of_a_crowd(void *argument) {
    unsigned self = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < 12; i++)
        box_fill(&crowd_boxes[self][i], 24 * (i + 1) * (1 + self % 5));
    pthread_barrier_wait(&barrier);
    struct box *others = crowd_boxes[(self * 7 + 3) % AT_ONCE]; /* 7 and AT_ONCE have no divisor */
    for (unsigned i = 0; i < 6; i++)
        box_free(&others[i]);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < 6; i++)
        box_fill(&crowd_boxes[self][i], 5000);
    return NULL; /* twelve blocks are left */
}

static void a_thousand_threads_at_once(void **state) {
    (void)state;
    size_t before = resident_bytes();
    uint64_t heaps = hak_counter(HAK_COUNT_HEAPS);
    for (unsigned round = 0; round < 6; round++) {
        static pthread_t threads[AT_ONCE];
        assert_int_equal(pthread_barrier_init(&barrier, NULL, AT_ONCE), 0);
        for (uintptr_t i = 0; i < AT_ONCE; i++)
            thread_start(&threads[i], one_of_a_crowd, (void *)i);
        for (unsigned i = 0; i < AT_ONCE; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < AT_ONCE; i++)
            for (unsigned k = 0; k < 12; k++)
                box_free(&crowd_boxes[i][k]);
        pthread_barrier_destroy(&barrier);
        /* Each has a heap, and the next round's threads take the same ones. */
        assert_true(hak_counter(HAK_COUNT_HEAPS) <= heaps + AT_ONCE + 1);
        /* A thread may have a slab of 64 KiB of every class that it used: 13 of them. */
        assert_true(resident_bytes() < before + AT_ONCE * (size_t)13 * 65536);
    }
    /* Gone, they leave their heaps (some 30 KiB each), and what the purge delay takes time for. */
    size_t after = before + AT_ONCE * (size_t)32768 + (64u << 20);
    for (int i = 0; i < 100 && resident_bytes() > after; i++) {
        for (int k = 0; k < 100; k++)
            free(malloc(40000));
        usleep(20000);
    }
    assert_true(resident_bytes() <= after);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_of_every_kind_outlive_their_thread),
    cmocka_unit_test(destructors_may_start_threads),
    cmocka_unit_test(destructors_free_what_other_destructors_left),
    cmocka_unit_test(ten_thousand_short_threads),
    cmocka_unit_test(a_thousand_threads_at_once),
};
CHECK_MAIN(tests)
