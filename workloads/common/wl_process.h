/* What the kernel knows of this process: resident memory, processor time, page faults. */
#ifndef WL_PROCESS_H
#define WL_PROCESS_H

#include <stdint.h>

typedef struct {
    int64_t wall_ns;
    int64_t cpu_user_ns;
    int64_t cpu_system_ns;
    uint64_t minor_faults;
    uint64_t major_faults;
    uint64_t rss_bytes;
} wl_usage;

/* Opens /proc/self/status for the readings below. Call once, before threads start; ends the program
 * with exit status 1 where there is no /proc. */
void wl_process_open(void);

/* VmHWM and VmRSS now, in bytes. Any thread; one pread() of some 3 us, no allocation.
 * (/proc/self/statm is read faster, but its figures may be off by some pages for each processor,
 * and then exceed the peak.) */
typedef struct {
    uint64_t peak_bytes;
    uint64_t resident_bytes;
} wl_status;
wl_status wl_process_status(void);

/* All of wl_usage now, of all threads together. Any thread; two system calls, no allocation. */
wl_usage wl_usage_now(void);

/* Minor page faults of the calling thread so far. */
uint64_t wl_thread_minor_faults(void);

/* Processors that this process may run on, at least 1. */
unsigned wl_cores(void);

#endif
