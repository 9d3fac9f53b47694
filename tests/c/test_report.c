/* Statistics against what a program did. Run with HAKMEM_STATS=1 every block is counted, without it
 * the sums must do without: both ways are tested. */
#include "check.h"
#include "hakmem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KINDS_MOST = 80 };

static struct hak_stats now(void) {
    struct hak_stats stats;
    assert_int_equal(hak_stats_read(&stats, sizeof stats), 0);
    return stats;
}

static struct hak_class_stats of_kind(unsigned kind) {
    struct hak_class_stats stats;
    assert_int_equal(hak_stats_read_class(kind, &stats, sizeof stats), 0);
    return stats;
}

static unsigned kinds(void) {
    struct hak_class_stats stats;
    unsigned count = 0;
    while (hak_stats_read_class(count + 1, &stats, sizeof stats) == 0)
        count++;
    return count;
}

static unsigned kind_of(const void *block) {
    size_t usable = hak_malloc_usable_size((void *)(uintptr_t)block);
    unsigned last = kinds();
    for (unsigned kind = 1; kind <= last - 2; kind++)
        if (of_kind(kind).size == usable)
            return kind;
    return usable <= 1u << 20u && usable % 65536 == 0 ? last - 1 : last;
}

/* Sums must not move while a test looks at them. */
static void keep_time_out(void) {
    assert_int_equal(hak_option_set("HAKMEM_PURGE_DELAY", -1), 0);
}

/* ---- every block is counted ---------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 300, KEPT = 40 };
static const size_t sizes[] = {1, 24, 100, 333, 1024, 2049, 5000, 32768, 40000, 200000, 1500000};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* What a thread did, in its own books. */
struct books {
    uint64_t requests[KINDS_MOST], frees[KINDS_MOST], requested[KINDS_MOST], bytes[KINDS_MOST];
};
static struct books books[THREADS];
static unsigned kind_of_size[SIZES];
static size_t usable_of_size[SIZES];
static pthread_barrier_t barrier;
static void *_Atomic handed_on[THREADS][KEPT];
static unsigned handed_size[THREADS][KEPT];

static void *take(struct books *own, unsigned which) {
    unsigned kind = kind_of_size[which];
    own->requests[kind]++;
    own->requested[kind] += sizes[which];
    own->bytes[kind] += usable_of_size[which];
    void *block = hak_malloc(sizes[which]);
    assert_non_null(block);
    memset(block, 1, sizes[which] < 64 ? sizes[which] : 64);
    return block;
}

static void give(struct books *own, void *block, unsigned which) {
    own->frees[kind_of_size[which]]++;
    own->bytes[kind_of_size[which]] -= usable_of_size[which];
    hak_free(block);
}

static void *work(void *argument) {
    unsigned self = *(unsigned *)argument;
    struct books *own = &books[self];
    pthread_barrier_wait(&barrier); /* all are there, and nothing was done */
    pthread_barrier_wait(&barrier);
    uint64_t seed = self + 1;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned which = (unsigned)(next_random(&seed) % (round % 50 ? SIZES - 1 : SIZES));
        give(own, take(own, which), which);
        unsigned slot = (unsigned)(next_random(&seed) % KEPT);
        /* Blocks for the next thread, which frees them or leaves them. */
        which = (unsigned)(next_random(&seed) % (SIZES - 2));
        if (!handed_on[self][slot]) {
            handed_size[self][slot] = which;
            handed_on[self][slot] = take(own, which);
        }
    }
    pthread_barrier_wait(&barrier);
    unsigned other = (self + 1) % THREADS;
    for (unsigned slot = 0; slot < KEPT; slot += 2)
        if (handed_on[other][slot])
            give(own, handed_on[other][slot], handed_size[other][slot]);
    for (unsigned slot = 0; slot < KEPT; slot += 2)
        handed_on[other][slot] = NULL;
    pthread_barrier_wait(&barrier); /* all is done */
    pthread_barrier_wait(&barrier); /* and looked at */
    return NULL;
}

