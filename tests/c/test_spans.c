/* Threads' caches of free slabs for spans: what comes back serves again, no more is kept than may
 * be, and what a thread doesn't use goes to the others. */
#include "check.h"
#include "hakmem.h"
#include "heap/heap.h"
#include "large/large.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KIB = 1024, MOST_KEPT = 64 }; /* slabs */

/* As a thread has it at its beginning. Registered, so that it must stay: one for each case. */
static struct hak_span_cache caches[6];

static unsigned kept(const struct hak_span_cache *cache) {
    unsigned slabs = 0;
    for (unsigned i = 0; i < HAK_SPAN_PLACES; i++)
        slabs += (unsigned)__builtin_popcount((uint32_t)cache->places[i]);
    for (unsigned i = 1; i <= HAK_SPAN_SLABS; i++)
        slabs += i * cache->depth[i];
    assert_int_equal(cache->kept, slabs);
    return slabs;
}

static char *from_pool(unsigned count) {
    struct hak_superslab *none = NULL;
    char *base = hak_pool_take(count, &none, true).base;
    assert_non_null(base);
    return base;
}

/* A span that was in use. */
static bool push(struct hak_span_cache *cache, char *base, unsigned count) {
    assert_true(hak_page_map_set(base, HAK_KIND_SPAN));
    return hak_span_cache_push(cache, base, count);
}

/* Lets it keep as much as it may: what it can't serve earns that. */
static void earn(struct hak_span_cache *cache) {
    for (int i = 0; i < 6; i++)
        assert_null(hak_span_cache_take(cache, HAK_SUPERSLAB_SLABS));
}

static void neighbours_serve_together(void **state) {
    (void)state;
    hak_init();
    struct hak_span_cache *cache = &caches[0];
    assert_null(hak_span_cache_take(cache, 1));
    hak_span_cache_put(cache, from_pool(16), 16); /* the first ones are not kept */
    assert_int_equal(kept(cache), 0);
    earn(cache);
    char *run = from_pool(8);
    hak_span_cache_put(cache, run + 3 * HAK_SLAB_SIZE, 5);
    hak_span_cache_put(cache, run, 2);
    assert_null(hak_span_cache_take(cache, 6));
    hak_span_cache_put(cache, run + 2 * HAK_SLAB_SIZE, 1);
    assert_int_equal(kept(cache), 8);
    assert_ptr_equal(hak_span_cache_take(cache, 8), run);
    assert_null(hak_span_cache_take(cache, 1));
    hak_span_cache_put(cache, run + 4 * HAK_SLAB_SIZE, 4);
    assert_false(hak_span_cache_extend(cache, run, 3, 5)); /* slab 3 isn't there */
    assert_false(hak_span_cache_extend(cache, run, 4, 9));
    assert_false(hak_span_cache_extend(cache, run, 4, HAK_SUPERSLAB_SLABS + 1));
    assert_true(hak_span_cache_extend(cache, run, 4, 6));
    assert_int_equal(kept(cache), 2);
    hak_span_cache_put(cache, run, 6);
    /* Nor does it matter whether they are spans still. */
    assert_ptr_equal(hak_span_cache_take(cache, 8), run);
    assert_true(push(cache, run + 5 * HAK_SLAB_SIZE, 3));
    assert_true(push(cache, run + 2 * HAK_SLAB_SIZE, 3));
    assert_false(
        hak_span_cache_extend(cache, run, 2, 6)); /* of two no more than one is looked for */
    assert_true(hak_span_cache_extend(cache, run, 2, 4));
    assert_int_equal(kept(cache), 4);
    assert_ptr_equal(hak_span_cache_pop(cache, 3), run + 5 * HAK_SLAB_SIZE);
    hak_span_cache_empty(cache);
    assert_int_equal(kept(cache), 0);
}

static void no_more_is_kept_than_may_be(void **state) {
    (void)state;
    hak_init();
    struct hak_span_cache *cache = &caches[1];
    earn(cache);
    enum { SPANS = 300 };
    static char *spans[SPANS];
    for (int i = 0; i < SPANS; i++) {
        hak_span_cache_count(cache, 3);
        assert_null(hak_span_cache_take(cache, 3));
        spans[i] = from_pool(3);
    }
    for (int i = 0; i < SPANS; i++) {
        hak_span_cache_put(cache, spans[i], 3);
        unsigned out = (unsigned)(SPANS - 1 - i) * 3;
        assert_true(kept(cache) <= (out / 4 > MOST_KEPT ? out / 4 : MOST_KEPT));
    }
    assert_in_range(kept(cache), 3, MOST_KEPT);
    /* A thread that frees only what others took keeps as little. */
    for (int i = 0; i < SPANS; i++)
        spans[i] = from_pool(7);
    for (int i = 0; i < SPANS; i++)
        hak_span_cache_put(cache, spans[i], 7);
    assert_in_range(kept(cache), 7, MOST_KEPT);
    hak_span_cache_empty(cache);
}

