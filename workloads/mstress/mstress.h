/* mstress: what its threads share, and the loops that they run. See mstress.c for what it does. */
#ifndef MSTRESS_H
#define MSTRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "wl_driver.h"
#include "wl_sizes.h"

typedef struct {
    uint64_t threads, operations, waves, scale, slots, keep, exchange, min, max, large, large_max;
    double seconds;
    wl_common common;
} mstress_options;

/*
 * A holder is where a pointer to an object lies: in a thread's table or in a shared slot. An empty
 * one holds NULL; with --none it holds, with its lowest bit set, the block that stands for the
 * object it will have, so that there are always as many such blocks as holders.
 */
typedef struct {
    _Atomic(void *) block;
    wl_tag tag; /* only with --check */
} shared_slot;

/* Shared by all threads, read-only during the run but for the slots' contents and `run`. */
typedef struct {
    mstress_options options;
    wl_sizes sizes;
    uint64_t table;       /* objects of a thread that others replace; behind them those it keeps */
    uint32_t aside_bytes; /* with --none: of every block */
    uint64_t burst;       /* objects between two looks at the time */
    int mode;
    shared_slot *slots;
    wl_run run;
} mstress;

/* What the threads of one place use one after the other; the main thread has one too. */
typedef struct {
    _Alignas(128) mstress *test;
    void **objects; /* `table` + `scale` holders */
    wl_tag *tags;   /* the same number; only with --check */
    uint64_t kept;  /* holders in use behind the table */
    uint64_t position;
    wl_random random;
    uint64_t checksum;
    wl_block_user user;
    wl_sampler sampler;
    wl_count count;
    unsigned looks;                      /* at the time */
    uint64_t allocated, freed, received; /* objects so far; received: through a slot */
    pthread_t thread;
} mstress_place;

/* The loops in every mode. `self` is a place; `count` says how many steps they take. */
typedef struct {
    /* Allocates `count` objects: each is kept, or put into the table in the place of an older one,
     * which is freed; then perhaps an object of the table is exchanged for what lies in a slot. */
    wl_loop *work, *work_timed;
    /* Frees what the thread still has in `count` holders from `position` on. */
    wl_loop *finish, *finish_timed;
    /* The main thread, while there is no other: frees what lies in every second of `count` slots,
     * chosen at random, from `position` on; collect_all: in every one. */
    wl_loop *collect, *collect_timed, *collect_all;
    /* The main thread, at the beginning: an object for every second slot, chosen at random. */
    void (*fill)(mstress_place *self);
} mstress_loops;

extern const mstress_loops mstress_loops_of[WL_MODES]; /* by the mode's bits WL_MODE_... */

#endif