static void counts_are_exact_at_rest(void **state) {
    (void)state;
    keep_time_out();
    if (!now().counting)
        return;
    for (unsigned i = 0; i < SIZES; i++) {
        void *block = hak_malloc(sizes[i]);
        kind_of_size[i] = kind_of(block);
        usable_of_size[i] = hak_malloc_usable_size(block);
        hak_free(block);
    }
    unsigned last = kinds(), numbers[THREADS];
    assert_true(last < KINDS_MOST);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
    }
    pthread_barrier_wait(&barrier);
    static struct hak_class_stats before[KINDS_MOST], after[KINDS_MOST];
    struct hak_stats all_before = now();
    for (unsigned kind = 1; kind <= last; kind++)
        before[kind] = of_kind(kind);
    for (int step = 0; step < 3; step++)
        pthread_barrier_wait(&barrier);
    struct hak_stats all_after = now();
    for (unsigned kind = 1; kind <= last; kind++)
        after[kind] = of_kind(kind);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    uint64_t live = 0, requests = 0;
    for (unsigned kind = 1; kind <= last; kind++) {
        struct books sum = {.requests = {0}};
        for (unsigned i = 0; i < THREADS; i++) {
            sum.requests[kind] += books[i].requests[kind];
            sum.frees[kind] += books[i].frees[kind];
            sum.requested[kind] += books[i].requested[kind];
            sum.bytes[kind] += books[i].bytes[kind];
        }
        assert_int_equal(after[kind].requests - before[kind].requests, sum.requests[kind]);
        assert_int_equal(after[kind].frees - before[kind].frees, sum.frees[kind]);
        assert_int_equal(after[kind].live, after[kind].requests - after[kind].frees);
        assert_int_equal(after[kind].requested - before[kind].requested, sum.requested[kind]);
        assert_int_equal(after[kind].live_bytes - before[kind].live_bytes, sum.bytes[kind]);
        if (after[kind].size)
            assert_int_equal(after[kind].live_bytes, after[kind].live * after[kind].size);
        live += after[kind].live_bytes;
        requests += sum.requests[kind];
    }
    assert_true(requests > THREADS * ROUNDS);
    assert_int_equal(all_after.requests - all_before.requests, requests);
    assert_int_equal(all_after.live, live);
    assert_true(all_after.live_peak >= all_after.live);
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned slot = 0; slot < KEPT; slot++) {
            hak_free(handed_on[i][slot]);
            handed_on[i][slot] = NULL;
        }
    }
}

static void the_peak_is_the_highest_sum_there_was(void **state) {
    (void)state;
    struct hak_stats before = now();
    if (!before.counting) {
        assert_int_equal(before.live_peak, 0);
        return;
    }
    /* Up to just below the old peak, above it, and down again. */
    size_t gap = before.live_peak - before.live + 5000000;
    void *large = hak_malloc(gap);
    struct hak_stats high = now();
    assert_int_equal(high.live, before.live + hak_malloc_usable_size(large));
    assert_int_equal(high.live_peak, high.live);
    hak_free(large);
    for (int i = 0; i < 1000; i++)
        hak_free(hak_malloc(1000));
    struct hak_stats after = now();
    assert_int_equal(after.live, before.live);
    assert_int_equal(after.live_peak, high.live_peak);
    void *small = hak_malloc(1000);
    assert_int_equal(now().live_peak, high.live_peak);
    hak_free(small);
}

static void resizing_in_place_is_a_free_and_a_request(void **state) {
    (void)state;
    if (!now().counting)
        return;
    unsigned huge = kinds();
    char *block = hak_malloc(4000000);
    size_t usable = hak_malloc_usable_size(block);
    struct hak_class_stats before = of_kind(huge);
    block = hak_realloc(block, 9000000);
    struct hak_class_stats after = of_kind(huge);
    assert_int_equal(after.live, before.live);
    assert_int_equal(after.requests, before.requests + 1);
    assert_int_equal(after.frees, before.frees + 1);
    assert_int_equal(after.requested, before.requested + 9000000);
    size_t grown = hak_malloc_usable_size(block);
    assert_true(grown >= 9000000);
    assert_int_equal(after.live_bytes, before.live_bytes - usable + grown);
    hak_free(block);
    assert_int_equal(of_kind(huge).live, before.live - 1);
    assert_int_equal(of_kind(huge).live_bytes, before.live_bytes - usable);
}

