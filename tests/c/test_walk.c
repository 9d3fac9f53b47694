/* hak_walk: every live block once and nothing else, at rest; no harm while others work. */
#include "check.h"
#include "hakmem.h"
#include "heap/heap.h"
#include "superslab/superslab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAKMEM_SANITIZED
enum { THREADS = 3, BLOCKS = 600 };
#else
enum { THREADS = 4, BLOCKS = 6000 };
#endif

/* A set of blocks in memory that is no block of the allocator's. */
struct set {
    size_t count;
    struct entry {
        void *block;
        size_t size;
    } entries[200000];
};

static struct set *new_set(void) {
    void *p = mmap(NULL, sizeof(struct set), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}
static void free_set(struct set *set) {
    munmap(set, sizeof *set);
}

static void add(struct set *set, void *block, size_t size) {
    assert_true(set->count < sizeof set->entries / sizeof *set->entries);
    set->entries[set->count++] = (struct entry){block, size};
}

static int collect(void *block, size_t size, void *argument) {
    add(argument, block, size);
    return 0;
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)((const struct entry *)a)->block;
    uintptr_t y = (uintptr_t)((const struct entry *)b)->block;
    return (x > y) - (x < y);
}

/* Without qsort, which may allocate. */
static void sort(struct set *set) {
    for (size_t gap = set->count / 2; gap; gap /= 2)
        for (size_t i = gap; i < set->count; i++)
            for (size_t j = i; j >= gap; j -= gap) {
                struct entry *a = &set->entries[j - gap], *b = &set->entries[j];
                if (by_address(a, b) <= 0)
                    break;
                struct entry kept = *a;
                *a = *b;
                *b = kept;
            }
}

static struct set *walk(void) {
    struct set *set = new_set();
    assert_int_equal(hak_walk(collect, set), 0);
    sort(set);
    return set;
}

/* `after` is `before` and `mine`, each block once. */
static void assert_union(struct set *after, const struct set *before, const struct set *mine) {
    struct set *wanted = new_set();
    for (size_t i = 0; i < before->count; i++)
        add(wanted, before->entries[i].block, before->entries[i].size);
    for (size_t i = 0; mine && i < mine->count; i++)
        add(wanted, mine->entries[i].block, mine->entries[i].size);
    sort(wanted);
    for (size_t i = 0; i < wanted->count || i < after->count; i++) {
        const struct entry *w = &wanted->entries[i], *a = &after->entries[i];
        if (i >= after->count || (i < wanted->count && by_address(w, a) < 0))
            fail_msg("live block %p of %zu bytes was not visited", w->block, w->size);
        if (i >= wanted->count || by_address(a, w) < 0)
            fail_msg("%p of %zu bytes was visited, and is no live block", a->block, a->size);
        assert_int_equal(a->size, w->size);
    }
    free_set(wanted);
}

/* A block of any kind: small, span, huge, aligned, zeroed, grown. */
static void *any_block(uint64_t *random) {
    uint64_t r = next_random(random);
    size_t size = (size_t)(r >> 8);
    void *block;
    switch (r % 64) {
    case 0:
        block = hak_malloc(1100000 + size % 3000000);
        break;
    case 1:
    case 2:
        block = hak_malloc(33000 + size % 900000);
        break;
    case 3:
        block = hak_aligned_alloc((size_t)16 << (size / 7) % 14, size % 100000);
        break;
    case 4:
        block = hak_calloc(1 + size % 50, 40);
        break;
    case 5:
        block = hak_realloc(hak_malloc(size % 5000), 1 + size / 3 % 20000);
        break;
    default:
        block = hak_malloc(size % (size & 1 ? 200u : 9000u));
    }
    assert_non_null(block);
    return block;
}

static pthread_barrier_t barrier;
static void *blocks[THREADS][BLOCKS];

