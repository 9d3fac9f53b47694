/* Every way to reuse a slab, one by one: what leads to it, that it is counted, and what happens
 * when the hint is out of date. */
#include "check.h"
#include "base/counters.h"
#include "base/options.h"
#include "base/size_class.h"
#include "heap/heap.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Each case has a class of its own: what others left in the pool doesn't disturb it. */
enum { SLAB_BYTES = 65536, MOST_BLOCKS = 64 * 256 };

struct job {
    size_t size;
    unsigned allocate; /* blocks */
    void **blocks;
};

static void *allocate_and_end(void *argument) {
    struct job *job = argument;
    for (unsigned i = 0; i < job->allocate; i++) {
        job->blocks[i] = malloc(job->size);
        fill_block(job->blocks[i], job->size);
    }
    return NULL;
}

static void in_a_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
    pthread_join(thread, NULL);
}

static void verify_and_free(void **blocks, unsigned count, size_t size) {
    for (unsigned i = 0; i < count; i++) {
        verify_block(blocks[i], size);
        free(blocks[i]);
    }
}

/* Nothing comes home, or to the pool, because a busy machine let time pass in the middle of a case.
 */
__attribute__((constructor)) static void keep_the_clock_out(void) {
    hak_init();
    hak_option_value[HAK_OPT_PURGE_DELAY] = -1;
}

struct counts {
    uint64_t hot, bench, sticky, stage0, kept, mailbox, stage1, stage2, gate, stage3, adopted;
};
static struct counts now(void) {
    return (struct counts){
        .hot = hak_counter(HAK_COUNT_REUSED_HOT),
        .bench = hak_counter(HAK_COUNT_REUSED_BENCH),
        .sticky = hak_counter(HAK_COUNT_REUSED_STICKY),
        .stage0 = hak_counter(HAK_COUNT_STAGE0_HINT),
        .kept = hak_counter(HAK_COUNT_STAGE05_OWN_EMPTY),
        .mailbox = hak_counter(HAK_COUNT_REUSED_MAILBOX),
        .stage1 = hak_counter(HAK_COUNT_STAGE1_RETURNED),
        .stage2 = hak_counter(HAK_COUNT_STAGE2_SHARED),
        .gate = hak_counter(HAK_COUNT_ADOPTED_AT_GATE),
        .stage3 = hak_counter(HAK_COUNT_STAGE3_NEW),
        .adopted = hak_counter(HAK_COUNT_ADOPTED),
    };
}

/* The depot would hold the freed blocks back: it is made small for these cases. */
static long without_depot(void) {
    free(malloc(1));
    long kept = hak_option(HAK_OPT_DEPOT);
    hak_option_value[HAK_OPT_DEPOT] = 0;
    return kept;
}

/* AddressSanitizer's runtime allocates in every thread, so that neither the counts nor which blocks
 * of a slab are out are these cases' own. */
#ifdef HAKMEM_ASAN
#define NOT_UNDER_ASAN() skip()
#else
#define NOT_UNDER_ASAN() ((void)0)
#endif

/* ---- what the heap remembers ---------------------------------------------------------------- */

static void the_next_thread_of_a_heap_takes_the_hot_slab(void **state) {
    (void)state;
    NOT_UNDER_ASAN();
    void *blocks[8], *more[8];
    struct job first = {.size = 1000, .allocate = 8, .blocks = blocks};
    in_a_thread(allocate_and_end, &first);
    struct counts before = now();
    struct job second = {.size = 1000, .allocate = 8, .blocks = more};
    in_a_thread(allocate_and_end, &second);
    struct counts after = now();
    assert_int_equal(after.hot, before.hot + 1);
    assert_int_equal(after.stage0, before.stage0 + 1);
    assert_int_equal(after.adopted, before.adopted + 1);
    assert_int_equal(after.stage2 + after.stage3, before.stage2 + before.stage3);
    assert_ptr_equal(hak_slab_meta_of(blocks[0]), hak_slab_meta_of(more[0]));
    verify_and_free(blocks, 8, 1000);
    verify_and_free(more, 8, 1000);
}

/* Leaves three slabs with free blocks in them; the ring brings back those that aren't the hot one.
 */