static void what_is_not_counted_is_nothing(void **state) {
    (void)state;
    struct hak_stats stats = now();
    if (stats.counting)
        return;
    assert_int_equal(stats.requests + stats.frees + stats.live_peak, 0);
    for (unsigned kind = kinds(); kind; kind--) {
        struct hak_class_stats one = of_kind(kind);
        assert_int_equal(one.requests + one.frees + one.live + one.live_bytes + one.requested, 0);
    }
}

/* ---- counted or not ------------------------------------------------------------------------ */

static void live_bytes_of_one_thread_are_exact(void **state) {
    (void)state;
    keep_time_out();
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    uint64_t seed = 5;
    struct hak_stats before = now();
    uint64_t bytes = 0;
    for (int i = 0; i < COUNT; i++) {
        size_t size = i % 1000 ? next_random(&seed) % 3000 : 100000 + next_random(&seed) % 1500000;
        blocks[i] = hak_malloc(size);
        bytes += hak_malloc_usable_size(blocks[i]);
    }
    assert_int_equal(now().live, before.live + bytes);
    for (int i = 0; i < COUNT; i += 2) {
        bytes -= hak_malloc_usable_size(blocks[i]);
        hak_free(blocks[i]);
    }
    struct hak_stats half = now();
    assert_int_equal(half.live, before.live + bytes);
    assert_true(half.cached_threads > 0);
    for (int i = 1; i < COUNT; i += 2)
        hak_free(blocks[i]);
    assert_int_equal(now().live, before.live);
}

static void free_memory_is_cached_until_it_is_collected(void **state) {
    (void)state;
    keep_time_out();
    hak_collect();
    struct hak_stats before = now();
    assert_int_equal(before.cached_slabs + before.cached_huge, 0);
    assert_int_equal(before.cached_depot, 0);
    /* A run, and a mapping of its own. */
    void *spans[10], *huge = hak_malloc(10000000), *mapping = hak_malloc(40000000);
    for (int i = 0; i < 10; i++) {
        spans[i] = hak_malloc(300000);
        memset(spans[i], 1, 300000);
    }
    memset(huge, 1, 10000000);
    struct hak_stats high = now();
    assert_true(high.committed >= before.committed + 50000000);
    assert_true(high.committed_peak >= high.committed);
    for (int i = 0; i < 10; i++)
        hak_free(spans[i]);
    hak_free(huge);
    hak_free(mapping);
    struct hak_stats after = now();
    assert_true(after.cached_slabs >= 10 * 300000);
    assert_true(after.cached_huge >= 50000000);
    assert_int_equal(after.cached, after.cached_threads + after.cached_depot + after.cached_slabs +
                                       after.cached_huge);
    assert_int_equal(after.committed, high.committed);
    assert_true(hak_collect() >= after.cached_slabs + after.cached_huge);
    struct hak_stats end = now();
    assert_int_equal(end.cached_slabs + end.cached_huge + end.cached_depot, 0);
    assert_int_equal(end.committed, high.committed - after.cached_huge);
    assert_int_equal(end.committed_peak, high.committed_peak);
    assert_true(end.mapped + 40000000 <= high.mapped);
    assert_int_equal(hak_collect(), 0);
}

static void sums_stand_to_each_other_as_they_must(void **state) {
    (void)state;
    void *block = hak_malloc(1000000);
    memset(block, 1, 1000000);
    struct hak_stats stats = now();
    assert_true(stats.live >= 1000000);
    assert_true(stats.resident >= 1000000);
    assert_true(stats.resident_peak >= stats.resident - stats.resident / 8); /* kept loosely */
    assert_true(stats.committed >= stats.live + stats.cached);
    assert_true(stats.mapped >= stats.committed);
    assert_true(stats.mapped_peak >= stats.mapped);
    hak_free(block);
    for (unsigned kind = kinds(); kind; kind--)
        assert_true(of_kind(kind).unused <= of_kind(kind).slabs);
}

