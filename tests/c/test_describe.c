/* What lies at an address: every kind of place, any garbage, and while others work. */
#include "check.h"
#include "hakmem.h"
#include "base/diag.h"
#include "base/events.h"
#include "base/guard.h"
#include "base/size_class.h"
#include "heap/heap.h"
#include "inspect/describe.h"
#include "inspect/fatal.h"
#include "inspect/mapping.h"
#include "page_map/page_map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* The size that a small block is described with, whatever checks add to it. */
static size_t block_size(const void *block) {
    return hak_class_size[hak_page_map_get(block)];
}

static void assert_block(const void *address, enum hak_place_kind kind, const void *block,
                         size_t size, bool in_use) {
    struct hak_place place = hak_describe(address);
    assert_int_equal(place.kind, kind);
    assert_ptr_equal(place.address, address);
    assert_ptr_equal(place.block, block);
    assert_int_equal(place.size, size);
    assert_int_equal(place.offset, (const char *)address - (const char *)block);
    assert_int_equal(place.in_use, in_use);
    assert_false(place.never_used);
}

static void small_blocks_and_their_owners(void **state) {
    (void)state;
    size_t sizes[] = {1, 24, 100, 1000, 5000, 30000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *block = hak_malloc(sizes[i]);
        size_t size = block_size(block);
        for (size_t at = 0; at < size; at += size / 3 + 1)
            assert_block(block + at, HAK_PLACE_SMALL, block, size, true);
        struct hak_place place = hak_describe(block);
        assert_int_equal(place.class_index, hak_page_map_get(block));
        assert_ptr_equal(place.owner, hak_heap_self());
        assert_false(place.abandoned);
        char *volatile freed = block;
        hak_free(block);
        for (size_t at = 0; at < size; at += size / 3 + 1)
            assert_block(freed + at, HAK_PLACE_SMALL, freed, size, false);
    }
}

/* The rest of a slab: what was never handed out, and what no block fits into. */
static void the_rest_of_a_slab(void **state) {
    (void)state;
    bool never = false, end = false;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        if (hak_class_size[c] <= hak_guard_bytes)
            continue;
        char *block = hak_malloc(hak_class_size[c] - hak_guard_bytes);
        unsigned class_index = hak_page_map_get(block);
        char *slab = (char *)((uintptr_t)block & ~(uintptr_t)(HAK_SLAB_SIZE - 1));
        size_t size = hak_class_size[class_index];
        for (size_t at = 0; at < HAK_SLAB_SIZE; at += size) {
            struct hak_place place = hak_describe(slab + at);
            if (at + size > HAK_SLAB_SIZE) {
                assert_int_equal(place.kind, HAK_PLACE_SLAB_END);
                assert_null(place.block);
                end = true;
                continue;
            }
            assert_int_equal(place.kind, HAK_PLACE_SMALL);
            assert_ptr_equal(place.block, slab + at);
            assert_false(place.never_used && place.in_use);
            never |= place.never_used;
        }
        hak_free(block);
    }
    assert_true(never);
    assert_true(end);
}

static void spans(void **state) {
    (void)state;
    char *block = hak_malloc(200000);
    size_t size = 4 * HAK_SLAB_SIZE;
    size_t places[] = {0, 1, HAK_SLAB_SIZE, 3 * HAK_SLAB_SIZE + 7, size - 1};
    for (size_t i = 0; i < 5; i++)
        assert_block(block + places[i], HAK_PLACE_SPAN, block, size, true);
    assert_ptr_not_equal(hak_describe(block + size).block, block);
    char *volatile freed = block;
    hak_free(block);
    for (size_t i = 0; i < 5; i++)
        assert_block(freed + places[i], HAK_PLACE_SPAN, freed, size, false);
}

static void huge_blocks(void **state) {
    (void)state;
    char *block = hak_malloc(5000000);
    size_t size = hak_malloc_usable_size(block);
    size_t places[] = {0, 1, 70000, 4999999, size - 1};
    for (size_t i = 0; i < 5; i++)
        assert_block(block + places[i], HAK_PLACE_HUGE, block, size, true);
    assert_block(block - 1, HAK_PLACE_HUGE, block, size, true);
    struct hak_place place = hak_describe(block + size + 100);
    if (place.kind == HAK_PLACE_BEHIND) /* else something of the allocator's lies there */
        assert_int_equal(place.offset, size + 100);
    char *volatile freed = block;
    hak_free(block);
    for (size_t i = 0; i < 5; i++)
        assert_block(freed + places[i], HAK_PLACE_HUGE, freed, size, false);
    /* Aligned to more than a unit, resized and moved. */
    block = hak_aligned_alloc(1 << 20, 3000000);
    assert_block(block + 5, HAK_PLACE_HUGE, block, hak_malloc_usable_size(block), true);
    hak_free(block);
    block = hak_malloc(2000000);
    for (size_t wanted = 2500000; wanted < 60000000; wanted = wanted * 3 / 2) {
        block = hak_realloc(block, wanted);
        assert_non_null(block);
        assert_block(block + wanted - 1, HAK_PLACE_HUGE, block, hak_malloc_usable_size(block),
                     true);
    }
    hak_free(block);
}

