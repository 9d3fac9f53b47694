/* Works out the figures of a run from its marks and counters, and prints them. */
#include "wl_report.h"

#include "wl_clock.h"
#include "wl_fail.h"

#ifndef WORKLOAD_VARIANT
#define WORKLOAD_VARIANT "release"
#endif
#ifndef WORKLOAD_COMPILER
#define WORKLOAD_COMPILER "unknown"
#endif
#ifndef WORKLOAD_FLAGS
#define WORKLOAD_FLAGS ""
#endif

const char *const wl_build_variant = WORKLOAD_VARIANT;
const char *const wl_build_compiler = WORKLOAD_COMPILER;
const char *const wl_build_flags = WORKLOAD_FLAGS;

double wl_rate(uint64_t operations, double seconds) {
    return seconds > 0 ? (double)operations / seconds : 0.0;
}

static wl_times times_of(const wl_histogram *histogram, double tick_ns) {
    return (wl_times){
        .samples = histogram->samples,
        .p50 = wl_histogram_quantile(histogram, 0.5) * tick_ns,
        .p99 = wl_histogram_quantile(histogram, 0.99) * tick_ns,
        .p999 = wl_histogram_quantile(histogram, 0.999) * tick_ns,
        .max = (double)histogram->max_ticks * tick_ns,
        .histogram = histogram,
        .tick_ns = tick_ns,
    };
}

/* A resident size that was seen: the peak is at least that. */
static void note_resident(wl_summary *summary, uint64_t bytes) {
    if (bytes > summary->memory.peak_bytes)
        summary->memory.peak_bytes = bytes;
}

static wl_summary summarise(const wl_result *result) {
    const wl_usage *start = &result->run->marks[WL_MARK_START];
    const wl_usage *end = &result->run->marks[WL_MARK_DRAINED];
    wl_summary summary = {
        .result = result,
        .memory = wl_process_status(), /* before anything else is done with memory */
        .cores = wl_cores(),
        .wall_seconds = (double)(end->wall_ns - start->wall_ns) / 1e9,
        .cpu_user_seconds = (double)(end->cpu_user_ns - start->cpu_user_ns) / 1e9,
        .cpu_system_seconds = (double)(end->cpu_system_ns - start->cpu_system_ns) / 1e9,
        .minor_faults = end->minor_faults - start->minor_faults,
        .major_faults = end->major_faults - start->major_faults,
    };
    wl_run_rss_halves(result->run, summary.rss_halves);
    /* The kernel notes VmHWM from counters that may lag by some pages for each processor, so that
     * the resident size may have been seen a little above it. */
    for (int i = 0; i < 2; i++)
        note_resident(&summary, summary.rss_halves[i]);
    for (unsigned i = 0; i < result->memory_count; i++)
        note_resident(&summary, result->memory[i].rss_bytes);
    for (unsigned i = 0; i < result->phase_count; i++) {
        note_resident(&summary, result->phases[i].rss_bytes);
        summary.operations += result->phases[i].operations;
    }
    if (result->latency != NULL) {
        double tick_ns = wl_ticks_ns();
        summary.clock_ns = (double)wl_ticks_own_cost() * tick_ns;
        summary.malloc_times = times_of(&result->latency->malloc_times, tick_ns);
        summary.free_times = times_of(&result->latency->free_times, tick_ns);
    }
    summary.provider = wl_provider_find();
    return summary;
}

int wl_report(const wl_result *result) {
    wl_summary summary = summarise(result);
    wl_progress_last(&result->run->progress, summary.wall_seconds, summary.operations);
    wl_text text = wl_text_new();
    if (result->common->json)
        wl_write_json(&summary, &text);
    else
        wl_write_table(&summary, &text);
    wl_text_print(&text);
    return 0;
}
