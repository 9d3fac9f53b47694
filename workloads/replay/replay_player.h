/* Plays a thread's stream of calls: what replay measures. */
#ifndef REPLAY_PLAYER_H
#define REPLAY_PLAYER_H

#include <stdatomic.h>
#include <stdint.h>

#include "replay_plan.h"
#include "wl_block.h"
#include "wl_driver.h"

/* How much of a new block is written to. */
typedef enum { REPLAY_TOUCH_ENDS, REPLAY_TOUCH_PAGES, REPLAY_TOUCH_ALL } replay_touch;

/* Where the address of a shared block lies. A cache line of its own: threads that use neighbouring
 * slots would else slow each other down, whatever the allocator does. */
typedef struct {
    _Alignas(64) void *block;
    _Atomic uint32_t turn; /* calls made on the slot, modulo 2^32, in this loop */
    wl_tag tag;            /* with --check */
} replay_shared;

/* A player: one thread's place in its stream. */
typedef struct {
    _Alignas(128) const uint64_t *next;
    void **local;          /* blocks in its own slots */
    wl_tag *tags;          /* with --check, else NULL */
    replay_shared *shared; /* of all threads */
    wl_block_user user;
    unsigned patience; /* looks at a shared slot before it gives up the processor */
    replay_touch touch;
    uint64_t waits; /* calls that found their shared slot's turn not come */
} replay_player;

/* The loop of each mode (WL_MODE_...), plain and timed: plays so many calls of a replay_player. */
typedef struct {
    wl_loop *plain, *timed;
} replay_loops;
extern const replay_loops replay_loops_of[WL_MODES];

#endif
