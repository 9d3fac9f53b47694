/* The sequence: every size, every kind of request, threads, purges; each answer and content
 * checked. */
#include "scenario.h"

#include "large/large.h"
#include "superslab/superslab.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void give_up(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    if (length > 0) {
        text[length] = '\n';
        if (write(STDERR_FILENO, text, (size_t)length + 1) < 0)
            _exit(2);
    }
    _exit(1);
}

/* ---- blocks and what they hold --------------------------------------------------------------- */

struct held {
    unsigned char *block; /* NULL: none */
    size_t size;
    unsigned char seed;
};

/* Bytes between two that are looked at; no divisors of a page. */
static size_t stride_of(size_t size) {
    return size <= 256 ? 1 : size <= 4096 ? 61 : size <= 131072 ? 509 : 40009;
}

static _Atomic unsigned refused;

static unsigned char value_at(const struct held *h, size_t i) {
    return (unsigned char)(h->seed + i * 7 + (i >> 9));
}

static void fill(struct held *h) {
    static _Atomic unsigned seeds;
    h->seed = (unsigned char)++seeds;
    for (size_t i = 0; i < h->size; i += stride_of(h->size))
        h->block[i] = value_at(h, i);
    if (h->size)
        h->block[h->size - 1] = value_at(h, h->size - 1);
}

static void verify_first(const struct held *h, size_t size) {
    for (size_t i = 0; i < size; i += stride_of(h->size))
        if (h->block[i] != value_at(h, i))
            give_up("byte %zu of %zu at %p changed", i, h->size, (void *)h->block);
}

static void verify(const struct held *h) {
    verify_first(h, h->size);
    if (h->size && h->block[h->size - 1] != value_at(h, h->size - 1))
        give_up("the last of %zu bytes at %p changed", h->size, (void *)h->block);
}

static void verify_zeros(const unsigned char *block, size_t size) {
    for (size_t i = 0; i < size; i += size <= 131072 ? 1 : 509)
        if (block[i])
            give_up("byte %zu of %zu zeroed ones at %p is %d", i, size, (const void *)block,
                    block[i]);
}

/* Takes in what an allocating function returned. */
static void take(struct held *h, void *block, size_t size, size_t alignment) {
    if (!block && errno != ENOMEM)
        give_up("%zu bytes were refused with errno %d", size, errno);
    if ((uintptr_t)block & (alignment - 1))
        give_up("%p is not at a multiple of %zu", block, alignment);
    refused += !block;
    *h = (struct held){.block = block, .size = block ? size : 0};
    if (block)
        fill(h);
}

static void drop(struct held *h) {
    if (h->block)
        verify(h);
    errno = 77;
    free(h->block);
    if (errno != 77)
        give_up("free changed errno to %d", errno);
    h->block = NULL;
}

static struct held allocated(size_t size) {
    struct held h;
    take(&h, malloc(size), size, 16);
    return h;
}

static struct held zeroed(size_t size) {
    struct held h;
    unsigned char *block = calloc(size / 8, 8);
    if (block)
        verify_zeros(block, size / 8 * 8);
    take(&h, block, size / 8 * 8, 16);
    return h;
}

static struct held aligned(size_t alignment, size_t size) {
    struct held h;
    void *block = NULL;
    int result = posix_memalign(&block, alignment, size);
    if (result != 0 && (result != ENOMEM || block))
        give_up("posix_memalign returned %d and %p", result, block);
    errno = result;
    take(&h, block, size, alignment);
    return h;
}

static void resize(struct held *h, size_t size) {
    if (!h->block)
        return;
    verify(h);
    void *block = realloc(h->block, size);
    if (!block) {
        if (errno != ENOMEM)
            give_up("realloc to %zu bytes was refused with errno %d", size, errno);
        if (size <= h->size)
            give_up("realloc from %zu to %zu bytes, fewer, was refused", h->size, size);
        refused++;
        verify(h);
        return;
    }
    h->block = block;
    verify_first(h, size < h->size ? size : h->size);
    h->size = size;
    fill(h);
}

/* ---- the steps ------------------------------------------------------------------------------- */

static const size_t odd_sizes[] = {0, 1, 24, 100, 2040, 33000, 65536, 100000, 400000, 1048576};
static const size_t huge_sizes[] = {1500000, 3000000, 9000001, 40000000};
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static void every_size(void) {
    static struct held small[60 * 2], large[COUNT_OF(odd_sizes)], huge[COUNT_OF(huge_sizes)];
    size_t count = 0;
    for (size_t size = 16; size <= 32768; size += size < 256 ? 16 : size / 8) {
        small[count++] = allocated(size);
        small[count++] = zeroed(size);
    }
    for (size_t i = 0; i < COUNT_OF(odd_sizes); i++)
        large[i] = allocated(odd_sizes[i]);
    for (size_t i = 0; i < COUNT_OF(huge_sizes); i++)
        huge[i] = i % 2 ? zeroed(huge_sizes[i]) : allocated(huge_sizes[i]);
    for (size_t i = 0; i < count; i += 2)
        drop(&small[i]);
    for (size_t i = 0; i < COUNT_OF(huge_sizes); i++)
        drop(&huge[i]);
    for (size_t i = 0; i < COUNT_OF(odd_sizes); i++)
        drop(&large[i]);
    for (size_t i = 1; i < count; i += 2)
        drop(&small[i]);
}