enum { STICKY_SIZE = 1100, STICKY_CLASS_BLOCKS = SLAB_BYTES / 1152 };
static void *leave_three_slabs(void *argument) {
    void **blocks = argument;
    for (unsigned i = 0; i < 3 * STICKY_CLASS_BLOCKS; i++) {
        blocks[i] = malloc(STICKY_SIZE);
        fill_block(blocks[i], STICKY_SIZE);
    }
    for (unsigned i = 0; i < 3 * STICKY_CLASS_BLOCKS; i += 2) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    return NULL;
}
static void the_sticky_ring_brings_back_the_others(void **state) {
    (void)state;
    NOT_UNDER_ASAN();
    long kept = without_depot();
    static void *blocks[3 * STICKY_CLASS_BLOCKS], *more[STICKY_CLASS_BLOCKS];
    in_a_thread(leave_three_slabs, blocks);
    struct counts before = now();
    struct job job = {.size = STICKY_SIZE, .allocate = STICKY_CLASS_BLOCKS, .blocks = more};
    in_a_thread(allocate_and_end, &job);
    struct counts after = now();
    assert_int_equal(after.hot, before.hot + 1);
    assert_true(after.sticky > before.sticky);
    assert_int_equal(after.stage0 - before.stage0,
                     after.hot - before.hot + after.sticky - before.sticky);
    assert_int_equal(after.stage2 + after.stage3, before.stage2 + before.stage3);
    for (unsigned i = 0; i < 3 * STICKY_CLASS_BLOCKS; i++)
        if (blocks[i])
            verify_and_free(&blocks[i], 1, STICKY_SIZE);
    verify_and_free(more, STICKY_CLASS_BLOCKS, STICKY_SIZE);
    hak_option_value[HAK_OPT_DEPOT] = kept;
}

/* ---- what a live thread gives up ------------------------------------------------------------ */

enum { SURPLUS_SLABS = 12, SURPLUS_SIZE = 500, SURPLUS_IN_SLAB = SLAB_BYTES / 512 };
static void *surplus[SURPLUS_SLABS * SURPLUS_IN_SLAB];
static pthread_barrier_t barrier;

/* Fills many slabs, then frees most blocks of each: has more partly used slabs than it needs. */
static void make_surplus(void) {
    for (unsigned i = 0; i < SURPLUS_SLABS * SURPLUS_IN_SLAB; i++) {
        surplus[i] = malloc(SURPLUS_SIZE);
        fill_block(surplus[i], SURPLUS_SIZE);
    }
    for (unsigned i = 0; i < SURPLUS_SLABS * SURPLUS_IN_SLAB; i++) {
        if (i % 8 == 0)
            continue;
        verify_block(surplus[i], SURPLUS_SIZE);
        free(surplus[i]);
        surplus[i] = NULL;
    }
}
static void end_surplus(void) {
    for (unsigned i = 0; i < SURPLUS_SLABS * SURPLUS_IN_SLAB; i++)
        if (surplus[i])
            verify_and_free(&surplus[i], 1, SURPLUS_SIZE);
}

static void *wait_alive(void *argument) {
    free(malloc(16)); /* has a heap */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return argument;
}

static void *take_from_mailbox(void *argument) {
    struct job *job = argument;
    free(malloc(16));
    pthread_barrier_wait(&barrier); /* now the other thread makes its surplus */
    pthread_barrier_wait(&barrier);
    return allocate_and_end(job);
}

static void a_live_thread_returns_what_others_can_use(void **state) {
    (void)state;
    long kept = without_depot();
    static void *more[SURPLUS_IN_SLAB];
    struct job job = {.size = SURPLUS_SIZE, .allocate = SURPLUS_IN_SLAB, .blocks = more};
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, take_from_mailbox, &job), 0);
    pthread_barrier_wait(&barrier);
    uint64_t returned = hak_counter(HAK_COUNT_RETURNED);
    make_surplus();
    assert_true(hak_counter(HAK_COUNT_RETURNED) > returned);
    struct counts before = now();
    pthread_barrier_wait(&barrier);
    pthread_join(other, NULL);
    struct counts after = now();
    assert_true(after.mailbox > before.mailbox);
    assert_true(after.stage1 > before.stage1);
    assert_int_equal(after.adopted, before.adopted); /* nobody had ended */
    assert_int_equal(after.stage2 + after.stage3, before.stage2 + before.stage3);
    verify_and_free(more, SURPLUS_IN_SLAB, SURPLUS_SIZE);
    end_surplus();
    hak_option_value[HAK_OPT_DEPOT] = kept;
}

