/* A round of everything that an allocator is asked for, for threads that exchange blocks. */
#ifndef BOUNDS_ROUNDS_H
#define BOUNDS_ROUNDS_H

#include <stdint.h>

#define ROUND_TABLE 512u

/* A thread's part; zeros at first, but for the seed (random_state in stress/common.h). */
struct rounds {
    uint64_t seed;
    void *table[ROUND_TABLE];
};

/* Small blocks by single calls and in bursts, blocks of and for other threads that do the same,
 * spans, huge blocks, a block that grows; some milliseconds. Ends the program where there is no
 * memory. */
void round_of_everything(struct rounds *rounds);

/* Frees what the thread holds, and what waits for other threads. */
void rounds_end(struct rounds *rounds);

#endif
