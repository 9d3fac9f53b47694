/* What the compiler calls in each basic block of the allocator. */
#include "steps.h"

#include <stddef.h>

_Thread_local uint64_t steps_done;
_Thread_local void (*steps_hook)(uintptr_t place);

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) {
    steps_done++;
    if (steps_hook)
        steps_hook((uintptr_t)__builtin_return_address(0));
}