static void spans_serve_those_of_their_length(void **state) {
    (void)state;
    hak_init();
    struct hak_span_cache *cache = &caches[3];
    assert_null(hak_span_cache_pop(cache, 2));
    char *spans[HAK_SPAN_DEPTH + 1];
    for (unsigned i = 0; i <= HAK_SPAN_DEPTH; i++)
        spans[i] = from_pool(2);
    assert_false(push(cache, spans[0], 2)); /* it may keep nothing yet */
    earn(cache);
    for (unsigned i = 0; i < HAK_SPAN_DEPTH; i++)
        assert_true(push(cache, spans[i], 2));
    assert_false(push(cache, spans[HAK_SPAN_DEPTH], 2));
    assert_int_equal(kept(cache), 2 * HAK_SPAN_DEPTH);
    assert_null(hak_span_cache_pop(cache, 1));
    assert_null(hak_span_cache_pop(cache, HAK_SPAN_SLABS + 1));
    assert_false(push(cache, spans[0], HAK_SPAN_SLABS + 1));
    for (unsigned i = HAK_SPAN_DEPTH; i--;)
        assert_ptr_equal(hak_span_cache_pop(cache, 2), spans[i]); /* the last one first */
    assert_null(hak_span_cache_pop(cache, 2));
    /* Neighbours make one where nothing else can serve. */
    char *run = from_pool(4);
    assert_true(push(cache, run + 2 * HAK_SLAB_SIZE, 2));
    assert_true(push(cache, run, 2));
    atomic_store(&hak_slab_meta_of(run)->owner, HAK_OWNER_SPAN);
    assert_ptr_equal(hak_span_cache_take(cache, 4), run);
    assert_int_equal(hak_slab_meta_of(run)->owner, HAK_OWNER_NONE);
    /* Many more than there are places for, and too much for what is out. */
    for (unsigned i = 0; i <= HAK_SPAN_DEPTH; i++)
        hak_span_cache_put(cache, spans[i], 2);
    assert_in_range(kept(cache), 2, MOST_KEPT);
    assert_true(push(cache, run, 4));
    hak_span_cache_empty(cache);
    assert_int_equal(kept(cache), 0);
    assert_null(hak_span_cache_pop(cache, 4));
}

/* While its thread uses it others leave it alone, and it them. */
static void one_at_a_time(void **state) {
    (void)state;
    hak_init();
    struct hak_span_cache *cache = &caches[4];
    hak_span_cache_register(cache);
    earn(cache);
    char *run = from_pool(3);
    assert_true(push(cache, run, 3));
    assert_true(hak_span_cache_enter(cache));
    hak_span_caches_trim(hak_span_caches(), NULL, true, 1000);
    assert_int_equal(kept(cache), 3);
    assert_false(cache->wanted);
    hak_span_cache_leave(cache);
    cache->wanted = true;
    char *other = from_pool(3);
    assert_null(hak_span_cache_pop(cache, 3));
    assert_null(hak_span_cache_take(cache, 3));
    assert_false(push(cache, other, 3));
    assert_false(hak_span_cache_extend(cache, run - HAK_SLAB_SIZE, 1, 2));
    hak_span_cache_put(cache, other, 3); /* to the pool */
    hak_span_cache_empty(cache);
    hak_span_caches_trim(hak_span_caches(), NULL, true, 1000); /* not by two others, either */
    assert_int_equal(kept(cache), 3);
    /* The threads of both are gone after a fork. */
    cache->busy = true;
    hak_span_caches_fork_child();
    assert_ptr_equal(hak_span_cache_pop(cache, 3), run);
    hak_span_cache_put(cache, run, 3);
    hak_span_caches_trim(hak_span_caches(), NULL, true, 1000);
    assert_int_equal(kept(cache), 0);
}