static void what_nobody_took_comes_back_from_the_bench(void **state) {
    (void)state;
    long kept = without_depot();
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, wait_alive, NULL), 0);
    pthread_barrier_wait(&barrier);
    uint64_t returned = hak_counter(HAK_COUNT_RETURNED);
    make_surplus();
    assert_true(hak_counter(HAK_COUNT_RETURNED) > returned);
    struct counts before = now();
    static void *more[SURPLUS_SLABS * SURPLUS_IN_SLAB];
    unsigned n = 0;
    while (n < SURPLUS_SLABS * SURPLUS_IN_SLAB && now().bench == before.bench) {
        more[n] = malloc(SURPLUS_SIZE);
        fill_block(more[n], SURPLUS_SIZE);
        n++;
    }
    struct counts after = now();
    assert_int_equal(after.bench, before.bench + 1);
    assert_int_equal(after.stage2 + after.stage3, before.stage2 + before.stage3);
    pthread_barrier_wait(&barrier);
    pthread_join(other, NULL);
    verify_and_free(more, n, SURPLUS_SIZE);
    end_surplus();
    hak_option_value[HAK_OPT_DEPOT] = kept;
}

/* Takes all unused slabs of the mapped SuperSlabs, so that only new memory is left; their list. */
static unsigned occupy_all(char **bases, unsigned most) {
    unsigned n = 0;
    struct hak_superslab *none = NULL;
    while (n < most) {
        struct hak_slab_run run = hak_pool_take(1, &none, false);
        if (!run.base)
            return n;
        bases[n++] = run.base;
    }
    fail_msg("more than %u unused slabs", most);
    return n;
}

/* A heap's kept empty slab may be handed out from again, become exhausted and be given up: then it
 * isn't the heap's to keep any more. */
enum { KEPT_SIZE = 5000, KEPT_BLOCKS = 12 * 40, AFTER = 2000 };
static void *kept_blocks[KEPT_BLOCKS];

static void *free_and_reuse(void *argument) {
    void **mine = argument;
    free(malloc(16));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < KEPT_BLOCKS; i++) /* remotely: collects slabs, keeps one that is empty */
        verify_and_free(&kept_blocks[i], 1, KEPT_SIZE);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < AFTER; i++) {
        mine[i] = malloc(7000);
        fill_block(mine[i], 7000);
    }
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void a_slab_that_was_given_up_is_not_kept(void **state) {
    (void)state;
    static void *mine[AFTER], *theirs[AFTER];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, free_and_reuse, theirs), 0);
    pthread_barrier_wait(&barrier);
    for (int round = 0; round < 3; round++) { /* all out, the last slabs home, all out again */
        for (int i = 0; i < KEPT_BLOCKS; i++) {
            if (kept_blocks[i])
                continue;
            kept_blocks[i] = malloc(KEPT_SIZE);
            fill_block(kept_blocks[i], KEPT_SIZE);
        }
        for (int i = KEPT_BLOCKS / 2; round < 2 && i < KEPT_BLOCKS; i++) {
            free(kept_blocks[i]);
            kept_blocks[i] = NULL;
        }
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < AFTER; i++) {
        mine[i] = malloc(6000);
        fill_block(mine[i], 6000);
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    pthread_join(other, NULL);
    verify_and_free(mine, AFTER, 6000);
    verify_and_free(theirs, AFTER, 7000);
}

/* What comes home from another thread to more slabs than a heap keeps is for whoever needs it,
 * though its owner neither ends nor does anything any more. */
enum { SLEEP_SIZE = 1400, SLEEPERS = 60 * (SLAB_BYTES / 1408) };
static void *sleepers[SLEEPERS], *again[SLEEPERS / 2];

static void *allocate_and_sleep(void *argument) {
    struct job all = {.size = SLEEP_SIZE, .allocate = SLEEPERS, .blocks = sleepers};
    allocate_and_end(&all);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* has half of its blocks freed by another */
    struct job half = {.size = SLEEP_SIZE, .allocate = SLEEPERS / 2, .blocks = again};
    allocate_and_end(&half);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* sleeps */
    return argument;
}

/* Frees every other block of `count`, all of which go to their slabs. */
static void free_half(void **blocks, unsigned count, size_t size) {
    for (unsigned i = 0; i < count; i += 2)
        verify_and_free(&blocks[i], 1, size);
    hak_heap_exit(); /* what the magazine holds, too */
    free(malloc(16));
}

