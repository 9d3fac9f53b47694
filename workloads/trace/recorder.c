/* Streams: how threads get their parts of the file, and what happens when they end or fork. */
#include "recorder.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "next.h"
#include "process.h"

static trace_stream nowhere; /* no record fits */
TRACE_LOCAL trace_self self = {.stream = &nowhere};

trace_clock trace_clock_kind = TRACE_CLOCK_NS;
_Atomic uint64_t trace_order;

static pthread_key_t ends; /* its destructor is told of a thread's end */
static _Atomic bool have_ends;

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif
enum { SMALLEST_REMNANT = 512, LARGEST_CHUNK = 1 << 16 }; /* bytes */

/* ---- streams ------------------------------------------------------------------------------- */

static void close_segment(trace_stream *stream) {
    if (stream->segment)
        stream->segment->end = (uint32_t)(stream->cursor - (uint8_t *)stream->segment);
    stream->segment = NULL;
    stream->limit = stream->cursor;
}

/* What is left of the chunk goes to the next thread, if it is worth that. Under the lock. */
static void leave_chunk(trace_process *process, trace_stream *stream) {
    if (!stream->chunk)
        return;
    close_segment(stream);
    uint64_t used = (uint64_t)(stream->cursor - stream->chunk + 7) & ~(uint64_t)7;
    if (used + SMALLEST_REMNANT <= stream->chunk_bytes && process->remnants < TRACE_REMNANTS)
        process->remnant[process->remnants++] =
            (trace_remnant){stream->chunk, stream->chunk_bytes, used};
    else
        munmap(stream->chunk, stream->chunk_bytes);
    stream->chunk = NULL;
    stream->cursor = stream->limit = NULL;
}

/* Begins a segment at `at` in the stream's chunk. Its time is now: of what is stamped after. */
static void begin_segment(trace_stream *stream, uint64_t at) {
    trace_segment *segment = (trace_segment *)(void *)(stream->chunk + at);
    segment->thread = stream->thread;
    segment->sequence = stream->segments++;
    segment->room = (uint32_t)(stream->chunk_bytes - at);
    segment->tid = stream->tid;
    segment->ticks = trace_stamp();
    segment->ns = trace_clock_ns();
    prctl(PR_GET_NAME, segment->name);
    /* release: the magic commits what was stored before */
    __atomic_store_n(&segment->magic, TRACE_SEGMENT_MAGIC, __ATOMIC_RELEASE);
    stream->segment = segment;
    stream->ticks = segment->ticks;
    stream->anchor[0] = stream->anchor[1] = 0;
    stream->cursor = (uint8_t *)(segment + 1);
    stream->limit = stream->chunk + stream->chunk_bytes - TRACE_RECORD_ROOM;
}

/* A chunk for the stream: another thread's remnant, if it has none of its own yet, or a new one.
 * Under the lock; false: recording has stopped. */
static bool take_chunk(trace_process *process, trace_stream *stream) {
    leave_chunk(process, stream);
    if (process->remnants > 0 && stream->growth == 0) {
        trace_remnant remnant = process->remnant[--process->remnants];
        stream->chunk = remnant.chunk;
        stream->chunk_bytes = remnant.bytes;
        begin_segment(stream, remnant.used);
        return true;
    }
    uint64_t bytes = stream->growth ? stream->growth : process->file.header->unit;
    stream->chunk = trace_process_chunk(process, &bytes);
    if (!stream->chunk)
        return false;
    stream->chunk_bytes = bytes;
    uint64_t grown = 2 * bytes;
    stream->growth = grown < LARGEST_CHUNK ? grown : bytes > LARGEST_CHUNK ? bytes : LARGEST_CHUNK;
    begin_segment(stream, 0);
    return true;
}

/* This thread's stream, made or made anew; NULL if there is no memory. Under the lock. */
static trace_stream *own_stream(trace_process *process) {
    trace_stream *stream = self.stream;
    if (stream != &nowhere && stream->used)
        return stream;
    stream = trace_process_stream(process);
    if (!stream)
        return NULL;
    *stream = (trace_stream){.used = true};
    if (self.ended) {
        stream->thread = self.thread;
        stream->segments = self.segments;
        stream->tid = self.tid;
    } else {
        stream->thread = process->file.header->threads++;
        stream->tid = (int32_t)syscall(SYS_gettid);
    }
    self.stream = stream;
    return stream;
}

static void give_back(trace_process *process, trace_stream *stream) {
    leave_chunk(process, stream);
    self.thread = stream->thread;
    self.segments = stream->segments;
    self.tid = stream->tid;
    self.stream = &nowhere;
    *stream = (trace_stream){.next_free = process->free_streams};
    process->free_streams = stream;
}

/* ---- records that the inlined path does not write ------------------------------------------- */

static void write_pause(trace_stream *stream, uint64_t elapsed) {
    unsigned bytes = trace_bytes(elapsed);
    uint8_t *at = stream->cursor;
    at[2] = 0; /* a time of nothing, one byte */
    trace_put(at + 3, elapsed);
    at[1] = (uint8_t)(TRACE_NULL | bytes << 4);
    trace_commit(stream, TRACE_PAUSE, at + 3 + bytes);
}