static void what_is_not_used_goes_to_the_pool(void **state) {
    (void)state;
    hak_init();
    struct hak_span_cache *cache = &caches[2];
    hak_span_cache_register(cache);
    earn(cache);
    hak_span_cache_put(cache, from_pool(4), 4);
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000); /* used since the last look */
    assert_int_equal(kept(cache), 4);
    hak_span_cache_put(cache, hak_span_cache_take(cache, 4), 4);
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(kept(cache), 4);
    /* Half of what was left over. */
    hak_span_cache_put(cache, hak_span_cache_take(cache, 1), 1);
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(kept(cache), 2);
    assert_true(push(cache, from_pool(5), 5));
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(kept(cache), 6);
    hak_span_cache_put(cache, from_pool(1), 1); /* in use, and takes nothing */
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(kept(cache), 0); /* 2 from the places, and the span as a whole */
    hak_span_cache_put(cache, from_pool(4), 4);
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(kept(cache), 4); /* it may still keep that */
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(kept(cache), 0);
    hak_span_cache_put(cache, from_pool(5), 5); /* it has to earn that again */
    assert_int_equal(kept(cache), 0);
    earn(cache);
    hak_span_cache_put(cache, from_pool(4), 4);
    assert_true(hak_span_caches_kept() >= 4 * HAK_SLAB_SIZE);
    hak_span_caches_trim(hak_span_caches(), NULL, true, 1000);
    assert_int_equal(hak_span_caches_kept(), 0);
    /* In parts, each going on where the last one ended. */
    earn(cache);
    hak_span_cache_put(cache, from_pool(4), 4);
    struct hak_span_cache *at = hak_span_caches();
    while (at)
        at = hak_span_caches_trim(at, NULL, true, 1);
    assert_int_equal(hak_span_caches_kept(), 0);
}

/* Not only slabs: a thread that has all of its own out and sleeps may keep none, so that others
 * may. */
static void what_may_be_kept_comes_back(void **state) {
    (void)state;
    hak_init();
    struct hak_span_cache *cache = &caches[5];
    hak_span_cache_register(cache);
    earn(cache);
    assert_int_equal(cache->allowed, MOST_KEPT);
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(cache->allowed, MOST_KEPT);
    hak_span_caches_trim(hak_span_caches(), NULL, false, 1000);
    assert_int_equal(cache->allowed, 0);
    /* A thread's own, without asking others. */
    earn(cache);
    hak_span_cache_put(cache, from_pool(3), 3);
    hak_span_caches_trim(hak_span_caches(), cache, true, 1000);
    assert_int_equal(kept(cache) + cache->allowed, 0);
}

/* However many there are. */
static void all_together_keep_a_bounded_part(void **state) {
    (void)state;
    hak_init();
    enum { CACHES = 200 };
    static struct hak_span_cache many[CACHES];
    unsigned sum = 0;
    for (int i = 0; i < CACHES; i++) {
        earn(&many[i]);
        for (int j = 0; j < MOST_KEPT / 4; j++)
            hak_span_cache_put(&many[i], from_pool(4), 4);
        sum += kept(&many[i]);
    }
    assert_in_range(sum, 32 * 16, 64 * 16);
    for (int i = 0; i < CACHES; i++)
        hak_span_cache_empty(&many[i]);
    earn(&many[0]); /* what the others had is there for it */
    hak_span_cache_put(&many[0], from_pool(16), 16);
    assert_int_equal(kept(&many[0]), 16);
    hak_span_cache_empty(&many[0]);
}

/* ---- threads ------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;

static void *free_and_sleep(void *argument) {
    (void)argument;
    void *spans[8];
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 8; i++) {
            spans[i] = hak_malloc(100 * KIB);
            memset(spans[i], 1, 100 * KIB);
        }
        for (int i = 0; i < 8; i++)
            hak_free(spans[i]);
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void a_sleeping_thread_keeps_nothing(void **state) {
    (void)state;
    assert_int_equal(hak_option_set("HAKMEM_PURGE_DELAY", 20), 0);
    enum { THREADS = 4 };
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, free_and_sleep, NULL), 0);
    pthread_barrier_wait(&barrier);
    assert_true(hak_span_caches_kept() > 0);
    for (int i = 0; i < 200 && hak_span_caches_kept(); i++) {
        usleep(5000);
        for (int j = 0; j < 100; j++) { /* slow paths without a span */
            void *block = hak_memalign(2 * HAK_SPAN_MAX, 2 * HAK_SPAN_MAX);
            assert_non_null(block);
            hak_free(block);
        }
    }
    assert_int_equal(hak_span_caches_kept(), 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void an_ended_thread_keeps_nothing(void **state) {
    (void)state;
    assert_int_equal(hak_option_set("HAKMEM_PURGE_DELAY", -1), 0);
    hak_collect();
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, free_and_sleep, NULL), 0);
    pthread_barrier_wait(&barrier);
    assert_true(hak_span_caches_kept() > 0);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    assert_int_equal(hak_span_caches_kept(), 0);
}

