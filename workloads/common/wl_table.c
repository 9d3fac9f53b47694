/* The table of a result, for people. */
#include "wl_report.h"

#include <inttypes.h>
#include <string.h>

#include "wl_fail.h"

static double mebibytes(uint64_t bytes) {
    return (double)bytes / (1024.0 * 1024.0);
}

/* The options that give this run again. */
static void add_arguments(const wl_arg_table *table, wl_text *text) {
    wl_text_add(text, "arguments   ");
    for (size_t i = 0; i < table->arg_count; i++) {
        const wl_arg *arg = &table->args[i];
        if (arg->unused || arg->derived ||
            (arg->kind == WL_ARG_FLAG && !*(const bool *)arg->target))
            continue;
        wl_text_add(text, " --%s", arg->name);
        if (arg->kind == WL_ARG_NUMBER)
            wl_text_add(text, " %" PRIu64, *(const uint64_t *)arg->target);
        if (arg->kind == WL_ARG_SECONDS || arg->kind == WL_ARG_DECIMAL)
            wl_text_add(text, " %g", *(const double *)arg->target);
        if (arg->kind == WL_ARG_TEXT) {
            const char *value = *(const char *const *)arg->target;
            wl_text_add(text, strpbrk(value, " \t") == NULL ? " %s" : " '%s'", value);
        }
    }
    wl_text_add(text, "\n");
}

static void add_provider(const wl_summary *summary, wl_text *text) {
    const wl_provider *provider = summary->provider;
    const char *path = provider->parts[WL_PART_MALLOC];
    wl_text_add(text, "allocator    %s %s\n             %s\n", provider->name,
                provider->has_version ? provider->version : "(it does not tell its version)", path);
    if (provider->build_id[0] != '\0')
        wl_text_add(text, "             build id %s\n", provider->build_id);
    if (!provider->complete)
        for (int part = WL_PART_CALLOC; part < WL_PARTS; part++)
            if (strcmp(provider->parts[part], path) != 0)
                wl_text_add(text, "             but %s comes from %s\n", wl_part_names[part],
                            provider->parts[part][0] == '\0' ? "nowhere" : provider->parts[part]);
    if (summary->result->common->none)
        wl_text_add(text, "             not called: --none shows the loop's own cost\n");
}

/* The unit in which the run's throughput has digits to show. */
static double unit_of_rate(const wl_summary *summary, const char **name) {
    const double rate = wl_rate(summary->operations, summary->wall_seconds);
    *name = rate >= 1e5 ? "million ops/s" : rate >= 1e2 ? "thousand ops/s" : "ops/s";
    return rate >= 1e5 ? 1e6 : rate >= 1e2 ? 1e3 : 1;
}

static void add_phases(const wl_summary *summary, wl_text *text) {
    const char *unit_name;
    const double unit = unit_of_rate(summary, &unit_name);
    const wl_result *result = summary->result;
    wl_text_add(text,
                "\nphase             operations       wall s        cpu s %15s"
                "    memory MiB  page faults\n",
                unit_name);
    for (unsigned i = 0; i < result->phase_count; i++) {
        const wl_phase *phase = &result->phases[i];
        wl_text_add(text, "%-10s %17" PRIu64 " %12.6f %12.6f %15.3f %13.1f %12" PRIu64 "\n",
                    phase->name, phase->operations, phase->wall_seconds, phase->cpu_seconds,
                    wl_rate(phase->operations, phase->wall_seconds) / unit,
                    mebibytes(phase->rss_bytes), phase->minor_faults);
    }
    wl_text_add(text, "%-10s %17" PRIu64 " %12.6f %12.6f %15.3f %13s %12" PRIu64 "\n", "total",
                summary->operations, summary->wall_seconds,
                summary->cpu_user_seconds + summary->cpu_system_seconds,
                wl_rate(summary->operations, summary->wall_seconds) / unit, "",
                summary->minor_faults);
}

static void add_times(const char *name, const wl_times *times, wl_text *text) {
    if (times->samples == 0) {
        wl_text_add(text, "%-10s %17d %12s %12s %12s %12s\n", name, 0, "-", "-", "-", "-");
        return;
    }
    wl_text_add(text, "%-10s %17" PRIu64 " %12.1f %12.1f %12.1f %12.1f\n", name, times->samples,
                times->p50, times->p99, times->p999, times->max);
}

static void add_latency(const wl_summary *summary, wl_text *text) {
    wl_text_add(text,
                "\ntime of a call, ns; one call in %d was timed; %.1f of it is the clock's own\n",
                wl_sample_every(summary->result), summary->clock_ns);
    wl_text_add(text, "%-10s %17s %12s %12s %12s %12s\n", "", "samples", "p50", "p99", "p99.9",
                "worst");
    add_times(summary->result->call == NULL ? "malloc" : summary->result->call,
              &summary->malloc_times, text);
    add_times("free", &summary->free_times, text);
}

/* At most so many lines; the JSON object has all. */
enum { COURSE_LINES = 8 };

static void add_course(const wl_result *result, wl_text *text) {
    const unsigned count = result->memory_count;
    wl_text_add(text, "\n%-10s %17s %12s %12s %12s\n", "memory", "operations", "time s", "live MiB",
                "resident MiB");
    const unsigned lines = count < COURSE_LINES ? count : COURSE_LINES;
    for (unsigned i = 1; i <= lines; i++) {
        const wl_memory_point *point = &result->memory[(size_t)count * i / lines - 1];
        wl_text_add(text, "%-10s %17" PRIu64 " %12.4f %12.2f %12.2f\n", "", point->operations,
                    point->seconds, mebibytes(point->live_bytes), mebibytes(point->rss_bytes));
    }
}

void wl_write_table(const wl_summary *summary, wl_text *text) {
    const wl_result *result = summary->result;
    wl_text_add(text, "workload     %s, %s build by %s, on %u processor%s\n", wl_program(),
                wl_build_variant, wl_build_compiler, summary->cores,
                summary->cores == 1 ? "" : "s");
    add_arguments(result->args, text);
    add_provider(summary, text);
    wl_text_add(text, "operations   ");
    wl_text_add_grouped(text, summary->operations);
    wl_text_add(text, " in %.3f s, ", summary->wall_seconds);
    wl_text_add_grouped(text, (uint64_t)wl_rate(summary->operations, summary->wall_seconds));
    wl_text_add(text, " a second\nprocessor    %.3f s user, %.3f s system\n",
                summary->cpu_user_seconds, summary->cpu_system_seconds);
    wl_text_add(text,
                "memory       %.1f MiB at the peak, %.1f at the end; peak of the run's first half "
                "%.1f, of the second %.1f\n",
                mebibytes(summary->memory.peak_bytes), mebibytes(summary->memory.resident_bytes),
                mebibytes(summary->rss_halves[0]), mebibytes(summary->rss_halves[1]));
    wl_text_add(text, "page faults  %" PRIu64 " minor, %" PRIu64 " major\n", summary->minor_faults,
                summary->major_faults);
    if (result->has_checksum)
        wl_text_add(text, "checksum     0x%016" PRIx64 " of the sequence of sizes and choices\n",
                    result->checksum);
    if (result->common->check) {
        wl_text_add(text, "check        ");
        wl_text_add_grouped(text, result->blocks_checked);
        wl_text_add(text, " blocks verified, no error\n");
    }
    if (result->note != NULL)
        wl_text_add(text, "note         %s\n", result->note);
    add_phases(summary, text);
    if (result->memory_count > 0)
        add_course(result, text);
    if (result->latency != NULL)
        add_latency(summary, text);
}