static void every_alignment(void) {
    static const size_t alignments[] = {16, 256, 4096, 32768, 65536, 131072, 2097152, 4194304};
    static struct held held[COUNT_OF(alignments) * 2];
    for (size_t i = 0; i < COUNT_OF(alignments); i++) {
        held[2 * i] = aligned(alignments[i], 100);
        held[2 * i + 1] = aligned(alignments[i], 70000);
    }
    for (size_t i = 0; i < COUNT_OF(held); i++)
        drop(&held[i]);
}

/* Up and down again; the neighbour keeps some blocks from growing where they are. */
static void resizing(void) {
    static const size_t sizes[] = {10,      1000,    30000,    50000,   200000, 1000000,
                                   1200000, 2500000, 5200000,  9000000, 300000, 40000,
                                   2000,    50,      12000000, 1500000, 8};
    for (int neighbour = 0; neighbour < 2; neighbour++) {
        struct held grown = allocated(8), beside[COUNT_OF(sizes)];
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            beside[i] = neighbour ? allocated(sizes[i]) : (struct held){.block = NULL};
            resize(&grown, sizes[i]);
        }
        drop(&grown);
        for (size_t i = 0; i < COUNT_OF(sizes); i++)
            drop(&beside[i]);
    }
    struct held aligned_block = aligned(1 << 20, 2000000);
    resize(&aligned_block, 4000000);
    resize(&aligned_block, 100);
    drop(&aligned_block);
}

/* Freed memory whose pages went back, or could not, is zeroed for calloc like any other. */
static void purging(void) {
    static struct held held[12];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(held); i++)
            held[i] = allocated(40000 + i * 30000);
        for (size_t i = 0; i < COUNT_OF(held); i++)
            drop(&held[i]);
        hak_pool_purge(UINT64_MAX / 2, 0, 1000);
        hak_huge_purge(UINT64_MAX / 2, 0, 1000);
        for (size_t i = 0; i < COUNT_OF(held); i++)
            held[i] = zeroed(40000 + i * 30000);
        for (size_t i = 0; i < COUNT_OF(held); i++)
            drop(&held[i]);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

enum {
    BATCH = 700
}; /* blocks of one class: more than a thread keeps, so that the depot gets some */
static struct held passed[4][BATCH];

static size_t size_of(size_t row, size_t i) {
    static const size_t sizes[4] = {40, 200, 3000, 0};
    return sizes[row] ? sizes[row] : (i * 97 + 17) % 30000;
}

static void fill_row(size_t row) {
    for (size_t i = 0; i < BATCH; i += row == 3 ? 9 : 1)
        passed[row][i] = allocated(size_of(row, i));
}

static void drop_row(size_t row) {
    for (size_t i = 0; i < BATCH; i++)
        drop(&passed[row][i]);
}

/* Frees what another thread left in one row, and leaves blocks in the next. */
static void *passer(void *argument) {
    size_t row = (size_t)(uintptr_t)argument;
    drop_row(row);
    fill_row((row + 1) % 4);
    struct held own = allocated(600000);
    drop(&own);
    return NULL;
}

/* Frees only: its first call of the allocator is free. */
static void *releaser(void *argument) {
    drop_row((size_t)(uintptr_t)argument);
    return NULL;
}

static void in_a_thread(void *(*function)(void *), size_t row) {
    pthread_t thread;
    int result = pthread_create(&thread, NULL, function, (void *)(uintptr_t)row);
    if (result == 0) {
        pthread_join(thread, NULL);
        return;
    }
    if (result != EAGAIN && result != ENOMEM)
        give_up("pthread_create returned %d", result);
    refused++;
}

static void two_threads(size_t row) {
    pthread_t first, second;
    int one = pthread_create(&first, NULL, passer, (void *)(uintptr_t)row);
    int two = pthread_create(&second, NULL, passer, (void *)(uintptr_t)(row + 2));
    refused += (one != 0) + (two != 0);
    if (one == 0)
        pthread_join(first, NULL);
    if (two == 0)
        pthread_join(second, NULL);
}

static void threading(void) {
    fill_row(0);
    in_a_thread(passer, 0);
    in_a_thread(passer, 1);
    in_a_thread(releaser, 2);
    two_threads(1);
    two_threads(0);
    in_a_thread(releaser, 1);
    for (size_t row = 0; row < 4; row++)
        drop_row(row);
}

unsigned scenario(void) {
    refused = 0;
    every_size();
    every_alignment();
    resizing();
    purging();
    threading();
    return refused;
}