static void what_comes_home_to_a_sleeper_is_not_lost(void **state) {
    (void)state;
    NOT_UNDER_ASAN();
    long kept = without_depot();
    enum { WANTED = SLEEPERS / 8 };
    static void *mine[WANTED];
    static char *occupied[4096];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, allocate_and_sleep, NULL), 0);
    pthread_barrier_wait(&barrier);
    free_half(sleepers, SLEEPERS, SLEEP_SIZE);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    free_half(again, SLEEPERS / 2, SLEEP_SIZE);
    unsigned n = occupy_all(occupied, 4096);
    struct counts before = now();
    for (int i = 0; i < WANTED; i++) {
        mine[i] = malloc(SLEEP_SIZE);
        fill_block(mine[i], SLEEP_SIZE);
    }
    struct counts after = now();
    pthread_barrier_wait(&barrier);
    pthread_join(other, NULL);
    for (unsigned i = 0; i < n; i++)
        hak_pool_give(occupied[i], 1);
    verify_and_free(mine, WANTED, SLEEP_SIZE);
    for (unsigned i = 1; i < SLEEPERS; i += 2)
        verify_and_free(&sleepers[i], 1, SLEEP_SIZE);
    for (unsigned i = 1; i < SLEEPERS / 2; i += 2)
        verify_and_free(&again[i], 1, SLEEP_SIZE);
    hak_option_value[HAK_OPT_DEPOT] = kept;
    assert_true(after.stage1 + after.gate > before.stage1 + before.gate);
    assert_int_equal(after.stage3, before.stage3);
}

/* ---- what an exited thread left behind ------------------------------------------------------- */

enum { GATE_SIZE = 3400, GATE_IN_SLAB = SLAB_BYTES / 3584 };

static void before_memory_is_mapped_the_gate_adopts(void **state) {
    (void)state;
    NOT_UNDER_ASAN();
    static char *occupied[4096];
    void *blocks[2 * GATE_IN_SLAB], *more[4];
    /* Two slabs whose blocks are all out when their thread ends: nothing to offer. */
    struct job job = {.size = GATE_SIZE, .allocate = 2 * GATE_IN_SLAB, .blocks = blocks};
    in_a_thread(allocate_and_end, &job);
    /* Then one block of one of them comes home. */
    long kept = without_depot();
    verify_block(blocks[3], GATE_SIZE);
    hak_heap_give_blocks(NULL, &blocks[3], 1); /* as of a thread without a heap: to its slab */
    unsigned n = occupy_all(occupied, 4096);
    struct counts before = now();
    struct job one = {.size = GATE_SIZE, .allocate = 1, .blocks = more};
    in_a_thread(allocate_and_end, &one);
    struct counts after = now();
    assert_int_equal(after.gate, before.gate + 1);
    assert_int_equal(after.adopted, before.adopted + 1);
    assert_int_equal(after.stage3, before.stage3);
    assert_ptr_equal(more[0], blocks[3]);
    /* All blocks are out again: new memory is mapped, and the search ends. */
    one.blocks = &more[1];
    in_a_thread(allocate_and_end, &one);
    assert_int_equal(now().stage3, before.stage3 + 1);
    for (unsigned i = 0; i < n; i++)
        hak_pool_give(occupied[i], 1);
    for (unsigned i = 0; i < 2 * GATE_IN_SLAB; i++)
        if (i != 3)
            verify_and_free(&blocks[i], 1, GATE_SIZE);
    free(more[0]);
    free(more[1]);
    hak_option_value[HAK_OPT_DEPOT] = kept;
}

static void another_heap_takes_what_was_left_with_blocks(void **state) {
    (void)state;
    hak_heap_exit(); /* begin without an empty slab that other cases left */
    free(malloc(16));
    void *blocks[3];
    struct job job = {.size = 2400, .allocate = 3, .blocks = blocks};
    in_a_thread(allocate_and_end, &job);
    struct counts before = now();
    void *mine = malloc(2400); /* this thread's heap remembers nothing of that slab */
    struct counts after = now();
    assert_int_equal(after.stage1, before.stage1 + 1);
    assert_int_equal(after.mailbox, before.mailbox);
    assert_int_equal(after.adopted, before.adopted + 1);
    assert_ptr_equal(hak_slab_meta_of(mine), hak_slab_meta_of(blocks[0]));
    /* Its heap's hot slot still points there; that hint is out of date now. */
    uint64_t hot = now().hot;
    void *theirs;
    struct job later = {.size = 2400, .allocate = 1, .blocks = &theirs};
    in_a_thread(allocate_and_end, &later);
    assert_int_equal(now().hot, hot);
    assert_ptr_not_equal(hak_slab_meta_of(mine), hak_slab_meta_of(theirs));
    free(mine);
    verify_and_free(&theirs, 1, 2400);
    verify_and_free(blocks, 3, 2400);
}

