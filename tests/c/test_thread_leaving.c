/* Threads that end with very many slabs: they give up some of them, and those that live the rest, a
 * few at a time. */
#include "check.h"
#include "thread_life.h"
#include "base/counters.h"

enum { SIZE = 30000, BLOCKS = 6000, SLABS = BLOCKS / 2, AT_ONCE = 4 };

static struct box left[AT_ONCE][BLOCKS];

static void *allocate_and_leave(void *argument) {
    struct box *mine = argument;
    for (unsigned i = 0; i < BLOCKS; i++)
        box_fill(&mine[i], SIZE);
    return NULL;
}

static void leave_blocks(struct box *boxes) {
    pthread_t thread;
    thread_start(&thread, allocate_and_leave, boxes);
    pthread_join(thread, NULL);
}

/* What a living thread does: calls of which one in some takes a slow path. */
static void work(void) {
    enum { HELD = 200 };
    void *held[HELD];
    for (unsigned i = 0; i < HELD; i++)
        held[i] = malloc(3000 + i);
    for (unsigned i = 0; i < HELD; i++)
        free(held[i]);
}

/* Slabs that threads gave up: at their ends, and, in guard builds above all, while they lived. */
static uint64_t given_up(void) {
    return hak_counter(HAK_COUNT_ABANDONED) + hak_counter(HAK_COUNT_RETURNED);
}

static void the_rest_is_left_by_those_who_live(void **state) {
    (void)state;
    uint64_t before = given_up(), abandoned = hak_counter(HAK_COUNT_ABANDONED);
    leave_blocks(left[0]);
    assert_true(hak_counter(HAK_COUNT_ABANDONED) - abandoned <= 1024); /* docs/bounds.md */
    for (unsigned i = 0; i < 10000 && given_up() - before < SLABS; i++)
        work();
    assert_true(given_up() - before >= SLABS);
    for (unsigned i = 0; i < BLOCKS; i++)
        box_free(&left[0][i]); /* looks at its contents */
}

static void blocks_come_home_to_slabs_that_wait(void **state) {
    (void)state;
    work();
    size_t resident = resident_bytes();
    for (unsigned round = 0; round < 4; round++) {
        leave_blocks(left[0]);
        /* From both ends: those that were left, and those that the ended thread's heap still has.
         */
        for (unsigned i = 0; i < BLOCKS / 2; i++) {
            box_free(&left[0][i]);
            box_free(&left[0][BLOCKS - 1 - i]);
        }
    }
    for (unsigned i = 0; i < 200 && resident_bytes() > resident + (16u << 20); i++) {
        work();
        usleep(10000);
    }
    assert_true(resident_bytes() <= resident + (16u << 20));
}

/* The next thread needs what the one before left, and no memory beside it. */
static void what_waits_is_used_before_new_memory(void **state) {
    (void)state;
    leave_blocks(left[0]);
    for (unsigned i = 0; i < BLOCKS; i++)
        box_free(&left[0][i]);
    uint64_t superslabs = hak_counter(HAK_COUNT_STAGE3_NEW);
    leave_blocks(left[1]);
    /* What the main thread's magazines and the depot hold is missing. */
    assert_true(hak_counter(HAK_COUNT_STAGE3_NEW) - superslabs <= 16);
    for (unsigned i = 0; i < BLOCKS; i++)
        box_free(&left[1][i]);
}

static _Atomic bool all_there, all_freed;

enum { MANY = 6 * BLOCKS / SCALE };
static struct box many[MANY];

static void *allocate_and_sleep(void *argument) {
    (void)argument;
    for (unsigned i = 0; i < MANY; i++)
        box_fill(&many[i], SIZE);
    atomic_store_explicit(&all_there, true, memory_order_release);
    while (!atomic_load_explicit(&all_freed, memory_order_acquire))
        usleep(1000);
    return NULL;
}

/* All slabs have a notice that waits for their owner, who then ends. */
static void slabs_freed_by_others_go_back_after_a_sleep(void **state) {
    (void)state;
    work();
    size_t resident = resident_bytes();
    pthread_t owner;
    thread_start(&owner, allocate_and_sleep, NULL);
    while (!atomic_load_explicit(&all_there, memory_order_acquire))
        usleep(1000);
    for (unsigned i = 0; i < MANY; i++)
        box_free(&many[i]);
    atomic_store_explicit(&all_freed, true, memory_order_release);
    pthread_join(owner, NULL);
    for (unsigned i = 0; i < 3 && (!i || resident_bytes() > resident + (16u << 20)); i++) {
        sleep(1); /* once is enough, but for a machine that is busy */
        for (unsigned k = 0; k < 1000; k++)
            free(malloc(16 + k % 500));
    }
    assert_true(resident_bytes() <= resident + (16u << 20));
}

static _Atomic unsigned leaving;

static void *leave_again(void *argument) {
    allocate_and_leave(argument);
    for (unsigned i = 0; i < BLOCKS; i += 2) /* every slab has one block at home */
        box_free(&((struct box *)argument)[i]);
    atomic_fetch_add_explicit(&leaving, 1, memory_order_release);
    return NULL;
}

static void *free_others(void *argument) {
    unsigned self = (unsigned)(uintptr_t)argument;
    while (atomic_load_explicit(&leaving, memory_order_acquire) < AT_ONCE)
        work();
    for (unsigned i = 1 + 2 * self; i < BLOCKS; i += 2 * AT_ONCE)
        for (unsigned k = 0; k < AT_ONCE; k++)
            box_free(&left[k][i]);
    return NULL;
}

static void many_end_at_once_while_others_free(void **state) {
    (void)state;
    size_t first = 0;
    for (unsigned round = 0; round < 8 / SCALE; round++) {
        pthread_t owners[AT_ONCE], others[AT_ONCE];
        atomic_store(&leaving, 0);
        for (uintptr_t i = 0; i < AT_ONCE; i++)
            thread_start(&owners[i], leave_again, left[i]);
        for (uintptr_t i = 0; i < AT_ONCE; i++)
            thread_start(&others[i], free_others, (void *)i);
        for (unsigned i = 0; i < AT_ONCE; i++)
            pthread_join(owners[i], NULL);
        for (unsigned i = 0; i < AT_ONCE; i++)
            pthread_join(others[i], NULL);
        if (round == 1)
            first = resident_bytes();
        if (round > 1)
            assert_true(resident_bytes() < first + (128u << 20));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_rest_is_left_by_those_who_live),
    cmocka_unit_test(blocks_come_home_to_slabs_that_wait),
    cmocka_unit_test(slabs_freed_by_others_go_back_after_a_sleep),
    cmocka_unit_test(what_waits_is_used_before_new_memory),
    cmocka_unit_test(many_end_at_once_while_others_free),
};
CHECK_MAIN(tests)
