/* Slabs: blocks out and home, the remote queue, claims. One thread plays all the owners. */
#include "check.h"
#include "base/counters.h"
#include "base/poison.h"
#include "base/size_class.h"
#include "heap/heap.h"
#include "slab/slab.h"

#include <stdlib.h>

enum { CLASS = 4, OWNER_A = 0x1000, OWNER_B = 0x2000 };

/* A slab outside all heaps, owned by OWNER_A. */
static TinySlabMeta *make_slab(void) {
    hak_init();
    struct hak_superslab *hint = NULL;
    struct hak_slab_run run = hak_pool_take(1, &hint, true);
    assert_non_null(run.base);
    uintptr_t kept = hak_self;
    hak_self = OWNER_A;
    hak_slab_begin(run.base, CLASS);
    hak_self = kept;
    hak_unpoison(run.base, HAK_SLAB_SIZE); /* this test is instrumented, the allocator is not */
    return hak_slab_meta_of(run.base);
}

#define AS(owner, ...)                                                                             \
    do {                                                                                           \
        uintptr_t kept_self = hak_self;                                                            \
        hak_self = (owner);                                                                        \
        __VA_ARGS__;                                                                               \
        hak_self = kept_self;                                                                      \
    } while (0)

static void retire(TinySlabMeta *slab) {
    AS(OWNER_A, hak_slab_retire(slab));
}

static void gives_out_every_block_once(void **state) {
    (void)state;
    TinySlabMeta *slab = make_slab();
    enum { BLOCKS = 65536 / 64 };
    static void *blocks[BLOCKS + 1];
    unsigned n;
    AS(OWNER_A, n = hak_slab_take(slab, blocks, BLOCKS + 1));
    assert_int_equal(n, BLOCKS);
    assert_int_equal(atomic_load(&slab->used), BLOCKS);
    /* The lowest address is used first: it comes last. */
    for (unsigned i = 0; i < BLOCKS; i++)
        assert_ptr_equal(blocks[BLOCKS - i], slab->base + i * 64);
    AS(OWNER_A, assert_false(hak_slab_has_blocks(slab)));
    for (unsigned i = 1; i <= BLOCKS; i++) {
        unsigned left;
        AS(OWNER_A, hak_slab_give(slab, &blocks[i], &blocks[i] + 1));
        left = hak_slab_used(slab);
        assert_int_equal(left, BLOCKS - i);
    }
    AS(OWNER_A, n = hak_slab_take(slab, blocks, 3));
    assert_int_equal(n, 3);
    for (unsigned i = 0; i < 3; i++)
        AS(OWNER_A, hak_slab_give(slab, &blocks[i], &blocks[i] + 1));
    retire(slab);
}

static void remote_queue_keeps_count_and_order(void **state) {
    (void)state;
    TinySlabMeta *slab = make_slab();
    void *b[6];
    AS(OWNER_A, assert_int_equal(hak_slab_take(slab, b, 6), 6));
    uint64_t old = slab_remote_push_chain(slab, b[0], b[0], 1);
    assert_int_equal(old & SLAB_REMOTE_NOTICE, 0);
    slab_block_set_next(b[1], b[2]);
    old = slab_remote_push_chain(slab, b[1], b[2], 2);
    assert_int_equal(old & SLAB_REMOTE_NOTICE, 1);
    assert_int_equal(slab_remote_count_relaxed(slab), 3);
    assert_false(slab_remote_is_quiet(slab));

    unsigned n;
    AS(OWNER_A, n = ss_remote_drain_to_freelist(slab, false));
    assert_int_equal(n, 3);
    assert_int_equal(atomic_load(&slab->used), 3);
    assert_false(slab_remote_is_quiet(slab)); /* the notice is still out */
    AS(OWNER_A, assert_ptr_equal(slab_freelist_load_relaxed(slab), b[1]));
    assert_ptr_equal(slab_block_next(b[1]), b[2]);
    assert_ptr_equal(slab_block_next(b[2]), b[0]);
    assert_null(slab_block_next(b[0]));

    /* A second drain goes before what is already there. */
    slab_remote_push_chain(slab, b[3], b[3], 1);
    AS(OWNER_A, n = ss_remote_drain_to_freelist(slab, true));
    assert_int_equal(n, 1);
    assert_true(slab_remote_is_quiet(slab));
    AS(OWNER_A, {
        assert_ptr_equal(slab_freelist_pop_lockfree(slab), b[3]);
        assert_ptr_equal(slab_freelist_pop_lockfree(slab), b[1]);
        slab_freelist_push_lockfree(slab, b[1]);
        slab_freelist_push_lockfree(slab, b[3]);
    });
    AS(OWNER_A, hak_slab_give(slab, &b[4], &b[4] + 1));
    AS(OWNER_A, hak_slab_give(slab, &b[5], &b[5] + 1));
    assert_int_equal(atomic_load(&slab->used), 0);
    retire(slab);
}