static void adoption_can_be_turned_off(void **state) {
    (void)state;
    free(malloc(1));
    long kept = hak_option(HAK_OPT_ADOPT);
    hak_option_value[HAK_OPT_ADOPT] = 0;
    void *blocks[4];
    struct job job = {.size = 2900, .allocate = 2, .blocks = blocks};
    struct counts before = now();
    in_a_thread(allocate_and_end, &job);
    job.blocks = blocks + 2;
    in_a_thread(allocate_and_end, &job);
    void *mine = malloc(2900);
    assert_int_equal(now().adopted, before.adopted);
    assert_int_equal(now().stage0, before.stage0);
    assert_ptr_not_equal(hak_slab_meta_of(blocks[0]), hak_slab_meta_of(blocks[2]));
    assert_ptr_not_equal(hak_slab_meta_of(blocks[0]), hak_slab_meta_of(mine));
    verify_and_free(blocks, 4, 2900);
    free(mine);
    hak_option_value[HAK_OPT_ADOPT] = kept;
}

/* A slab of its own that became empty serves another class (stage 0.5). */
static void the_kept_empty_slab_changes_its_class(void **state) {
    (void)state;
    hak_heap_exit(); /* begin without anything of other cases */
    void *block = malloc(3000);
    TinySlabMeta *slab = hak_slab_meta_of(block);
    free(block);
    unsigned c = hak_size_class(3000);
    struct hak_heap *heap = hak_heap_self();
    void **bottom = heap->classes[c].bottom;
    hak_heap_give_blocks(heap, bottom + 1, (unsigned)(hak_thread.top[c] - bottom));
    hak_thread.top[c] = bottom;
    struct counts before = now();
    void *other = malloc(3500);
    struct counts after = now();
    assert_int_equal(after.kept, before.kept + 1);
    assert_ptr_equal(hak_slab_meta_of(other), slab);
    assert_int_equal(malloc_usable_size(other) / 512, 7);
    free(other);
}

/* With nothing to reuse: first what is mapped (stage 2), then new memory (stage 3). */
static void unused_slabs_come_before_new_memory(void **state) {
    (void)state;
    NOT_UNDER_ASAN();
    static char *occupied[4096];
    hak_init(); /* which may allocate */
    struct hak_superslab *none = NULL;
    hak_pool_give(hak_pool_take(1, &none, true).base, 1); /* one at least is unused and mapped */
    void *blocks[2];
    struct job job = {.size = 20000, .allocate = 0, .blocks = &blocks[0]};
    in_a_thread(allocate_and_end, &job); /* what the C library allocates for a thread */
    struct counts before = now();
    job.allocate = 1;
    in_a_thread(allocate_and_end, &job);
    struct counts mapped = now();
    assert_int_equal(mapped.stage2, before.stage2 + 1);
    assert_int_equal(mapped.stage3, before.stage3);
    unsigned n = occupy_all(occupied, 4096);
    job = (struct job){.size = 24000, .allocate = 1, .blocks = &blocks[1]};
    in_a_thread(allocate_and_end, &job);
    assert_int_equal(now().stage2, mapped.stage2);
    assert_int_equal(now().stage3, mapped.stage3 + 1);
    for (unsigned i = 0; i < n; i++)
        hak_pool_give(occupied[i], 1);
    verify_and_free(&blocks[0], 1, 20000);
    verify_and_free(&blocks[1], 1, 24000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(unused_slabs_come_before_new_memory),
    cmocka_unit_test(the_next_thread_of_a_heap_takes_the_hot_slab),
    cmocka_unit_test(the_sticky_ring_brings_back_the_others),
    cmocka_unit_test(a_live_thread_returns_what_others_can_use),
    cmocka_unit_test(what_nobody_took_comes_back_from_the_bench),
    cmocka_unit_test(a_slab_that_was_given_up_is_not_kept),
    cmocka_unit_test(what_comes_home_to_a_sleeper_is_not_lost),
    cmocka_unit_test(before_memory_is_mapped_the_gate_adopts),
    cmocka_unit_test(another_heap_takes_what_was_left_with_blocks),
    cmocka_unit_test(adoption_can_be_turned_off),
    cmocka_unit_test(the_kept_empty_slab_changes_its_class),
};
CHECK_MAIN(tests)
