/* Huge blocks whose mappings are cut and grown, for others and by realloc: that nobody's bytes
 * change, and calloc's are zero. */
#include "check.h"
#include "thread_life.h"
#include "base/counters.h"

enum { SLOTS = 10, PAGE = 4096, THREADS = 3, ROUNDS = 1500 / SCALE };
static const size_t least = (size_t)1100 << 10, most = (size_t)9 << 20; /* bytes */

struct piece {
    unsigned char *bytes;
    size_t size;
    uint64_t serial;
};

static uint64_t word_at(const struct piece *piece, size_t offset) {
    return (piece->serial << 24) + offset;
}

/* The first and last word, and one of each page. */
static void fill(const struct piece *piece, size_t from) {
    for (size_t i = from; i + sizeof(uint64_t) <= piece->size; i += PAGE) {
        uint64_t word = word_at(piece, i);
        memcpy(piece->bytes + i, &word, sizeof word);
    }
    piece->bytes[piece->size - 1] = (unsigned char)piece->serial;
}

static void verify(const struct piece *piece, size_t to) {
    for (size_t i = 0; i + sizeof(uint64_t) <= to; i += PAGE) {
        uint64_t word;
        memcpy(&word, piece->bytes + i, sizeof word);
        REQUIRE(word == word_at(piece, i));
    }
    if (to == piece->size)
        REQUIRE(piece->bytes[to - 1] == (unsigned char)piece->serial);
}

static void get(struct piece *piece, size_t size, uint64_t serial, bool zero) {
    *piece = (struct piece){zero ? calloc(1, size) : malloc(size), size, serial};
    REQUIRE(piece->bytes != NULL);
    if (zero)
        for (size_t i = 0; i < size; i += 64)
            REQUIRE(piece->bytes[i] == 0);
    fill(piece, 0);
}

/* To a multiple of the page, so that the words of the old part stay those that are looked for. */
static void resize(struct piece *piece, size_t size) {
    size &= ~(size_t)(PAGE - 1);
    unsigned char *bytes = realloc(piece->bytes, size);
    REQUIRE(bytes != NULL);
    piece->bytes = bytes;
    size_t same = size < piece->size ? size : piece->size & ~(size_t)(PAGE - 1);
    piece->size = size;
    verify(piece, same < size ? same : size - PAGE);
    fill(piece, 0);
}

static void *replace_at_random(void *argument) {
    uint64_t state = (uintptr_t)argument, serial = (uintptr_t)argument << 32;
    struct piece pieces[SLOTS] = {{NULL, 0, 0}};
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct piece *piece = &pieces[next_random(&state) % SLOTS];
        size_t size = least + next_random(&state) % (most - least);
        unsigned what = (unsigned)(next_random(&state) % 8);
        if (piece->bytes)
            verify(piece, piece->size);
        if (piece->bytes && what < 2) {
            resize(piece, what ? size : piece->size + piece->size / 3);
            if (piece->size < 2 * most)
                continue;
        }
        free(piece->bytes);
        get(piece, size, ++serial, what == 7);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (pieces[i].bytes)
            verify(&pieces[i], pieces[i].size);
        free(pieces[i].bytes);
    }
    return NULL;
}

static void one_thread_keeps_its_bytes(void **state) {
    (void)state;
    uint64_t reused = hak_counter(HAK_COUNT_HUGE_REUSED);
    replace_at_random((void *)1);
    assert_true(hak_counter(HAK_COUNT_HUGE_REUSED) - reused > ROUNDS / 4);
}

static void threads_keep_their_bytes(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        thread_start(&threads[i], replace_at_random, (void *)(i + 2));
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* One that is made of what is kept, and then grows step by step. */
static void what_was_kept_grows(void **state) {
    (void)state;
    for (unsigned round = 0; round < 20 / SCALE; round++) {
        struct piece small[6], large;
        for (unsigned i = 0; i < 6; i++)
            get(&small[i], least + i * ((size_t)300 << 10), i, false);
        for (unsigned i = 0; i < 6; i++)
            free(small[i].bytes);
        get(&large, (size_t)7 << 20, 77, round % 2);
        while (large.size < (size_t)24 << 20) {
            verify(&large, large.size);
            resize(&large, large.size + large.size / 5);
        }
        free(large.bytes);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_thread_keeps_its_bytes),
    cmocka_unit_test(threads_keep_their_bytes),
    cmocka_unit_test(what_was_kept_grows),
};
CHECK_MAIN(tests)
