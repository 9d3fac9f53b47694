/* What the recorder keeps of this process: its file, its lock, its streams. All of it is zeros in a
 * child after fork, which so finds that it has no file yet. */
#ifndef TRACE_PROCESS_H
#define TRACE_PROCESS_H

#include "recorder.h"
#include "trace_file.h"

enum { TRACE_REMNANTS = 64 };

/* The unused end of a chunk whose thread has ended; the chunk is mapped. */
typedef struct {
    uint8_t *chunk;
    uint64_t bytes, used;
} trace_remnant;

typedef struct {
    _Atomic int lock;  /* 0 free, 1 taken, 2 taken and waited for */
    _Atomic int state; /* 0 new, 1 recording, 2 stopped or never begun */
    trace_file file;
    trace_stream *free_streams;
    trace_stream *fresh, *fresh_end; /* never used yet */
    unsigned remnants;
    trace_remnant remnant[TRACE_REMNANTS];
    uint8_t *last_chunk; /* the one at the file's end */
    uint64_t last_chunk_bytes;
} trace_process;

/* This process, with its file made if it is new, and locked until trace_process_leave. NULL:
 * nothing is recorded (any more). Not to be called by a thread that has it already. */
trace_process *trace_process_enter(void);
/* The same; NULL also if the process is new. */
trace_process *trace_process_enter_old(void);
void trace_process_leave(trace_process *process);

/* A free stream, its content undefined; NULL: no memory. */
trace_stream *trace_process_stream(trace_process *process);

/* The next chunk of the file, mapped, of `*bytes` or, near the bound of the file, fewer. NULL:
 * there is none, and recording has stopped, which was said. */
uint8_t *trace_process_chunk(trace_process *process, uint64_t *bytes);

/* Stops recording for good, and says so. */
void trace_process_stop(trace_process *process, trace_stop why, int error);

/* Notes the end, and cuts what the file has too much: behind its last chunk, and if that is `last`,
 * which is no longer mapped, `behind` bytes of it, too. */
void trace_process_end(trace_process *process, const uint8_t *last, uint64_t behind);

/* The thread that forks, and when; in the child: when it had come to be. */
void trace_process_fork(uint64_t before, uint32_t thread);
void trace_process_forked(uint64_t after);

#endif
