/* Under a limit: allocates blocks until there is no memory, frees them, and does so again with
 * other sizes. What one round could have the next can have too, whatever sizes the memory served
 * before.
 *
 *   until_null PERCENT
 *
 * PERCENT: of the bytes of the first round that each later round must reach. Prints MiB by round.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    size_t size;
};

/* A mark at both ends, which shows blocks that overlap. */
static size_t *last_word(struct block *b) {
    return (size_t *)(void *)((char *)b + b->size) - 1;
}

static void fail(const char *why, size_t value) {
    fprintf(stderr, "%s (%zu)\n", why, value);
    exit(1);
}

/* One round: returns the bytes there were. */
static size_t fill_and_free(size_t low, size_t high) {
    struct block *all = NULL;
    size_t bytes = 0, size = low;
    for (;;) {
        errno = 0;
        struct block *b = malloc(size);
        if (!b)
            break;
        *b = (struct block){.next = all, .size = size};
        *last_word(b) = (size_t)b;
        all = b;
        bytes += size;
        size = size + (size >> 3) + 8 <= high ? size + (size >> 3) + 8 : low;
        size &= ~(size_t)7;
    }
    if (errno != ENOMEM)
        fail("malloc refused with another errno than ENOMEM", (size_t)errno);
    char *zeros = calloc(1, high / 2); /* which may fit into what is left */
    if (!zeros && errno != ENOMEM)
        fail("calloc refused with another errno than ENOMEM", (size_t)errno);
    for (size_t i = 0; zeros && i < high / 2; i += 64)
        if (zeros[i])
            fail("calloc gave a byte that is not zero", i);
    free(zeros);
    while (all) {
        struct block *next = all->next;
        if (*last_word(all) != (size_t)all)
            fail("a block changed", all->size);
        errno = 77;
        free(all);
        if (errno != 77)
            fail("free changed errno", (size_t)errno);
        all = next;
    }
    return bytes;
}

static const size_t ranges[][2] = {{2 << 20, 9 << 20}, {64, 512},       {40000, 900000},
                                   {5 << 20, 6 << 20}, {2000, 30000},   {2 << 20, 9 << 20},
                                   {64, 512},          {40000, 3 << 20}};
#define ROUNDS (sizeof ranges / sizeof *ranges)

/* Each thread begins elsewhere, so that one needs what another has just freed. */
static void *rounds_of_a_thread(void *argument) {
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t at = (i + (size_t)argument) % ROUNDS;
        fill_and_free(ranges[at][0], ranges[at][1]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    size_t percent = argc >= 2 ? (size_t)atoi(argv[1]) : 0, first = 0;
    size_t threads = argc >= 3 ? (size_t)atoi(argv[2]) : 0;
    pthread_t thread[16];
    for (size_t i = 0; i < threads && i < 16; i++)
        if (pthread_create(&thread[i], NULL, rounds_of_a_thread, (void *)(i * 3)) != 0)
            threads = i; /* no memory for another */
    for (size_t i = 0; i < threads && i < 16; i++)
        pthread_join(thread[i], NULL);
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t bytes = fill_and_free(ranges[i][0], ranges[i][1]);
        if (!i)
            first = bytes;
        printf("%zu%c", bytes >> 20, i + 1 < ROUNDS ? ' ' : '\n');
        if (bytes / 100 < first / 10000 * percent)
            fail("MiB only could be had in a later round", bytes >> 20);
    }
    return 0;
}
