/* Threads that allocate, exchange blocks and free each other's, for as long as they are let. */
#ifndef LOAD_H
#define LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOAD_SLOTS = 256, LOAD_BROKEN = 99 };

struct load_block {
    size_t size;
    unsigned char bytes[];
};
static struct load_block *_Atomic load_slots[LOAD_SLOTS];
static atomic_uint load_begun;
static atomic_bool load_stop;

/* Ends the program with status 99: something is not as it was written. */
_Noreturn static inline void load_broken(const char *what) {
    fprintf(stderr, "%s\n", what);
    _exit(LOAD_BROKEN);
}

static inline void load_end(struct load_block *block) {
    if (!block)
        return;
    unsigned char value = (unsigned char)((uintptr_t)block >> 4 ^ block->size);
    if (block->size && (block->bytes[0] != value || block->bytes[block->size - 1] != value))
        load_broken("a block has lost its contents");
    free(block);
}

static inline void load_step(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t r = *seed >> 20;
    size_t size = r % 128 == 0 ? (r >> 8) % 2000000 : (r >> 8) % 2000;
    struct load_block *block = NULL;
    if (r % 4) {
        block = malloc(sizeof *block + size);
        if (!block)
            load_broken("malloc returned NULL");
        block->size = size;
        memset(block->bytes, (int)((uintptr_t)block >> 4 ^ size) & 0xff, size);
    }
    load_end(atomic_exchange(&load_slots[(r >> 32) % LOAD_SLOTS], block));
}

static inline void *load_run(void *argument) {
    uint64_t seed = (uintptr_t)argument * 7919;
    for (unsigned i = 0; !atomic_load(&load_stop); i++) {
        load_step(&seed);
        if (i == 20)
            atomic_fetch_add(&load_begun, 1);
    }
    return NULL;
}

/* Starts `count` detached threads, and waits until all are in the middle of it. */
static inline void load_start(unsigned count) {
    for (uintptr_t i = 1; i <= count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, load_run, (void *)i) != 0)
            load_broken("a thread can't be started");
        pthread_detach(thread);
    }
    while (atomic_load(&load_begun) < count)
        usleep(100);
}

/* Bytes of this process in memory. */
static inline size_t load_resident(void) {
    long pages[2] = {0, 0};
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &pages[0], &pages[1]) != 2)
        load_broken("/proc/self/statm can't be read");
    fclose(file);
    return (size_t)pages[1] * (size_t)sysconf(_SC_PAGESIZE);
}

#endif
