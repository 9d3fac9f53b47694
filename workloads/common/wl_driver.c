/* What every driver has in common: its start and the figures of a phase. */
#include "wl_driver.h"

#include "wl_clock.h"
#include "wl_crash.h"
#include "wl_fail.h"
#include "wl_process.h"

void wl_driver_start(const char *workload) {
    wl_set_program(workload);
    wl_crash_install();
    wl_process_open();
    wl_ticks_start();
}

wl_phase wl_phase_between(const wl_run *run, const char *name, wl_mark from, wl_mark to,
                          uint64_t operations) {
    const wl_usage *a = &run->marks[from], *b = &run->marks[to];
    return (wl_phase){
        .name = name,
        .operations = operations,
        .wall_seconds = (double)(b->wall_ns - a->wall_ns) / 1e9,
        .cpu_seconds =
            (double)(b->cpu_user_ns - a->cpu_user_ns + b->cpu_system_ns - a->cpu_system_ns) / 1e9,
        .rss_bytes = b->rss_bytes,
        .minor_faults = b->minor_faults - a->minor_faults,
    };
}
