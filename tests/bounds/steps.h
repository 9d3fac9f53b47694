/* Counts the work of calls: the allocator in these programs is compiled with
 * -fsanitize-coverage=trace-pc, which calls a function of ours in every basic block. So a loop that
 * nobody thought of is counted as well, and the counts are the same on a fast and a slow machine.
 */
#ifndef BOUNDS_STEPS_H
#define BOUNDS_STEPS_H

#include <stdint.h>

/* The calling thread's steps: basic blocks of the allocator. */
extern _Thread_local uint64_t steps_done;

/* Called at each step of the calling thread with its place, if not NULL. */
extern _Thread_local void (*steps_hook)(uintptr_t place);

#endif