/* With an address that is no multiple of 8, stored as it is: `elapsed` below 2^24. */
static void write_raw(trace_stream *stream, trace_record kind, uint64_t elapsed, uint64_t address,
                      uint64_t size, bool sized, unsigned logarithm) {
    uint8_t *at = stream->cursor + 2;
    unsigned anchor = (unsigned)(address >> TRACE_ANCHOR_BIT) & 1;
    unsigned used = trace_bytes(elapsed), lengths = trace_bytes(address);
    trace_put(at, elapsed);
    unsigned first = (unsigned)kind | (used - 1) << 4 | anchor << 6 | 1u << 7;
    at += used;
    trace_put(at, address);
    at += lengths;
    stream->anchor[anchor] = address & ~(uint64_t)7;
    if (sized) {
        used = trace_bytes(size);
        trace_put(at, size);
        lengths |= used << 4;
        at += used;
    }
    if (trace_has_alignment(kind))
        *at++ = (uint8_t)logarithm;
    stream->cursor[1] = (uint8_t)lengths;
    trace_commit(stream, first, at);
}

static bool room(trace_process *process, trace_stream *stream) {
    return stream->cursor < stream->limit || take_chunk(process, stream);
}

/* Stamped here once more: a record's time may not lie before that of its segment, and it is still
 * before the call that frees and after the one that allocated. */
static void record(trace_process *process, trace_record kind, uintptr_t address, uint64_t size,
                   bool sized, unsigned logarithm) {
    trace_stream *stream = own_stream(process);
    if (!stream) {
        trace_process_stop(process, TRACE_STOP_MAPPING, ENOMEM);
        return;
    }
    if (!room(process, stream))
        return;
    bool raw = (address & 7) != 0;
    uint64_t now = trace_stamp(), elapsed = now - stream->ticks;
    if (elapsed >> (raw ? 24 : 32)) {
        write_pause(stream, elapsed);
        stream->ticks = now;
        if (!room(process, stream))
            return;
        now = trace_stamp();
        elapsed = now - stream->ticks;
    }
    stream->ticks = now;
    if (raw)
        write_raw(stream, kind, elapsed, address, size, sized, logarithm);
    else
        trace_write(stream, kind, elapsed, address, size, sized, logarithm);
}

/* The thread's name follows the record's time. Segments have room for it: RECORD_ROOM is enough. */
static void record_end(trace_process *process, trace_stream *stream) {
    if (!room(process, stream))
        return;
    uint64_t now = trace_stamp(), elapsed = now - stream->ticks;
    if (elapsed >> 32) {
        write_pause(stream, elapsed);
        stream->ticks = now;
        elapsed = 0;
        if (!room(process, stream))
            return;
    }
    stream->ticks = now;
    uint8_t *at = stream->cursor;
    unsigned used = trace_bytes(elapsed);
    char name[TRACE_NAME] = "";
    prctl(PR_GET_NAME, name);
    trace_put(at + 2, elapsed);
    memcpy(at + 2 + used, name, sizeof name);
    at[1] = TRACE_NULL;
    trace_commit(stream, TRACE_THREAD_END | (used - 1) << 4, at + 2 + used + sizeof name);
}

void trace_record_cold(trace_record kind, uintptr_t address, uint64_t size, bool sized,
                       unsigned logarithm) {
    int error = errno;
    trace_mode mode = self.mode;
    self.mode = TRACE_INSIDE;
    trace_process *process = trace_process_enter();
    if (process) {
        record(process, kind, address, size, sized, logarithm);
        if (self.ended && self.stream != &nowhere)
            give_back(process, self.stream);
        trace_process_leave(process);
        /* relaxed: set once, before other threads are there */
        if (atomic_load_explicit(&have_ends, memory_order_relaxed) && !self.ended &&
            self.stream != &nowhere && !pthread_getspecific(ends))
            pthread_setspecific(ends, self.stream);
    }
    self.mode = mode;
    errno = error;
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* The destructors of other keys may still free: those of the last round come before this. */
static void thread_ends(void *value) {
    (void)value;
    trace_stream *stream = self.stream;
    if (stream == &nowhere || !stream->used)
        return;
    if (++stream->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(ends, stream);
        return;
    }
    trace_mode mode = self.mode;
    self.mode = TRACE_INSIDE;
    trace_process *process = trace_process_enter();
    if (process) {
        record_end(process, stream);
        give_back(process, stream);
        self.ended = true;
        trace_process_leave(process);
    }
    self.mode = mode;
}

/* The process ends by exit. Calls that still come get a new chunk. */
__attribute__((destructor)) static void process_ends(void) {
    self.mode = TRACE_INSIDE;
    trace_process *process = trace_process_enter_old();
    if (process) {
        trace_stream *stream = self.stream;
        const uint8_t *last = NULL;
        uint64_t behind = 0; /* bytes between the last record and the chunk's end */
        if (stream != &nowhere && stream->used && stream->chunk) {
            close_segment(stream);
            behind = (uint64_t)(stream->chunk + stream->chunk_bytes - stream->cursor);
            last = stream->chunk;
            munmap(stream->chunk, stream->chunk_bytes);
            stream->chunk = stream->cursor = stream->limit = NULL;
            stream->growth = 0;
        }
        trace_process_end(process, last, behind);
        trace_process_leave(process);
    }
    self.mode = TRACE_OUTSIDE;
}

static void before_fork(void) {
    const trace_stream *stream = self.stream;
    trace_process_fork(trace_stamp(), stream->used ? stream->thread : UINT32_MAX);
}

static void after_fork_in_parent(void) {
    trace_process_fork(0, UINT32_MAX);
}

static void after_fork_in_child(void) {
    self.ended = false;
    self.stream = &nowhere;
    trace_process_forked(trace_stamp());
}

/* Called once, with the process still alone. */
__attribute__((constructor)) static void set_up(void) {
    trace_mode mode = self.mode;
    self.mode = TRACE_INSIDE;
    if (!next.malloc)
        trace_next_find();
    have_ends = pthread_key_create(&ends, thread_ends) == 0;
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    self.mode = mode;
}