/* More huge blocks than one piece of their table has entries for, and what was freed last. */
static void many_huge_blocks(void **state) {
    (void)state;
    enum { BLOCKS = 150 };
    static char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = hak_malloc(1200000 + i * 65536);
            assert_non_null(blocks[i]);
            sizes[i] = hak_malloc_usable_size(blocks[i]);
        }
        for (size_t i = 0; i < BLOCKS; i++)
            assert_block(blocks[i] + 1000000, HAK_PLACE_HUGE, blocks[i], sizes[i], true);
        for (size_t i = 0; i < BLOCKS; i++)
            hak_free(blocks[i]);
        for (size_t i = BLOCKS - 20; i < BLOCKS; i++)
            assert_block(blocks[i] + 1000000, HAK_PLACE_HUGE, blocks[i], sizes[i], false);
    }
}

static void own_and_foreign_memory(void **state) {
    (void)state;
    int local;
    static int global;
    hak_free(hak_malloc(10));
    assert_int_equal(hak_describe(&local).kind, HAK_PLACE_FOREIGN);
    assert_int_equal(hak_describe(&global).kind, HAK_PLACE_FOREIGN);
    assert_int_equal(hak_describe(NULL).kind, HAK_PLACE_FOREIGN);
    assert_int_equal(hak_describe((void *)UINTPTR_MAX).kind, HAK_PLACE_FOREIGN);
    assert_int_equal(hak_describe(hak_heap_self()).kind, HAK_PLACE_OWN);
    assert_int_equal(hak_describe(hak_pool_superslab(0)).kind, HAK_PLACE_OWN);
}

/* An entire slab is given back when its last block comes home. */
static void a_slab_that_was_given_back(void **state) {
    (void)state;
    enum { BLOCKS = 3000, SIZE = 20000 };
    static char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = hak_malloc(SIZE);
    size_t size = block_size(blocks[0]);
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
    size_t given_back = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        struct hak_place place = hak_describe(blocks[i] + 5);
        if (place.kind != HAK_PLACE_FREE_SLAB)
            continue;
        given_back++;
        assert_ptr_equal(place.block, blocks[i]);
        assert_int_equal(place.size, size);
        assert_false(place.in_use);
    }
    assert_true(given_back > BLOCKS / 2);
}

static void pages_may_be_unreadable(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *block = hak_aligned_alloc(page, page * 2);
    assert_true(hak_is_readable(block));
    assert_int_equal(mprotect(block, page, PROT_NONE), 0);
    assert_false(hak_is_readable(block));
    struct hak_place place = hak_describe(block + page);
    assert_ptr_equal(place.block, block);
    assert_true(place.in_use);
    assert_int_equal(mprotect(block, page, PROT_READ | PROT_WRITE), 0);
    hak_free(block);
    errno = 77;
    assert_false(hak_is_readable(NULL));
    assert_int_equal(errno, 77);
}

/* Any pattern of bits: near what there is, and anywhere. */
static void any_garbage(void **state) {
    (void)state;
    uint64_t random = 4711;
    char *known[] = {hak_malloc(50), hak_malloc(100000), hak_malloc(3000000),
                     (char *)hak_heap_self(), (char *)hak_pool_superslab(0)};
#ifdef HAKMEM_SANITIZED
    enum { TRIES = 20000 };
#else
    enum { TRIES = 200000 };
#endif
    for (int i = 0; i < TRIES; i++) {
        uint64_t r = next_random(&random);
        uintptr_t address = (uintptr_t)(next_random(&random) >> r % 64);
        if (r & 64)
            address = (uintptr_t)known[(r >> 8) % 5] + (address & 0xffffff) - 0x800000;
        struct hak_place place = hak_describe((void *)address);
        if (place.block && place.offset >= 0 && place.kind != HAK_PLACE_BEHIND)
            assert_true((size_t)place.offset < place.size);
    }
    for (int i = 0; i < 3; i++)
        hak_free(known[i]);
}

static atomic_bool working;
static _Atomic(char *) shown[64]; /* blocks of the worker, or what was one */

