/* The two forms of a driver's result: a JSON object for programs, a table for people. */
#ifndef WL_REPORT_H
#define WL_REPORT_H

#include "wl_driver.h"
#include "wl_process.h"
#include "wl_provider.h"
#include "wl_text.h"

/* Times of one kind of call, in nanoseconds. */
typedef struct {
    uint64_t samples;
    double p50, p99, p999, max;
    const wl_histogram *histogram; /* of ticks, */
    double tick_ns;                /* each so long */
} wl_times;

/* A process of a run that consists of several. */
typedef struct {
    const char *name;
    double cpu_seconds;
    uint64_t peak_bytes; /* its greatest resident size */
} wl_process;

/* A result with what was worked out from it. */
typedef struct {
    const wl_result *result;
    const wl_provider *provider;
    unsigned cores;
    uint64_t operations;
    double wall_seconds, cpu_user_seconds, cpu_system_seconds;
    wl_status memory;
    uint64_t rss_halves[2];
    uint64_t minor_faults, major_faults;
    double clock_ns;
    wl_times malloc_times, free_times;
    const wl_process *processes; /* of a program that was measured from outside */
    unsigned process_count;      /* 0: a driver that measured itself */
} wl_summary;

/* Operations a second; 0 where no time has passed. */
double wl_rate(uint64_t operations, double seconds);

void wl_write_json(const wl_summary *summary, wl_text *text);
void wl_write_table(const wl_summary *summary, wl_text *text);

/* How the driver was built. */
extern const char *const wl_build_variant;
extern const char *const wl_build_compiler;
extern const char *const wl_build_flags;

#endif
