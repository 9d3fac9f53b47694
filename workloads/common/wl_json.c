/* The JSON object of a result, as docs/driver-interface.md describes it. */
#include "wl_report.h"

#include <inttypes.h>

#include "wl_fail.h"

static void add_string(wl_text *text, const char *name, const char *value) {
    wl_text_add(text, "\"%s\": ", name);
    wl_text_add_json_string(text, value);
}

static void add_arguments(const wl_arg_table *table, wl_text *text) {
    const char *separator = "";
    wl_text_add(text, "  \"arguments\": {");
    for (size_t i = 0; i < table->arg_count; i++) {
        const wl_arg *arg = &table->args[i];
        if (arg->unused)
            continue;
        wl_text_add(text, "%s\"%s\": ", separator, arg->name);
        separator = ", ";
        switch (arg->kind) {
        case WL_ARG_FLAG:
            wl_text_add(text, *(const bool *)arg->target ? "true" : "false");
            break;
        case WL_ARG_NUMBER:
            wl_text_add(text, "%" PRIu64, *(const uint64_t *)arg->target);
            break;
        case WL_ARG_SECONDS:
        case WL_ARG_DECIMAL:
            wl_text_add(text, "%.10g", *(const double *)arg->target);
            break;
        case WL_ARG_TEXT:
            wl_text_add_json_string(text, *(const char *const *)arg->target);
            break;
        }
    }
    wl_text_add(text, "},\n");
}

static void add_provider(const wl_provider *provider, wl_text *text) {
    wl_text_add(text, "  \"provider\": {");
    add_string(text, "name", provider->name);
    wl_text_add(text, ", ");
    add_string(text, "version", provider->has_version ? provider->version : NULL);
    wl_text_add(text, ",\n    ");
    add_string(text, "path", provider->parts[WL_PART_MALLOC]);
    wl_text_add(text, ",\n    ");
    add_string(text, "build_id", provider->build_id[0] == '\0' ? NULL : provider->build_id);
    wl_text_add(text, ", \"complete\": %s,\n    \"parts\": {",
                provider->complete ? "true" : "false");
    for (int part = 0; part < WL_PARTS; part++) {
        wl_text_add(text, part == 0 ? "" : ",\n      ");
        add_string(text, wl_part_names[part], provider->parts[part]);
    }
    wl_text_add(text, "}},\n");
}

static void add_phases(const wl_result *result, wl_text *text) {
    wl_text_add(text, "  \"phases\": [");
    for (unsigned i = 0; i < result->phase_count; i++) {
        const wl_phase *phase = &result->phases[i];
        wl_text_add(text,
                    "%s\n    {\"name\": \"%s\", \"operations\": %" PRIu64
                    ", \"wall_seconds\": %.9f, \"cpu_seconds\": %.9f, \"ops_per_second\": %.1f, "
                    "\"rss_bytes\": %" PRIu64 ", \"minor_faults\": %" PRIu64 "}",
                    i == 0 ? "" : ",", phase->name, phase->operations, phase->wall_seconds,
                    phase->cpu_seconds, wl_rate(phase->operations, phase->wall_seconds),
                    phase->rss_bytes, phase->minor_faults);
    }
    wl_text_add(text, "],\n");
}

static void add_figures(const wl_result *result, wl_text *text) {
    wl_text_add(text, "  \"figures\": {");
    for (unsigned i = 0; i < result->figure_count; i++) {
        const wl_figure *figure = &result->figures[i];
        wl_text_add(text, "%s\"%s\": %.*f", i == 0 ? "" : ", ", figure->name, figure->decimals,
                    figure->value);
    }
    wl_text_add(text, "},\n");
}

static void add_course(const wl_result *result, wl_text *text) {
    wl_text_add(text, "  \"memory\": [");
    for (unsigned i = 0; i < result->memory_count; i++) {
        const wl_memory_point *point = &result->memory[i];
        wl_text_add(text,
                    "%s\n    {\"operations\": %" PRIu64
                    ", \"seconds\": %.9f, \"live_bytes\": %" PRIu64 ", \"rss_bytes\": %" PRIu64 "}",
                    i == 0 ? "" : ",", point->operations, point->seconds, point->live_bytes,
                    point->rss_bytes);
    }
    wl_text_add(text, "],\n");
}

/* The buckets that hold a call, so that samples of several runs can be put together: a p99.9 of one
 * short run is its slowest call. */