#ifdef HAKMEM_SANITIZED
#define HAK_SPANS_TEST_ROUNDS 5000
#else
#define HAK_SPANS_TEST_ROUNDS 200000
#endif
enum { OWNERS = 2, ROUNDS = HAK_SPANS_TEST_ROUNDS, HELD = 12 };
static _Atomic bool over;
static _Atomic unsigned wrong;

static void *use_spans(void *argument) {
    uint64_t seed = (uintptr_t)argument;
    struct {
        uintptr_t *bytes;
        size_t slabs;
    } held[HELD] = {{NULL, 0}};
    for (int round = 0; round < ROUNDS; round++) {
        unsigned i = (unsigned)(next_random(&seed) % HELD);
        if (held[i].bytes) {
            for (size_t s = 0; s < held[i].slabs; s++)
                wrong +=
                    held[i].bytes[s * HAK_SLAB_SIZE / sizeof(uintptr_t)] != (uintptr_t)argument;
            hak_free(held[i].bytes);
            held[i].bytes = NULL;
            continue;
        }
        held[i].slabs = 1 + next_random(&seed) % 9;
        held[i].bytes = hak_malloc(held[i].slabs * HAK_SLAB_SIZE);
        for (size_t s = 0; held[i].bytes && s < held[i].slabs; s++)
            held[i].bytes[s * HAK_SLAB_SIZE / sizeof(uintptr_t)] = (uintptr_t)argument;
    }
    for (int i = 0; i < HELD; i++)
        hak_free(held[i].bytes);
    return NULL;
}

static void *trim_all_the_time(void *argument) {
    (void)argument;
    while (!over)
        hak_span_caches_trim(hak_span_caches(), NULL, true, 1000);
    return NULL;
}

static void no_slab_has_two_holders(void **state) {
    (void)state;
    hak_init();
    pthread_t threads[OWNERS], trimmer;
    assert_int_equal(pthread_create(&trimmer, NULL, trim_all_the_time, NULL), 0);
    for (uintptr_t i = 0; i < OWNERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_spans, (void *)(i + 1)), 0);
    for (int i = 0; i < OWNERS; i++)
        pthread_join(threads[i], NULL);
    over = true;
    pthread_join(trimmer, NULL);
    over = false;
    assert_int_equal(wrong, 0);
}

static void nor_where_the_kernel_has_no_barrier(void **state) {
    bool was = hak_os_one_sided;
    hak_os_one_sided = false;
    no_slab_has_two_holders(state);
    hak_os_one_sided = was;
}

/* The page map's entry stays while a thread keeps a freed span, since others read its line; yet
 * there is no block, and the entry goes with the span. */
static void a_kept_span_is_no_block(void **state) {
    (void)state;
    struct hak_span_cache *cache = hak_heap_spans();
    assert_non_null(cache);
    char *blocks[4];
    for (int round = 0; round < 4; round++) { /* so that some may be kept */
        for (int i = 0; i < 4; i++)
            blocks[i] = malloc(100 * KIB);
        for (int i = 0; i < 4; i++)
            free(blocks[i]);
    }
    assert_true(hak_span_cache_depth(cache, 2) > 0);
    char *span = cache->spans[2][hak_span_cache_depth(cache, 2) - 1];
    assert_int_equal(hak_page_map_get(span), HAK_KIND_SPAN);
    assert_int_equal(hak_kind_at(span), HAK_KIND_NONE);
    assert_int_equal(hak_kind_at(span + 1000), HAK_KIND_NONE);
    assert_ptr_equal(malloc(100 * KIB), span);
    assert_int_equal(hak_kind_at(span), HAK_KIND_SPAN);
    free(span);
    assert_int_equal(hak_kind_at(span), HAK_KIND_NONE);
    hak_span_cache_empty(cache);
    for (int i = 0; i < 4; i++)
        assert_int_equal(hak_page_map_get(blocks[i]), HAK_KIND_NONE);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(neighbours_serve_together),
    cmocka_unit_test(no_more_is_kept_than_may_be),
    cmocka_unit_test(spans_serve_those_of_their_length),
    cmocka_unit_test(one_at_a_time),
    cmocka_unit_test(what_is_not_used_goes_to_the_pool),
    cmocka_unit_test(what_may_be_kept_comes_back),
    cmocka_unit_test(all_together_keep_a_bounded_part),
    cmocka_unit_test(a_sleeping_thread_keeps_nothing),
    cmocka_unit_test(an_ended_thread_keeps_nothing),
    cmocka_unit_test(a_kept_span_is_no_block),
    cmocka_unit_test(no_slab_has_two_holders),
    cmocka_unit_test(nor_where_the_kernel_has_no_barrier),
};
CHECK_MAIN(tests)