static void programs_of_other_versions_are_served(void **state) {
    (void)state;
    hak_free(hak_malloc(1)); /* the program's first block, perhaps */
    struct hak_stats stats;
    memset(&stats, 0xEE, sizeof stats);
    assert_int_equal(hak_stats_read(&stats, offsetof(struct hak_stats, requests)), 0);
    assert_true(stats.counting <= 1);
    assert_int_equal(stats.requests, 0xEEEEEEEEEEEEEEEEu);
    struct {
        struct hak_stats known;
        uint64_t later;
    } more;
    memset(&more, 0xEE, sizeof more);
    assert_int_equal(hak_stats_read(&more.known, sizeof more), 0);
    assert_int_equal(more.later, 0);
    assert_true(more.known.committed > 0);
    assert_int_equal(hak_stats_read(NULL, sizeof stats), EINVAL);
    struct hak_class_stats one;
    assert_int_equal(hak_stats_read_class(1, NULL, sizeof one), EINVAL);
    assert_int_equal(hak_stats_read_class(0, &one, sizeof one), ENOENT);
    assert_int_equal(hak_stats_read_class(kinds() + 1, &one, sizeof one), ENOENT);
    assert_int_equal(hak_stats_read_class(1u << 31u, &one, sizeof one), ENOENT);
    assert_int_equal(of_kind(1).size, 16);
    assert_int_equal(of_kind(kinds()).size, 0);
}

static void printing_reaches_a_descriptor(void **state) {
    (void)state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    errno = 1234;
    assert_int_equal(hak_stats_print(pipes[1], 1), 0);
    assert_int_equal(errno, 1234);
    close(pipes[1]);
    static char text[65536];
    ssize_t length = 0, got;
    while ((got = read(pipes[0], text + length, sizeof text - (size_t)length - 1)) > 0)
        length += got;
    close(pipes[0]);
    assert_memory_equal(text, "{\"hakmem\":\"", 11);
    assert_ptr_equal(strchr(text, '\n'), text + length - 1);
    assert_memory_equal(text + length - 3, "}}\n", 3);
    assert_int_equal(hak_stats_print(-1, 0), EIO);
    assert_int_equal(hak_stats_print(pipes[0], 1), EIO);
}

static void *churn(void *stop) {
    uint64_t seed = 9;
    while (!*(_Atomic int *)stop) {
        void *block = hak_malloc(next_random(&seed) % 100000);
        hak_free(hak_malloc(next_random(&seed) % 3000));
        hak_free(block);
    }
    return NULL;
}

static void others_may_allocate_meanwhile(void **state) {
    (void)state;
    _Atomic int stop = 0;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &stop), 0);
    for (int i = 0; i < 50; i++) {
        struct hak_stats stats = now();
        assert_true(stats.live < (uint64_t)1 << 40);
        for (unsigned kind = kinds(); kind; kind--)
            assert_true(of_kind(kind).live < (uint64_t)1 << 40);
        if (i % 10 == 0)
            hak_collect();
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(counts_are_exact_at_rest),
    cmocka_unit_test(the_peak_is_the_highest_sum_there_was),
    cmocka_unit_test(resizing_in_place_is_a_free_and_a_request),
    cmocka_unit_test(what_is_not_counted_is_nothing),
    cmocka_unit_test(live_bytes_of_one_thread_are_exact),
    cmocka_unit_test(free_memory_is_cached_until_it_is_collected),
    cmocka_unit_test(sums_stand_to_each_other_as_they_must),
    cmocka_unit_test(programs_of_other_versions_are_served),
    cmocka_unit_test(printing_reaches_a_descriptor),
    cmocka_unit_test(others_may_allocate_meanwhile),
};
CHECK_MAIN(tests)
