/* Magazines that grow to what a thread gives back and wants again, their bounds, and watches. */
#include "check.h"
#include "base/options.h"
#include "base/size_class.h"
#include "heap/capacity.h"
#include "heap/watch.h"
#include "os/os.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 40000, SECONDS = 20 };

/* What a thread may keep beyond what is usual: as capacity.c has it. */
enum { THREAD_SLOTS = 16384, THREAD_BYTES = 16 << 20 };

/* No magazine shrinks because a busy machine let time pass in the middle of a case. */
__attribute__((constructor)) static void keep_the_clock_out(void) {
    hak_init();
    hak_option_value[HAK_OPT_PURGE_DELAY] = -1;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct hak_heap_class *class_of(size_t size) {
    return &hak_heap_self()->classes[hak_size_class(size)];
}

/* Sizes differ by their index, in `kinds` of them from `size` on. */
struct swing {
    size_t size;
    unsigned blocks, kinds;
};
static void *table[MOST];

static size_t size_of(const struct swing *swing, unsigned i) {
    return swing->size + i % swing->kinds * 16;
}

static void build(const struct swing *swing) {
    for (unsigned i = 0; i < swing->blocks; i++) {
        table[i] = malloc(size_of(swing, i));
        *(unsigned *)table[i] = i;
    }
}

/* In another order than that of allocation. */
static void tear_down(const struct swing *swing) {
    for (unsigned i = 0; i < swing->blocks; i++) {
        unsigned at = (unsigned)((uint64_t)i * 10007 % swing->blocks);
        assert_int_equal(*(unsigned *)table[at], at);
        free(table[at]);
    }
}

/* Every magazine has its blocks between its bottom and its end; and what they have grown by is what
 * the heap believes. */
static void all_is_in_order(void) {
    const struct hak_heap *heap = hak_heap_self();
    size_t slots = 0, bytes = 0;
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++) {
        const struct hak_heap_class *class = &heap->classes[c];
        if (!(heap->begun >> c & 1))
            continue;
        void **top = class->hidden ? class->hidden : heap->magazines->top[c];
        assert_null(*class->bottom);
        assert_true(top >= class->bottom && top <= class->bottom + class->capacity);
        assert_true(class->capacity <= hak_capacity_most(class) && class->most <= class->ceiling);
        if (class->parts) {
            assert_true(class->most > class->usual && class->has_ceiling);
            assert_ptr_equal(class->bottom,
                             class->own + (size_t) class->parts * (class->usual + 1u));
            assert_null(*class->own);
        }
        if (!class->hidden)
            assert_ptr_equal(heap->magazines->end[c], class->bottom + class->capacity);
        slots += class->most - class->usual;
        bytes += (size_t)(class->most - class->usual) * hak_class_size[c];
    }
    assert_int_equal(heap->grown_slots, slots);
    assert_int_equal(heap->grown_bytes, bytes);
    assert_true(slots <= THREAD_SLOTS && bytes <= THREAD_BYTES);
}

/* Each case begins with no magazine, and the whole allowance. */
static void begin_anew(void) {
    free(malloc(16)); /* so that there is a heap */
    hak_magazines_begin_again(hak_heap_self());
    all_is_in_order();
}

static void swing_once(const struct swing *swing) {
    build(swing);
    tear_down(swing);
    all_is_in_order();
}

/* Swings until the magazine of the first size may have `most` blocks; false: it never did. */
static bool swing_until(const struct swing *swing, unsigned most) {
    for (double end = seconds() + SECONDS; seconds() < end;) {
        swing_once(swing);
        if (class_of(swing->size)->most >= most)
            return true;
    }
    return false;
}

/* Begins anew, and swings until the magazine may have as many blocks as that. */
static struct swing grown(size_t size, unsigned blocks) {
    begin_anew();
    struct swing swing = {.size = size, .blocks = blocks, .kinds = 1};
    assert_true(swing_until(&swing, blocks));
    return swing;
}

