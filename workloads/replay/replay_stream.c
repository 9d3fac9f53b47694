/* A thread's stream of calls, read a piece at a time from a file in memory. */
#include "replay_stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "wl_fail.h"

enum { FEW_CALLS = 32 };

const uint64_t *replay_stream_rewind(replay_stream *stream) {
    stream->at = stream->begin;
    stream->limit = stream->piece;
    return stream->piece;
}

static void read_words(replay_stream *stream, uint64_t *into, uint64_t count) {
    size_t done = 0, bytes = (size_t)(count * sizeof *into);
    while (done < bytes) {
        ssize_t got = pread(stream->file, (char *)into + done, bytes - done,
                            (off_t)(stream->at * sizeof *into + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            wl_fail(WL_EXIT_RUN, "the compiled trace can't be read (%s)", strerror(errno));
        done += (size_t)got;
    }
    stream->at += count;
}

uint64_t replay_stream_fill(replay_stream *stream, const uint64_t **next) {
    uint64_t held = (uint64_t)(stream->limit - *next);
    if (held < FEW_CALLS * REPLAY_WORDS_A_CALL && stream->at < stream->end) {
        memmove(stream->piece, *next, (size_t)held * sizeof **next);
        uint64_t more = stream->room - held;
        if (more > stream->end - stream->at)
            more = stream->end - stream->at;
        read_words(stream, stream->piece + held, more);
        held += more;
        *next = stream->piece;
        stream->limit = stream->piece + held;
    }
    return stream->at == stream->end ? UINT64_MAX : held / REPLAY_WORDS_A_CALL;
}
