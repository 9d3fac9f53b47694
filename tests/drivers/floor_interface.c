/* Calls all of the floor allocator's interface, with one thread and with blocks that change hands.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned failures;

#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

/* Keeps the compiler from knowing what malloc gave. */
static void *hidden(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

static bool holds(const unsigned char *bytes, int value, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != (unsigned char)value)
            return false;
    return true;
}

static uint64_t random_state = 42;

static uint64_t random_below(uint64_t limit) {
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (random_state >> 33) % limit;
}

/* Blocks of all sizes live at once, each full of a byte of its own. */
static void no_block_lies_in_another(void) {
    enum { BLOCKS = 400, STEPS = 20000 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    for (unsigned step = 0; step < STEPS; step++) {
        size_t i = random_below(BLOCKS);
        if (blocks[i] != NULL) {
            EXPECT(holds(blocks[i], (int)i, sizes[i]));
            free(blocks[i]);
        }
        sizes[i] = random_below(100) == 0 ? random_below(3000000) : random_below(6000);
        blocks[i] = hidden(malloc(sizes[i]));
        EXPECT(blocks[i] != NULL && (uintptr_t)blocks[i] % 16 == 0);
        EXPECT(malloc_usable_size(blocks[i]) >= sizes[i]);
        memset(blocks[i], (int)i, sizes[i]);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        EXPECT(blocks[i] == NULL || holds(blocks[i], (int)i, sizes[i]));
        free(blocks[i]);
    }
}

static void every_usable_byte_is_the_block_s(void) {
    for (size_t size = 0; size < 5000000; size = size + 1 + size / 50) {
        unsigned char *first = hidden(malloc(size)), *second = hidden(malloc(size));
        size_t usable = malloc_usable_size(first);
        EXPECT(usable >= size && usable <= size + size / 8 + 4096);
        memset(first, 1, usable);
        memset(second, 2, malloc_usable_size(second));
        EXPECT(holds(first, 1, usable));
        free(first);
        free(second);
    }
}

static void calloc_clears_what_was_used(void) {
    for (size_t size = 1; size < 3000000; size = 2 * size + 1) {
        unsigned char *used = hidden(malloc(size));
        memset(used, 0xff, malloc_usable_size(used));
        free(used);
        unsigned char *clear = hidden(calloc(size, 1));
        EXPECT(clear != NULL && holds(clear, 0, size));
        free(clear);
    }
}

static void realloc_keeps_the_contents(void) {
    unsigned char *block = NULL;
    size_t size = 0;
    for (unsigned step = 0; step < 400; step++) {
        size_t wanted = 1 + random_below(step % 5 == 0 ? 4000000 : 3000);
        block = hidden(realloc(block, wanted));
        EXPECT(block != NULL && holds(block, 7, size < wanted ? size : wanted));
        memset(block, 7, wanted);
        size = wanted;
    }
    EXPECT(realloc(block, 0) == NULL);
    unsigned char *aligned = hidden(aligned_alloc(4096, 100));
    memset(aligned, 9, 100);
    aligned = hidden(realloc(aligned, 5000000));
    EXPECT(aligned != NULL && holds(aligned, 9, 100));
    free(aligned);
}

static void alignments_are_kept(void) {
    for (size_t alignment = 1; alignment <= 4U << 20; alignment *= 2)
        for (size_t size = 0; size < 300000; size = 3 * size + 5) {
            unsigned char *block = hidden(memalign(alignment, size));
            EXPECT(block != NULL && (uintptr_t)block % alignment == 0);
            EXPECT(malloc_usable_size(block) >= size);
            memset(block, 1, malloc_usable_size(block));
            free(block);
            void *other = NULL;
            if (alignment >= sizeof(void *))
                EXPECT(posix_memalign(&other, alignment, size) == 0 &&
                       (uintptr_t)hidden(other) % alignment == 0);
            free(other);
        }
}

static void wrong_requests_are_refused(void) {
    volatile size_t huge = SIZE_MAX, half = SIZE_MAX / 2 + 1, three = 3;
    void *block = &failures;
    errno = 0;
    EXPECT(hidden(malloc(huge)) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(hidden(calloc(half, three)) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(hidden(memalign(three, 10)) == NULL && errno == EINVAL);
    EXPECT(posix_memalign(&block, three, 10) == EINVAL && block == &failures);
    EXPECT(posix_memalign(&block, 64, huge) == ENOMEM && block == &failures);
    void *small = hidden(malloc(100));
    EXPECT(hidden(realloc(small, huge)) == NULL);
    memset(small, 1, 100);
    free(small);
    EXPECT(malloc_usable_size(NULL) == 0);
    free(NULL);
}

enum { HANDED = 1000 };
static unsigned char *handed[HANDED];

static void *free_them(void *unused) {
    for (unsigned i = 0; i < HANDED; i++) {
        EXPECT(holds(handed[i], (int)i, i));
        free(handed[i]);
    }
    for (unsigned i = 0; i < HANDED; i++) {
        handed[i] = hidden(malloc(i));
        memset(handed[i], (int)i, i);
    }
    return unused;
}

static void blocks_change_hands(void) {
    pthread_t thread;
    for (unsigned i = 0; i < HANDED; i++) {
        handed[i] = hidden(malloc(i));
        memset(handed[i], (int)i, i);
    }
    EXPECT(pthread_create(&thread, NULL, free_them, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    free_them(NULL);
}

static void *take_and_free(void *unused) {
    (void)unused;
    unsigned char *freed_first = handed[0];
    free(freed_first); /* before this thread has anything of its own */
    unsigned char *block = hidden(malloc(5000));
    memset(block, 1, 5000);
    free(block);
    return block;
}

/* Each thread gets what the one before it left, and no memory of its own. */
static void threads_inherit(void) {
    void *first = NULL;
    for (unsigned i = 0; i < 300; i++) {
        pthread_t thread;
        void *found = NULL;
        handed[0] = hidden(malloc(i));
        EXPECT(pthread_create(&thread, NULL, take_and_free, NULL) == 0);
        EXPECT(pthread_join(thread, &found) == 0);
        first = i == 0 ? found : first;
        EXPECT(found == first);
    }
}

int main(void) {
    no_block_lies_in_another();
    every_usable_byte_is_the_block_s();
    calloc_clears_what_was_used();
    realloc_keeps_the_contents();
    alignments_are_kept();
    wrong_requests_are_refused();
    blocks_change_hands();
    threads_inherit();
    if (failures == 0)
        puts("all is so");
    return failures != 0;
}