/* Allocates, frees some of its own, then some of its neighbour's. */
static void *worker(void *argument) {
    size_t self = (size_t)(uintptr_t)argument, next = (self + 1) % THREADS;
    uint64_t random = 77 + self;
    pthread_barrier_wait(&barrier); /* every thread has what its start costs */
    pthread_barrier_wait(&barrier); /* the first walk is done */
    for (int i = 0; i < BLOCKS; i++)
        blocks[self][i] = any_block(&random);
    for (int i = 0; i < BLOCKS; i += 5) {
        hak_free(blocks[self][i]);
        blocks[self][i] = NULL;
    }
    pthread_barrier_wait(&barrier);
    for (int i = 1; i < BLOCKS; i += 3) {
        hak_free(blocks[next][i]);
        blocks[next][i] = NULL;
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* the second walk is done */
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[next][i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void is_exact_at_rest(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
    hak_free(hak_malloc(1));
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
    pthread_barrier_wait(&barrier);
    struct set *before = walk();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    struct set *mine = new_set();
    for (size_t i = 0; i < THREADS; i++)
        for (size_t j = 0; j < BLOCKS; j++)
            if (blocks[i][j])
                add(mine, blocks[i][j], hak_malloc_usable_size(blocks[i][j]));
    assert_true(mine->count > THREADS * BLOCKS / 2);
    struct set *after = walk();
    assert_union(after, before, mine);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    struct set *end = walk();
    assert_union(end, before, NULL);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    free_set(before), free_set(mine), free_set(after), free_set(end);
}

static int stop_at_third(void *block, size_t size, void *argument) {
    (void)block, (void)size;
    return ++*(int *)argument == 3 ? 42 : 0;
}

static void ends_where_it_is_told_to(void **state) {
    (void)state;
    void *kept[5];
    for (int i = 0; i < 5; i++)
        kept[i] = hak_malloc(100);
    int visits = 0;
    assert_int_equal(hak_walk(stop_at_third, &visits), 42);
    assert_int_equal(visits, 3);
    for (int i = 0; i < 5; i++)
        hak_free(kept[i]);
}

/* Frees each block that it knows, and allocates another. */
struct swap {
    void *old[300], *fresh[300];
    size_t swapped;
};
static int swap_block(void *block, size_t size, void *argument) {
    struct swap *swap = argument;
    (void)size;
    for (size_t i = 0; i < 300; i++)
        if (swap->old[i] == block) {
            swap->old[i] = NULL;
            hak_free(block);
            swap->fresh[i] = hak_malloc(i * 37);
            swap->swapped++;
            return 0;
        }
    return 0;
}

static void visitors_may_free_and_allocate(void **state) {
    (void)state;
    static struct swap swap;
    uint64_t random = 5;
    for (size_t i = 0; i < 300; i++)
        swap.old[i] = any_block(&random);
    assert_int_equal(hak_walk(swap_block, &swap), 0);
    assert_int_equal(swap.swapped, 300);
    struct set *after = walk();
    for (size_t i = 0; i < 300; i++) {
        size_t found = 0;
        for (size_t j = 0; j < after->count; j++)
            found += after->entries[j].block == swap.fresh[i];
        assert_int_equal(found, 1);
        hak_free(swap.fresh[i]);
    }
    free_set(after);
}

/* The first block of its size that is visited ends them all, and has what is empty then given back
 * to the system, as far as that can be done. */
struct flood {
    void *blocks[20000];
    int visits;
};
static int end_flood(void *block, size_t size, void *argument) {
    struct flood *flood = argument;
    (void)block;
    if (size < 2000 || size > 3000 || flood->visits++)
        return 0;
    for (size_t i = 0; i < sizeof flood->blocks / sizeof *flood->blocks; i++)
        hak_free(flood->blocks[i]);
    assert_null(hak_malloc((size_t)1 << 46));
    return 0;
}
static void what_is_given_back_meanwhile_stays_mapped(void **state) {
    (void)state;
    static struct flood flood;
    for (size_t i = 0; i < sizeof flood.blocks / sizeof *flood.blocks; i++)
        assert_non_null(flood.blocks[i] = hak_malloc(2000));
    uint32_t superslabs = hak_pool_superslabs();
    assert_int_equal(hak_walk(end_flood, &flood), 0);
    assert_int_equal(flood.visits, 1);
    assert_int_equal(hak_pool_superslabs(), superslabs);
    assert_true(hak_pool_release() > (size_t)10 << 20); /* now it may be */
}

/* A walk in another thread ends with a fork, in the child; its own goes on. */
static int fork_within(void *block, size_t size, void *argument) {
    (void)block, (void)size;
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child)
        return 99;
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    *(int *)argument = status;
    return 1;
}
static void *hold_for_ever(void *argument) {
    hak_pool_hold();
    pthread_barrier_wait(argument);
    pthread_barrier_wait(argument);
    hak_pool_let_go();
    return NULL;
}
static void a_child_knows_its_own_walks_alone(void **state) {
    (void)state;
    pthread_barrier_t both;
    assert_int_equal(pthread_barrier_init(&both, NULL, 2), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_for_ever, &both), 0);
    pthread_barrier_wait(&both);
    void *kept = hak_malloc(1); /* something to visit */
    int status = -1;
    int end = hak_walk(fork_within, &status);
    if (end == 99)
        _exit(hak_pool_is_held() ? 4 : 0);
    assert_int_equal(end, 1);
    assert_int_equal(status, 0);
    assert_true(hak_pool_is_held());
    hak_free(kept);
    pthread_barrier_wait(&both);
    pthread_join(thread, NULL);
    assert_false(hak_pool_is_held());
    pthread_barrier_destroy(&both);
}

/* Some programs turn pages of aligned blocks into guard pages. */
static void pages_may_be_unreadable(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *kept[40];
    for (int i = 0; i < 40; i++) {
        kept[i] = hak_aligned_alloc(page, (i % 2 ? 2 : 40) * page);
        assert_non_null(kept[i]);
        assert_int_equal(mprotect(kept[i], page, PROT_NONE), 0);
    }
    struct set *set = walk();
    for (int i = 0; i < 40; i++) {
        size_t found = 0;
        for (size_t j = 0; j < set->count; j++)
            found += set->entries[j].block == kept[i];
        assert_int_equal(found, 1);
        assert_int_equal(mprotect(kept[i], page, PROT_READ | PROT_WRITE), 0);
        hak_free(kept[i]);
    }
    free_set(set);
}

static atomic_bool churning;

static void *churn(void *argument) {
    uint64_t random = 1000 + (uintptr_t)argument;
    void *slots[64] = {NULL};
    while (atomic_load(&churning)) {
        size_t i = next_random(&random) % 64;
        hak_free(slots[i]);
        slots[i] = any_block(&random);
    }
    for (size_t i = 0; i < 64; i++)
        hak_free(slots[i]);
    return NULL;
}

static void what_stays_is_visited_once_while_others_work(void **state) {
    (void)state;
    enum { STAYING = 500 };
    static void *staying[STAYING];
    uint64_t random = 9;
    for (int i = 0; i < STAYING; i++)
        staying[i] = any_block(&random);
    pthread_t threads[2];
    atomic_store(&churning, true);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
    for (int round = 0; round < 20; round++) {
        struct set *set = walk();
        for (int i = 0; i < STAYING; i++) {
            struct entry key = {.block = staying[i]};
            size_t low = 0, high = set->count;
            while (low < high) {
                size_t middle = (low + high) / 2;
                if (by_address(&set->entries[middle], &key) < 0)
                    low = middle + 1;
                else
                    high = middle;
            }
            assert_true(low < set->count);
            assert_ptr_equal(set->entries[low].block, staying[i]);
            assert_int_equal(set->entries[low].size, hak_malloc_usable_size(staying[i]));
            assert_true(low + 1 == set->count || set->entries[low + 1].block != staying[i]);
        }
        free_set(set);
    }
    atomic_store(&churning, false);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < STAYING; i++)
        hak_free(staying[i]);
}

static void works_in_a_child_of_a_busy_process(void **state) {
    (void)state;
    pthread_t thread;
    atomic_store(&churning, true);
    assert_int_equal(pthread_create(&thread, NULL, churn, (void *)7), 0);
    for (int i = 0; i < 10; i++) {
        void *kept = hak_malloc(2000000);
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            struct set *set = walk();
            for (size_t j = 0; j < set->count; j++)
                if (set->entries[j].block == kept)
                    _exit(0);
            _exit(3);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        hak_free(kept);
    }
    atomic_store(&churning, false);
    pthread_join(thread, NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(is_exact_at_rest),
    cmocka_unit_test(ends_where_it_is_told_to),
    cmocka_unit_test(visitors_may_free_and_allocate),
    cmocka_unit_test(what_is_given_back_meanwhile_stays_mapped),
    cmocka_unit_test(a_child_knows_its_own_walks_alone),
    cmocka_unit_test(pages_may_be_unreadable),
    cmocka_unit_test(what_stays_is_visited_once_while_others_work),
    cmocka_unit_test(works_in_a_child_of_a_busy_process),
};
CHECK_MAIN(tests)
