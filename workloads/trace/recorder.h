/* The recorder's inner parts: a thread's stream, and how a call becomes a record in it.
 *
 *     calls.c, operators.c    the functions that the program calls
 *     recorder.h, recorder.c  streams: threads, segments, chunks; fork, threads' ends
 *     trace_file.c            the file: its name, its beginning, its space
 *     settings.c              the options
 *     next.c                  the allocator behind
 */
#ifndef RECORDER_H
#define RECORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "trace_format.h"

#define TRACE_LIKELY(x) __builtin_expect(!!(x), 1)
#define TRACE_COLD      __attribute__((cold, noinline))
/* The library is loaded with the program, so that its thread-locals have a place from the start. */
#define TRACE_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

/*
 * A thread's place in the file. It lies in memory that is all zeros in a child after fork, however
 * that was made: then no record fits, and the way to more room finds that the process is new.
 */
typedef struct trace_stream {
    uint8_t *cursor;    /* where the next record begins */
    uint8_t *limit;     /* it may begin before here */
    uint64_t ticks;     /* of the last record */
    uint64_t anchor[2]; /* see trace_format.h */
    trace_segment *segment;
    uint8_t *chunk; /* mapped */
    uint64_t chunk_bytes;
    uint64_t growth; /* bytes of the next chunk */
    unsigned rounds; /* of the thread's destructors */
    bool used;       /* false: free, or wiped by fork */
    uint32_t thread; /* number in the file */
    uint32_t segments;
    int32_t tid;
    struct trace_stream *next_free;
} trace_stream;

/* What a thread is doing. */
typedef enum {
    TRACE_OUTSIDE,   /* the program's own work: a call is recorded */
    TRACE_INSIDE,    /* in a call that is recorded: what that calls is not */
    TRACE_IN_NEW,    /* in operator new: its first allocation is recorded as that */
    TRACE_IN_DELETE, /* in a C++ runtime's operator delete: what it frees is recorded as that */
} trace_mode;

typedef struct {
    trace_stream *stream; /* never NULL */
    trace_mode mode;
    bool ended; /* its end is recorded; what still comes gets a segment of its own, call by call */
    uint32_t thread, segments; /* of the ended thread */
    int32_t tid;
} trace_self;

extern TRACE_LOCAL trace_self self;

extern trace_clock trace_clock_kind;
extern _Atomic uint64_t trace_order; /* the last stamp of TRACE_CLOCK_ORDER */

static inline uint64_t trace_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The processor's counter, read when everything before has been done, loads too: else a free could
 * be stamped before the block was even handed over. What follows can't be seen by others earlier.
 */
static inline uint64_t trace_counter(void) {
#if defined(__x86_64__)
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
    uint64_t count;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count)::"memory");
    return count;
#else
    return trace_clock_ns();
#endif
}

static inline uint64_t trace_stamp(void) {
    if (TRACE_LIKELY(trace_clock_kind == TRACE_CLOCK_TICKS))
        return trace_counter();
    if (trace_clock_kind == TRACE_CLOCK_NS)
        return trace_clock_ns();
    /* seq_cst: the order of the calls is what it counts */
    return atomic_fetch_add(&trace_order, 1) + 1;
}

/* Bytes that a number needs, at least 1. */
static inline unsigned trace_bytes(uint64_t number) {
    return (71u - (unsigned)__builtin_clzll(number | 1)) / 8u;
}

static inline void trace_put(uint8_t *at, uint64_t number) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    number = __builtin_bswap64(number);
#endif
    memcpy(at, &number, sizeof number);
}

static inline bool trace_has_alignment(trace_record kind) {
    return kind == TRACE_ALIGNED || kind == TRACE_NEW_ALIGNED;
}

/* The record's first byte commits it. release: the others are there before it, for who reads the
 * file meanwhile, too. */
static inline void trace_commit(trace_stream *stream, unsigned first, uint8_t *end) {
    uint8_t *start = stream->cursor;
    __atomic_store_n(start, (uint8_t)first, __ATOMIC_RELEASE);
    stream->cursor = end;
}

/* Writes the record of a call that fits: `elapsed` below 2^32, an address that is a multiple of 8.
 * Numbers are written in whole words; each overwrites the zeros of the one before it. */
static inline void trace_write(trace_stream *stream, trace_record kind, uint64_t elapsed,
                               uintptr_t address, uint64_t size, bool sized, unsigned logarithm) {
    uint8_t *at = stream->cursor + 2;
    unsigned first = (unsigned)kind, lengths = TRACE_NULL, used = trace_bytes(elapsed);
    trace_put(at, elapsed);
    first |= (used - 1) << 4;
    at += used;
    if (address) {
        unsigned anchor = (unsigned)(address >> TRACE_ANCHOR_BIT) & 1;
        int64_t distance = (int64_t)(address - stream->anchor[anchor]);
        uint64_t folded = ((uint64_t)(distance >> 3) << 1) ^ (uint64_t)(distance >> 63);
        stream->anchor[anchor] = address;
        first |= anchor << 6;
        lengths = trace_bytes(folded);
        trace_put(at, folded);
        at += lengths;
    }
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

/* The same where the record does not fit, or there is no stream yet. errno is kept. */
TRACE_COLD void trace_record_cold(trace_record kind, uintptr_t address, uint64_t size, bool sized,
                                  unsigned logarithm);

/* Records a call of this thread: inlined, so that what does not apply to `kind` vanishes.
 * `logarithm`: of the alignment; `sized`: whether the record has a size. */
static inline __attribute__((always_inline)) void trace_record_call(trace_record kind,
                                                                    const void *block,
                                                                    uint64_t size, bool sized,
                                                                    unsigned logarithm) {
    trace_stream *stream = self.stream;
    uintptr_t address = (uintptr_t)block;
    uint64_t now = trace_stamp(), elapsed = now - stream->ticks;
    if (TRACE_LIKELY(stream->cursor < stream->limit && elapsed >> 32 == 0 && (address & 7) == 0)) {
        stream->ticks = now;
        trace_write(stream, kind, elapsed, address, size, sized, logarithm);
    } else {
        trace_record_cold(kind, address, size, sized, logarithm);
    }
}

#endif