static void *worker(void *argument) {
    uint64_t random = 31 + (uintptr_t)argument;
    while (atomic_load(&working)) {
        uint64_t r = next_random(&random);
        size_t size = r >> 20 & 1 ? r % 300 : r >> 21 & 7 ? r % 100000 : 1100000 + r % 4000000;
        hak_free(atomic_exchange(&shown[(r >> 32) % 64], hak_malloc(size)));
    }
    return NULL;
}

static void while_others_work(void **state) {
    (void)state;
    pthread_t threads[2];
    atomic_store(&working, true);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
    uint64_t random = 3;
    char *staying[] = {hak_malloc(50), hak_malloc(100000), hak_malloc(3000000)};
#ifdef HAKMEM_SANITIZED
    enum { TRIES = 10000 };
#else
    enum { TRIES = 100000 };
#endif
    for (int i = 0; i < TRIES; i++) {
        uint64_t r = next_random(&random);
        char *block = atomic_load(&shown[r % 64]);
        hak_describe(block + (r >> 8) % 70000);
        char *known = staying[r % 3];
        struct hak_place place = hak_describe(known + 20);
        assert_ptr_equal(place.block, known);
        assert_true(place.in_use);
    }
    atomic_store(&working, false);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 3; i++)
        hak_free(staying[i]);
    for (size_t i = 0; i < 64; i++)
        hak_free(atomic_exchange(&shown[i], NULL));
}

/* In the middle of malloc and free as a signal finds them, with any lock held. */
static _Atomic unsigned answers;
static void on_timer(int number) {
    (void)number;
    int kept = errno;
    for (size_t i = 0; i < 64; i += 7)
        hak_describe(atomic_load(&shown[i]));
    atomic_fetch_add(&answers, 1);
    errno = kept;
}

static void in_signal_handlers(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_timer}, old;
    sigaction(SIGALRM, &action, &old);
    struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    uint64_t random = 8;
    while (atomic_load(&answers) < 100) {
        uint64_t r = next_random(&random);
        size_t size = r & 1 ? r % 5000 : r & 2 ? r % 300000 : 1100000 + r % 5000000;
        hak_free(atomic_exchange(&shown[(r >> 32) % 64], hak_malloc(size)));
    }
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    for (size_t i = 0; i < 64; i++)
        hak_free(atomic_exchange(&shown[i], NULL));
}