static void a_withdrawn_notice_fails_after_a_drain(void **state) {
    (void)state;
    TinySlabMeta *slab = make_slab();
    void *b[2];
    AS(OWNER_A, hak_slab_take(slab, b, 2));
    slab_remote_push_chain(slab, b[0], b[0], 1);
    uint64_t seen = slab_remote_load(slab);
    AS(OWNER_A, ss_remote_drain_to_freelist(slab, false));
    /* The same block waits again: only the version tells the states apart. */
    AS(OWNER_A, hak_slab_take(slab, b, 1));
    slab_remote_push_chain(slab, b[0], b[0], 1);
    assert_int_equal(seen & ((1u << 26) - 1), slab_remote_load(slab) & ((1u << 26) - 1));
    assert_false(slab_remote_withdraw_notice(slab, seen));
    assert_true(slab_remote_withdraw_notice(slab, slab_remote_load(slab)));
    assert_int_equal(slab_remote_count_relaxed(slab), 1);
    AS(OWNER_A, ss_remote_drain_to_freelist(slab, false));
    AS(OWNER_A, hak_slab_give(slab, &b[1], &b[1] + 1));
    retire(slab);
}

static void only_an_abandoned_slab_can_be_claimed(void **state) {
    (void)state;
    TinySlabMeta *slab = make_slab();
    void *b[2];
    AS(OWNER_A, hak_slab_take(slab, b, 2));
    slab_remote_push_chain(slab, b[0], b[0], 1);
    bool won;
    AS(OWNER_B, won = slab_claim_then_drain(slab, false));
    assert_false(won);
    assert_int_equal(slab_remote_count_relaxed(slab), 1); /* and nothing was drained */
    AS(OWNER_A, hak_slab_abandon(slab, true));
    assert_ptr_equal(hak_pool_look_for_offer(CLASS, HAK_OFFER_RETURNED), slab);
    AS(OWNER_B, won = slab_claim_then_drain(slab, false));
    assert_true(won);
    assert_int_equal(slab_remote_count_relaxed(slab), 0);
    assert_int_equal(atomic_load(&slab->used), 1);
    AS(OWNER_A, won = ss_owner_cas(slab));
    assert_false(won);
    assert_null(hak_pool_look_for_offer(CLASS, HAK_OFFER_RETURNED));
    AS(OWNER_B, hak_slab_give(slab, &b[1], &b[1] + 1));
    AS(OWNER_B, ss_remote_drain_to_freelist(slab, true));
    AS(OWNER_B, hak_slab_retire(slab));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(gives_out_every_block_once),
    cmocka_unit_test(remote_queue_keeps_count_and_order),
    cmocka_unit_test(a_withdrawn_notice_fails_after_a_drain),
    cmocka_unit_test(only_an_abandoned_slab_can_be_claimed),
};
CHECK_MAIN(tests)