static void swing_for(const struct swing *swing, double time) {
    for (double end = seconds() + time; seconds() < end;)
        swing_once(swing);
}

static void a_magazine_grows_to_the_swing(void **state) {
    (void)state;
    struct swing swing = grown(640, 1000);
    struct hak_heap_class *class = class_of(640);
    assert_true(class->most <= 1000 + 1000 / 2);
    /* From now on nothing goes home: what is out of the slabs stays out. */
    build(&swing);
    tear_down(&swing);
    int32_t out = class->out;
    for (int i = 0; i < 10; i++) {
        build(&swing);
        assert_int_equal(class->out, out);
        tear_down(&swing);
        assert_int_equal(class->out, out);
    }
}

/* However much it has, a slow path is never more than a part away: else a thread that has what it
 * needs would look at no clock, and give nothing back. */
static void a_large_magazine_is_seen_often(void **state) {
    (void)state;
    struct swing swing = grown(64, 10000);
    struct hak_heap_class *class = class_of(64);
    for (int i = 0; i < 5; i++)
        swing_once(&swing);
    class->misses = 0;
    static void *few[1000];
    for (int i = 0; i < 1000; i++)
        few[i] = malloc(64);
    assert_true(class->misses >= 1000 / (2 * class->usual));
    for (int i = 0; i < 1000; i++)
        free(few[i]);
    all_is_in_order();
}

/* Up and down about the place where it is parted: not each call is a slow one. */
static void a_thread_may_stay_where_a_magazine_is_parted(void **state) {
    (void)state;
    struct swing swing = grown(640, 1000);
    const struct hak_heap_class *class = class_of(640);
    build(&swing);
    unsigned changes = 0;
    unsigned parts = class->parts;
    for (unsigned i = 0; i < 500; i++) {
        free(table[i]);
        for (unsigned j = 0; j < 60; j++) {
            static void *few[3];
            if (j / 3 % 2)
                free(few[j % 3]);
            else
                few[j % 3] = malloc(640);
            changes += parts != class->parts;
            parts = class->parts;
        }
    }
    assert_true(changes <= 10); /* 500 blocks are some ten parts */
    for (unsigned i = 500; i < swing.blocks; i++)
        free(table[i]);
    all_is_in_order();
}

/* With room for one more than is usual: what the allowance, or idleness, may leave it. */
static void a_magazine_that_grew_by_one_stays_in_its_bounds(void **state) {
    (void)state;
    struct swing swing = grown(640, 1000);
    struct hak_heap *heap = hak_heap_self();
    struct hak_heap_class *class = class_of(640);
    hak_magazines_empty(heap);
    unsigned less = class->most - class->usual - 1u;
    class->most = (uint16_t)(class->usual + 1);
    hak_capacity_set(heap, hak_size_class(640), class->usual);
    heap->grown_slots -= less;
    heap->grown_bytes -= (size_t)less * 640;
    build(&swing);
    for (unsigned i = 0; i < swing.blocks; i++) {
        free(table[i]);
        all_is_in_order();
    }
}

/* Seldom: a swing takes longer than its blocks' way home is worth. */
static void rare_swings_let_nothing_grow(void **state) {
    (void)state;
    begin_anew();
    struct swing swing = {.size = 704, .blocks = 1000, .kinds = 1};
    for (int i = 0; i < 30; i++) {
        swing_once(&swing);
        usleep(5000);
    }
    assert_int_equal(class_of(704)->most, class_of(704)->usual);
}

static void a_swing_that_is_too_large_lets_nothing_grow(void **state) {
    (void)state;
    begin_anew();
    struct swing swing = {.size = 48, .blocks = MOST, .kinds = 1};
    swing_for(&swing, 0.2);
    assert_int_equal(class_of(48)->most, class_of(48)->usual);
}

