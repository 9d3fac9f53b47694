/* The calls of a recording in the order in which they were made: what the player is compiled from.
 */
#ifndef REPLAY_EVENT_H
#define REPLAY_EVENT_H

#include <stdbool.h>
#include <stdint.h>

/* What free(NULL) frees. */
#define REPLAY_NO_BLOCK UINT32_MAX

typedef enum {
    REPLAY_MALLOC,
    REPLAY_CALLOC,
    REPLAY_ALIGNED,
    REPLAY_REALLOC_NEW, /* of NULL */
    REPLAY_REALLOC,     /* the block keeps its number, also where it moved */
    REPLAY_REALLOC_END, /* to size 0, where the recorded allocator freed the block */
    REPLAY_FREE
} replay_call;

/* One call. */
typedef struct {
    uint64_t time_ns; /* since the recording's begin */
    uint64_t size;    /* bytes asked for; 0 where the call frees */
    uint32_t thread;  /* from 0 on */
    uint32_t block;   /* from 0 on; no two blocks have the same number */
    uint8_t call;     /* replay_call */
    uint8_t align;    /* power of two of the alignment asked for; 0 but for REPLAY_ALIGNED */
} replay_event;

/* A whole recording, on mappings of the driver. */
typedef struct {
    replay_event *events;
    uint64_t count, room;
    uint32_t threads, blocks;
    /* What was recorded and is not played: frees of blocks that were there before the recording
     * began (in a forked child those of its parent), and calls that failed. */
    uint64_t inherited, failed;
    uint64_t resized; /* inherited blocks whose realloc is played as a malloc */
    bool has_times;   /* false: `time_ns` counts calls, and is no time */
    uint64_t lost;    /* blocks whose free was not recorded: the player frees them at the end */
    char
        stopped[160]; /* why the recording ended before the program did, a clause; "": it did not */
} replay_events;

#endif
