/* What a thread's beginning and end mean for the crash log. */
#include "heap/trace.h"
#include "os/os.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A stack for signal handlers, unless the thread has one: a program's own stays. */
static void give_signal_stack(struct hak_trace *trace) {
    stack_t now;
    if (sigaltstack(NULL, &now) != 0 || !(now.ss_flags & SS_DISABLE))
        return;
    if (!trace->signal_stack)
        trace->signal_stack = hak_os_meta(HAK_SIGNAL_STACK, 4096);
    stack_t own = {.ss_sp = trace->signal_stack, .ss_size = HAK_SIGNAL_STACK};
    if (own.ss_sp)
        sigaltstack(&own, NULL);
}

/* relaxed, here and below: the ids are for messages only */
static void note_ids(struct hak_trace *trace) {
    atomic_store_explicit(&trace->process, (int)getpid(), memory_order_relaxed);
    atomic_store_explicit(&trace->thread, (int)syscall(SYS_gettid), memory_order_relaxed);
}

/* relaxed: as above */
void hak_trace_enter(struct hak_trace *trace) {
    int kept = errno;
    note_ids(trace);
    if (!trace->events)
        trace->events = hak_os_meta(sizeof *trace->events, HAK_CACHE_LINE);
    if (trace->events)
        atomic_store_explicit(&trace->events->count, 0, memory_order_relaxed);
    hak_events = trace->events;
    give_signal_stack(trace);
    errno = kept;
}

/* relaxed: as above */
void hak_trace_leave(struct hak_trace *trace) {
    int kept = errno;
    atomic_store_explicit(&trace->thread, 0, memory_order_relaxed);
    hak_events = NULL;
    /* The next thread with this heap gets it. */
    stack_t now, none = {.ss_flags = SS_DISABLE};
    if (trace->signal_stack && sigaltstack(NULL, &now) == 0 && now.ss_sp == trace->signal_stack)
        sigaltstack(&none, NULL);
    errno = kept;
}

/* relaxed: as above */
void hak_trace_forked(struct hak_trace *trace) {
    if (atomic_load_explicit(&trace->process, memory_order_relaxed))
        note_ids(trace);
}