static void add_histogram(const wl_times *times, wl_text *text) {
    const char *separator = "";
    wl_text_add(text, ",\n      \"histogram\": [");
    for (unsigned i = 0; i < WL_LATENCY_BUCKETS; i++) {
        uint64_t count = times->histogram->counts[i];
        if (count == 0)
            continue;
        wl_text_add(text, "%s[%.2f, %" PRIu64 "]", separator,
                    wl_histogram_time(times->histogram, i) * times->tick_ns, count);
        separator = ", ";
    }
    wl_text_add(text, "]}");
}

/* A kind of call that was never sampled has no times: null, not 0. */
static void add_times(const char *name, const wl_times *times, wl_text *text) {
    wl_text_add(text, "    \"%s\": {\"samples\": %" PRIu64, name, times->samples);
    if (times->samples == 0)
        wl_text_add(text, ", \"p50\": null, \"p99\": null, \"p999\": null, \"max\": null");
    else
        wl_text_add(text, ", \"p50\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"max\": %.2f",
                    times->p50, times->p99, times->p999, times->max);
    add_histogram(times, text);
}

/* Memory is followed through the run by a driver that measures itself; of a program that is
 * measured from outside the processes are told instead. */
static void add_memory(const wl_summary *summary, wl_text *text) {
    wl_text_add(text, "  \"peak_rss_bytes\": %" PRIu64 ", \"end_rss_bytes\": %" PRIu64 ", ",
                summary->memory.peak_bytes, summary->memory.resident_bytes);
    if (summary->process_count == 0) {
        wl_text_add(text, "\"rss_halves_bytes\": [%" PRIu64 ", %" PRIu64 "],\n",
                    summary->rss_halves[0], summary->rss_halves[1]);
        return;
    }
    wl_text_add(text, "\"rss_halves_bytes\": [],\n  \"processes\": [");
    for (unsigned i = 0; i < summary->process_count; i++) {
        wl_text_add(text, i == 0 ? "\n    {" : ",\n    {");
        add_string(text, "name", summary->processes[i].name);
        wl_text_add(text, ", \"cpu_seconds\": %.6f, \"peak_rss_bytes\": %" PRIu64 "}",
                    summary->processes[i].cpu_seconds, summary->processes[i].peak_bytes);
    }
    wl_text_add(text, "],\n");
}

void wl_write_json(const wl_summary *summary, wl_text *text) {
    const wl_result *result = summary->result;
    wl_text_add(text, "{\n  \"schema\": \"hakmem-driver\", \"schema_version\": 1,\n  ");
    add_string(text, "workload", wl_program());
    wl_text_add(text, ", ");
    add_string(text, "variant", wl_build_variant);
    wl_text_add(text, ",\n  ");
    add_string(text, "compiler", wl_build_compiler);
    wl_text_add(text, ", ");
    add_string(text, "flags", wl_build_flags);
    wl_text_add(text, ",\n  \"cores\": %u,\n", summary->cores);
    add_arguments(result->args, text);
    wl_text_add(text, "  \"mode\": \"%s\",\n", result->common->none ? "none" : "allocator");
    add_provider(summary->provider, text);
    wl_text_add(text, "  \"operations\": %" PRIu64 ", ", summary->operations);
    if (result->has_checksum)
        wl_text_add(text, "\"checksum\": \"0x%016" PRIx64 "\",\n", result->checksum);
    else
        wl_text_add(text, "\"checksum\": null,\n");
    wl_text_add(text,
                "  \"wall_seconds\": %.9f, \"cpu_user_seconds\": %.6f, "
                "\"cpu_system_seconds\": %.6f, \"ops_per_second\": %.1f,\n",
                summary->wall_seconds, summary->cpu_user_seconds, summary->cpu_system_seconds,
                wl_rate(summary->operations, summary->wall_seconds));
    add_memory(summary, text);
    wl_text_add(text, "  \"minor_faults\": %" PRIu64 ", \"major_faults\": %" PRIu64 ",\n",
                summary->minor_faults, summary->major_faults);
    add_phases(result, text);
    if (result->figure_count > 0)
        add_figures(result, text);
    if (result->memory_count > 0)
        add_course(result, text);
    if (result->latency == NULL) {
        wl_text_add(text, "  \"latency\": null,\n");
    } else {
        wl_text_add(text,
                    "  \"latency\": {\"unit\": \"ns\", \"sample_every\": %d, \"clock_ns\": %.2f,\n",
                    wl_sample_every(result), summary->clock_ns);
        add_times("malloc", &summary->malloc_times, text);
        wl_text_add(text, ",\n");
        add_times("free", &summary->free_times, text);
        wl_text_add(text, "},\n");
    }
    if (result->common->check)
        wl_text_add(text, "  \"check\": {\"blocks\": %" PRIu64 ", \"errors\": 0}\n}\n",
                    result->blocks_checked);
    else
        wl_text_add(text, "  \"check\": null\n}\n");
}