/* What a child says that ends by hak_inspect_fatal_pointer. */
static void assert_ends_with(const void *pointer, const char *wanted) {
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        int message_fd = hak_message_fd();
        dup2(pipe_ends[1], STDERR_FILENO);
        dup2(pipe_ends[1], message_fd);
        hak_inspect_fatal_pointer("free", pointer);
    }
    close(pipe_ends[1]);
    char text[1024];
    size_t used = 0;
    ssize_t n;
    while ((n = read(pipe_ends[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = 0;
    close(pipe_ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char begin[100];
    snprintf(begin, sizeof begin, "hakmem: free(): invalid pointer %p: ", pointer);
    /* One line of ours; an emulator may add its own. */
    if (strncmp(text, begin, strlen(begin)) != 0 || !strstr(text, wanted) ||
        strstr(text + 1, "hakmem: ") || !strchr(text, '\n'))
        fail_msg("\"%s\" begins not with \"%s\", has no \"%s\", or is not one line", text, begin,
                 wanted);
}

static void wrong_pointers_are_named(void **state) {
    (void)state;
    char wanted[200];
    char *small = hak_malloc(100), *span = hak_malloc(100000), *huge = hak_malloc(3000000);
    size_t size = block_size(small);
    int local;
    snprintf(wanted, sizeof wanted,
             "16 bytes into a block of %zu bytes that begins at %p and is in use", size,
             (void *)small);
    assert_ends_with(small + 16, wanted);
    snprintf(wanted, sizeof wanted, "70000 bytes into a block of 131072 bytes that begins at %p",
             (void *)span);
    assert_ends_with(span + 70000, wanted);
    snprintf(wanted, sizeof wanted, "8 bytes into a block of %zu bytes",
             hak_malloc_usable_size(huge));
    assert_ends_with(huge + 8, wanted);
    snprintf(wanted, sizeof wanted, "8 bytes before a block of %zu bytes",
             hak_malloc_usable_size(huge));
    assert_ends_with(huge - 8, wanted);
    size_t huge_size = hak_malloc_usable_size(huge);
    char *volatile freed[] = {small, span, huge};
    hak_free(small), hak_free(span), hak_free(huge);
    snprintf(wanted, sizeof wanted, "a block of %zu bytes that was already freed (double free)",
             size);
    assert_ends_with(freed[0], wanted);
    assert_ends_with(freed[1], "a block of 131072 bytes that was already freed (double free)");
    snprintf(wanted, sizeof wanted, "a block of %zu bytes that was already freed (double free)",
             huge_size);
    assert_ends_with(freed[2], wanted);
    assert_ends_with((void *)0x6261626162616261, "not a block of this allocator");
    assert_ends_with(&local, "not a block of this allocator");
    assert_ends_with(hak_heap_self(), "the allocator's own memory");
}

static void mappings_have_names(void **state) {
    (void)state;
    struct hak_mapping mapping;
    bool known;
    assert_true(hak_mapping_find((void *)(uintptr_t)mappings_have_names, &mapping, &known));
    assert_true(known);
    assert_non_null(strstr(mapping.name, "test_describe"));
    assert_string_equal(mapping.access, "r-xp");
    assert_true((uintptr_t)mappings_have_names - mapping.start < mapping.end - mapping.start);
    assert_false(hak_mapping_find((void *)16, &mapping, &known));
    assert_true(known);
    char *anonymous = mmap(NULL, 3 * HAK_SLAB_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(anonymous != MAP_FAILED);
    assert_true(hak_mapping_find(anonymous + 100, &mapping, &known));
    assert_true(mapping.end - mapping.start >= 3 * HAK_SLAB_SIZE);
    munmap(anonymous, 3 * HAK_SLAB_SIZE);
}

static void the_last_events_are_kept(void **state) {
    (void)state;
    static struct hak_event_ring ring;
    struct hak_event_ring *kept = hak_events;
    hak_events = NULL;
    hak_event(HAK_EVENT_REFILL, 1, NULL); /* goes nowhere */
    hak_events = &ring;
    for (uintptr_t i = 0; i < 3 * HAK_EVENTS_KEPT + 5; i++)
        hak_event(HAK_EVENT_SPAN_NEW, (unsigned)i, (void *)i);
    hak_events = kept;
    assert_int_equal(atomic_load(&ring.count), 3 * HAK_EVENTS_KEPT + 5);
    for (unsigned i = 2 * HAK_EVENTS_KEPT + 5; i < 3 * HAK_EVENTS_KEPT + 5; i++) {
        const struct hak_event *event = &ring.events[i % HAK_EVENTS_KEPT];
        assert_int_equal(event->detail, i);
        assert_int_equal((uintptr_t)event->address, i);
        assert_int_equal(event->kind, HAK_EVENT_SPAN_NEW);
    }
}

/* The thread that forked goes on, under other ids, and alone. */
static void *wait_with_a_heap(void *argument) {
    hak_free(hak_malloc(1));
    pthread_barrier_wait(argument);
    pthread_barrier_wait(argument);
    return NULL;
}
static void in_a_child_of_fork(void **state) {
    (void)state;
    pthread_barrier_t both;
    assert_int_equal(pthread_barrier_init(&both, NULL, 2), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_with_a_heap, &both), 0);
    pthread_barrier_wait(&both);
    char *blocks[1000]; /* the first ones may be of slabs that others owned */
    unsigned count = 0;
    do
        assert_non_null(blocks[count] = hak_malloc(1000));
    while (hak_describe(blocks[count]).owner != hak_heap_self() && ++count < 1000);
    assert_true(count < 1000);
    char *block = blocks[count];
    struct hak_trace *trace = &hak_heap_self()->trace;
    hak_trace_enter(trace);
    assert_int_equal(hak_describe(block).owner_thread, getpid());
    unsigned before = hak_heaps_in_use();
    assert_true(before >= 2);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child)
        _exit(hak_describe(block).owner_thread != getpid() ? 3 : hak_heaps_in_use() != 1 ? 4 : 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(hak_heaps_in_use(), before);
    pthread_barrier_wait(&both);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&both);
    hak_trace_leave(trace);
    for (unsigned i = 0; i <= count; i++)
        hak_free(blocks[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(small_blocks_and_their_owners),
    cmocka_unit_test(the_rest_of_a_slab),
    cmocka_unit_test(spans),
    cmocka_unit_test(huge_blocks),
    cmocka_unit_test(many_huge_blocks),
    cmocka_unit_test(own_and_foreign_memory),
    cmocka_unit_test(a_slab_that_was_given_back),
    cmocka_unit_test(pages_may_be_unreadable),
    cmocka_unit_test(any_garbage),
    cmocka_unit_test(while_others_work),
    cmocka_unit_test(in_signal_handlers),
    cmocka_unit_test(wrong_pointers_are_named),
    cmocka_unit_test(mappings_have_names),
    cmocka_unit_test(the_last_events_are_kept),
    cmocka_unit_test(in_a_child_of_fork),
};
CHECK_MAIN(tests)