/* Of large blocks a part is kept. */
static void a_part_of_a_swing_of_large_blocks_is_kept(void **state) {
    (void)state;
    begin_anew();
    struct swing swing = {.size = 16384, .blocks = 1000, .kinds = 1};
    assert_true(swing_until(&swing, class_of(16384)->usual + 100));
    assert_true(class_of(16384)->most <= (4u << 20) / 16384);
}

static void a_thread_keeps_no_more_than_its_allowance(void **state) {
    (void)state;
    begin_anew();
    struct swing few = {.size = 16, .blocks = 6000, .kinds = 4};
    swing_for(&few, 0.3); /* more in blocks, */
    struct swing large = {.size = 1100, .blocks = 9000, .kinds = 60};
    swing_for(&large, 0.3); /* in bytes */
    struct swing both = {.size = 16, .blocks = 30000, .kinds = 60};
    swing_for(&both, 0.5);
    assert_true(hak_heap_self()->grown_slots > 0);
}

static void what_is_idle_shrinks(void **state) {
    (void)state;
    struct swing swing = grown(320, 2000);
    struct hak_heap *heap = hak_heap_self();
    for (int i = 0; i < 20; i++) {
        hak_magazines_shrink_idle(heap);
        all_is_in_order();
    }
    assert_int_equal(class_of(320)->most, class_of(320)->usual);
    assert_int_equal(heap->grown_slots, 0);
    assert_true(swing_until(&swing, 2000)); /* and grows again */
    hak_magazines_begin_again(heap);
    all_is_in_order();
    assert_int_equal(heap->grown_bytes, 0);
    swing_once(&swing);
}

/* However few blocks it has: a drain may have left it none, and the growth would be lost to others.
 */
static void what_is_idle_and_small_shrinks(void **state) {
    (void)state;
    grown(320, 2000);
    struct hak_heap *heap = hak_heap_self();
    hak_magazines_empty(heap);
    hak_capacity_set(heap, hak_size_class(320), 1);
    for (int i = 0; i < 10; i++) {
        hak_magazines_shrink_idle(heap);
        all_is_in_order();
    }
    assert_int_equal(class_of(320)->most, class_of(320)->usual);
    assert_int_equal(heap->grown_slots, 0);
}

/* Bytes of a class's slots that are in memory. */
static size_t resident_slots(const struct hak_heap_class *class) {
    size_t page = hak_os_page_size(), slots = 2u + class->ceiling + class->ceiling / class->usual;
    uintptr_t from = (uintptr_t) class->own & ~(page - 1);
    size_t pages = ((uintptr_t)(class->own + slots) - from + page - 1) / page, resident = 0;
    static unsigned char in_memory[1000];
    assert_true(pages <= sizeof in_memory);
    assert_int_equal(mincore((void *)from, pages * page, in_memory), 0);
    for (size_t i = 0; i < pages; i++)
        resident += in_memory[i] & 1 ? page : 0;
    return resident;
}

/* The slots of a magazine that has grown are given back with its blocks, however that ends. */
static void slots_without_blocks_take_no_memory(void **state) {
    (void)state;
    begin_anew();
    struct hak_heap *heap = hak_heap_self();
    struct swing swing = {.size = 64, .blocks = 10000, .kinds = 1};
    const struct hak_heap_class *class = class_of(64);
    size_t page = hak_os_page_size();
    for (int asleep = 0; asleep < 2; asleep++) {
        assert_true(swing_until(&swing, 10000));
        for (int i = 0; i < 5; i++)
            swing_once(&swing);
        assert_true(resident_slots(class) + 2 * page >= 10000 * sizeof(void *));
        if (asleep)
            hak_magazines_begin_again(heap);
        for (int i = 0; i < 20; i++)
            hak_magazines_shrink_idle(heap);
        assert_true(resident_slots(class) <= class->usual * sizeof(void *) + 3 * page);
        all_is_in_order();
    }
    swing_once(&swing);
}

/* Threads that ended give back what they had of the allowance of all: 64 MiB, which these would
 * have used up otherwise. */
