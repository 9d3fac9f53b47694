/* What the functions that the program calls share: whether a call is the program's own. */
#ifndef TRACE_CALLS_H
#define TRACE_CALLS_H

#include "next.h"
#include "recorder.h"

#define TRACE_API         __attribute__((visibility("default")))
#define TRACE_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* From here on calls are the allocator's own. Returns what the thread was doing, for the two below.
 */
static inline trace_mode trace_go_in(void) {
    trace_mode mode = self.mode;
    self.mode = TRACE_INSIDE;
    return mode;
}

/* Whether the call is the program's. */
static inline bool trace_is_ours(trace_mode mode) {
    return mode != TRACE_INSIDE;
}

/* The call has returned. In operator new there is one allocation to record as that, which was this.
 */
static inline bool trace_go_out(trace_mode mode) {
    self.mode = mode == TRACE_IN_NEW ? TRACE_OUTSIDE : mode;
    return trace_is_ours(mode);
}

/* Of an alignment, rounded down; 0 for 0. */
static inline unsigned trace_logarithm(size_t alignment) {
    return 63u - (unsigned)__builtin_clzll((unsigned long long)alignment | 1);
}

#endif
