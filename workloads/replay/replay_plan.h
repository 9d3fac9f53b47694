/*
 * The plan of a replay: for each recorded thread the stream of its calls, in its own order, with
 * the places where a call has to wait for another thread's.
 *
 * A block that one thread alone touches lies in a slot of that thread's table, and nothing is said
 * about other threads: they may be ahead or behind. A block that a second thread reallocates or
 * frees lies in a shared slot, which counts its calls in turns: each call on it knows the turn it
 * waits for. A slot is used again once its block was freed.
 *
 * Why no thread can wait for ever: all turns follow one order, that of the recording. A call waits
 * only for calls that stand before it there. Of all calls that were not made yet, look at the first
 * in that order: every call before it was made, those of its own thread among them, so its thread
 * has come to it and nothing is left to wait for.
 */
#ifndef REPLAY_PLAN_H
#define REPLAY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "replay_event.h"
#include "replay_stream.h"

enum { REPLAY_QUARTERS = 4, REPLAY_POINTS_MOST = 256 };

/* A moment of the recording: so many calls were made. */
typedef struct {
    uint64_t calls;      /* made so far, of all threads */
    uint64_t live_bytes; /* asked for and not freed */
    uint64_t live_blocks;
} replay_point;

/* One thread's part. */
typedef struct {
    replay_stream stream;
    const uint64_t *times;    /* ns since the first call, of each call; NULL unless asked for */
    const uint64_t *calls_to; /* for each point: its own calls since the point before */
    uint64_t drain_calls;     /* frees of what is left, behind the others in the stream */
    uint32_t slots;           /* in its own table */
    uint64_t *room;           /* bytes of the largest block in each slot; NULL unless asked for */
} replay_lane;

typedef struct {
    replay_lane *lanes;
    uint32_t threads;
    uint32_t shared_slots;
    uint64_t *shared_room; /* as in a lane */
    uint64_t calls;        /* recorded and played, without the drain */
    uint64_t reallocs;     /* of these, realloc of a block to another size, not to nothing */
    uint64_t frees_of_null;
    uint64_t drain_calls, drain_bytes;
    uint64_t crossings; /* recorded calls on shared slots */
    uint64_t checksum;
    replay_point points[REPLAY_POINTS_MOST];
    unsigned point_count; /* a multiple of REPLAY_QUARTERS, so that quarters end at points */
    uint64_t peak_live_bytes, peak_live_blocks;
    uint64_t recorded_ns; /* from the first call to the last; 0: no times were recorded */
} replay_plan;

typedef struct {
    unsigned points; /* wanted; fewer where the recording is short */
    bool times;      /* for recorded timing */
    bool room;       /* for blocks set aside */
    bool no_quick;   /* no REPLAY_OP_MALLOC: every block is touched in more than its ends */
} replay_wishes;

/* Makes the plan. Calls that contradict each other (a block freed that is not there) end the
 * program with exit status 2 and a sentence that names `name` and the call. The plan lies on
 * mappings of the driver and needs `events` no longer. One thread. */
replay_plan replay_plan_make(const replay_events *events, const char *name, replay_wishes wishes);

#endif
