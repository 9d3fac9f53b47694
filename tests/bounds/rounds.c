/* The calls of a round, and the blocks that wait to be freed by another thread. */
#include "rounds.h"
#include "../stress/common.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define EXCHANGE 256u
#define BURST    200u
static _Atomic(void *) exchange[EXCHANGE]; /* each thread frees what another left here */

static void *allocate(size_t size) {
    char *block = malloc(size);
    if (!block)
        fail("no memory for %zu bytes", size);
    block[0] = 1;
    return block;
}

static size_t below(uint64_t *seed, size_t bound) {
    return (size_t)(random_next(seed) % bound);
}

static void single_calls(struct rounds *rounds) {
    for (unsigned i = 0; i < 300; i++) {
        void **place = &rounds->table[below(&rounds->seed, ROUND_TABLE)];
        free(*place);
        *place = allocate(8 + below(&rounds->seed, 992));
        if (i % 4)
            continue;
        _Atomic(void *) *meeting = &exchange[below(&rounds->seed, EXCHANGE)];
        free(atomic_exchange(meeting, allocate(below(&rounds->seed, 200))));
    }
}

static void bursts(struct rounds *rounds) {
    void *blocks[BURST];
    size_t size = (size_t)16 << below(&rounds->seed, 12);
    for (unsigned i = 0; i < BURST; i++)
        blocks[i] = allocate(size);
    for (unsigned i = 0; i < BURST; i++)
        free(blocks[i]);
}

static void large_blocks(struct rounds *rounds) {
    void *blocks[6];
    for (unsigned i = 0; i < 6; i++)
        blocks[i] = allocate(40000 + below(&rounds->seed, i < 4 ? 900000 : 5000000));
    for (unsigned i = 0; i < 6; i++)
        free(blocks[i]);
    char *block = NULL;
    for (size_t size = 8; size < (size_t)3 << 20; size *= 3)
        if (!(block = realloc(block, size)))
            fail("no memory for %zu bytes", size);
    free(block);
}

void round_of_everything(struct rounds *rounds) {
    single_calls(rounds);
    bursts(rounds);
    large_blocks(rounds);
}

void rounds_end(struct rounds *rounds) {
    for (unsigned i = 0; i < ROUND_TABLE; i++)
        free(rounds->table[i]);
    for (unsigned i = 0; i < EXCHANGE; i++)
        free(atomic_exchange(&exchange[i], NULL));
    memset(rounds->table, 0, sizeof rounds->table);
}
