/* What a thread heap keeps for the crash log: who uses it, the thread's last events, and a stack
 * for signal handlers, so that a crash for want of stack can be told of. HAKMEM_CRASH_LOG=1 only.
 */
#ifndef HAK_TRACE_H
#define HAK_TRACE_H

#include "base/events.h"

struct hak_trace {
    _Atomic int process, thread;   /* ids of the system; 0: nobody uses the heap, or none is kept */
    struct hak_event_ring *events; /* NULL: none */
    char *signal_stack;            /* HAK_SIGNAL_STACK bytes; NULL: none */
};

#define HAK_SIGNAL_STACK ((size_t)65536)

/* The calling thread begins to use the heap, and ends. */
void hak_trace_enter(struct hak_trace *trace);
void hak_trace_leave(struct hak_trace *trace);

/* The calling thread, which uses the heap, is that of a new process; nothing where none is kept. */
void hak_trace_forked(struct hak_trace *trace);

#endif