static void *swing_and_end(void *unused) {
    (void)unused;
    struct swing swing = {.size = 1024, .blocks = 1500, .kinds = 1};
    return swing_until(&swing, 1200) ? table : NULL;
}
static void threads_that_ended_leave_their_allowance(void **state) {
    (void)state;
    begin_anew();
    for (int i = 0; i < 70; i++) {
        pthread_t thread;
        void *grew;
        assert_int_equal(pthread_create(&thread, NULL, swing_and_end, NULL), 0);
        pthread_join(thread, &grew);
        assert_non_null(grew);
    }
}

/* While a thread frees megabytes, a class near by is on watch: frees of it and the first malloc
 * take the slow path, none of its blocks is lost, and the malloc ends it. */
static void a_watch_keeps_its_blocks(void **state) {
    (void)state;
    begin_anew();
    struct swing swing = {.size = 576, .blocks = 8000, .kinds = 20};
    swing_for(&swing, 0.1);
    struct hak_heap *heap = hak_heap_self();
    build(&swing);
    unsigned seen = 0;
    for (unsigned i = 0; i < swing.blocks; i++) {
        assert_int_equal(*(unsigned *)table[i], i);
        free(table[i]);
        for (unsigned w = 0; w < HAK_KIND_COUNT / HAK_WATCHED; w++) {
            unsigned c = heap->watch[w];
            if (!c)
                continue;
            seen++;
            assert_true(hak_is_on_watch(heap, c));
            assert_ptr_equal(heap->magazines->top[c], hak_no_magazine);
            assert_ptr_equal(heap->magazines->end[c], hak_no_magazine);
        }
        if (i % 500 == 0)
            all_is_in_order();
    }
    assert_true(seen > 0);
    all_is_in_order();
    for (unsigned w = 0; w < HAK_KIND_COUNT / HAK_WATCHED; w++) {
        unsigned c = heap->watch[w];
        if (!c)
            continue;
        void *expected = *heap->classes[c].hidden; /* NULL: it had none */
        void *block = malloc(hak_class_size[c]);
        assert_true(!expected || block == expected);
        assert_int_equal(heap->watch[w], 0);
        assert_false(hak_is_on_watch(heap, c));
        free(block);
    }
    all_is_in_order();
    hak_magazines_empty(heap);
    all_is_in_order();
}

/* With one class there is no other to keep watch: it does so itself. */
static void a_class_alone_keeps_watch_itself(void **state) {
    (void)state;
    begin_anew();
    struct swing swing = {.size = 1024, .blocks = 4000, .kinds = 1};
    build(&swing);
    unsigned seen = 0;
    for (unsigned i = 0; i < swing.blocks; i++) {
        free(table[i]);
        seen += hak_is_on_watch(hak_heap_self(), hak_size_class(1024));
        all_is_in_order();
    }
    assert_true(seen > 0);
    swing_once(&swing);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_magazine_grows_to_the_swing),
    cmocka_unit_test(a_large_magazine_is_seen_often),
    cmocka_unit_test(a_thread_may_stay_where_a_magazine_is_parted),
    cmocka_unit_test(a_magazine_that_grew_by_one_stays_in_its_bounds),
    cmocka_unit_test(rare_swings_let_nothing_grow),
    cmocka_unit_test(a_swing_that_is_too_large_lets_nothing_grow),
    cmocka_unit_test(a_part_of_a_swing_of_large_blocks_is_kept),
    cmocka_unit_test(a_thread_keeps_no_more_than_its_allowance),
    cmocka_unit_test(what_is_idle_shrinks),
    cmocka_unit_test(what_is_idle_and_small_shrinks),
    cmocka_unit_test(slots_without_blocks_take_no_memory),
    cmocka_unit_test(threads_that_ended_leave_their_allowance),
    cmocka_unit_test(a_watch_keeps_its_blocks),
    cmocka_unit_test(a_class_alone_keeps_watch_itself),
};
CHECK_MAIN(tests)
