/*
 * A thread's stream of calls, read a piece at a time from a file in memory. A recording has
 * millions of calls; were they all mapped, they would be in the resident size that the replay
 * reports. Reading a piece costs 1 ns a call.
 */
#ifndef REPLAY_STREAM_H
#define REPLAY_STREAM_H

#include <stdint.h>

enum {
    REPLAY_WORDS_A_CALL = 3, /* at most */
    REPLAY_PIECE_WORDS = 8192,
    REPLAY_SMALL_PIECE_WORDS = 1024 /* where there are many threads */
};

typedef struct {
    int file;
    uint64_t begin, end; /* words in the file, before the first and behind the last */
    uint64_t at;         /* the first word that was not read yet */
    uint64_t *piece;     /* `room` words */
    uint64_t room;
    const uint64_t *limit; /* behind the last word in `piece` */
} replay_stream;

/* Begins again; returns where the first word will be once it was filled. One thread a stream. */
const uint64_t *replay_stream_rewind(replay_stream *stream);

/* How many calls from *next on the piece holds at least, UINT64_MAX where it holds all that are
 * left. Reads on, and moves *next, where it holds few. Ends the program with exit status 1 if the
 * file can't be read. */
uint64_t replay_stream_fill(replay_stream *stream, const uint64_t **next);

#endif
