/*
 * Runs a real program with an allocator preloaded and reports it as a driver does: processor time
 * of all its processes, peak memory of the largest, and who really served malloc in each.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process_tree.h"
#include "witness.h"
#include "wl_driver.h"
#include "wl_fail.h"
#include "wl_memory.h"
#include "wl_random.h"
#include "wl_report.h"

enum { PROCESSES_MOST = 4096 };

static wl_common common = {.seed = WL_DEFAULT_SEED};
static struct {
    const char *workload, *preload, *witness, *main, *directory, *input, *output, *result, *expect;
    uint64_t operations, work;
} options = {.workload = "program", .operations = 1, .work = 100};

#define TEXT(option, placeholder, text)                                                            \
    {                                                                                              \
        .name = #option, .value = placeholder, .help = text, .kind = WL_ARG_TEXT,                  \
        .target = &options.option, .unused = true                                                  \
    }

static wl_arg arguments[] = {
    TEXT(workload, "NAME", "what the report calls it (default: program)"),
    TEXT(preload, "LIBRARY", "serves malloc in the program; a path, or a name the loader finds"),
    TEXT(witness, "LIBRARY", "proves it (default: libwl_witness.so beside this program)"),
    TEXT(main, "NAME", "the process whose malloc counts (default: the program's name)"),
    TEXT(directory, "DIR", "where the program runs; the files below are looked for there"),
    TEXT(input, "FILE", "the program's standard input"),
    TEXT(output, "FILE", "takes the program's standard output"),
    TEXT(result, "FILE", "what the program makes (default: its output)"),
    TEXT(expect, "FILE", "what the result must be, to the byte"),
    WL_NUMBER_ARG("operations", "N", &options.operations, 1, WL_OPERATIONS_MOST,
                  "how much work the program does, in units of its own"),
    WL_NUMBER_ARG("work", "PERCENT", &options.work, 1, 10000,
                  "the size of the input, for the report"),
    WL_NUMBER_ARG("seed", "N", &common.seed, 0, UINT64_MAX,
                  "what the input was made from, for the report"),
    {.name = "json",
     .help = "one JSON object instead of the table",
     .kind = WL_ARG_FLAG,
     .target = &common.json,
     .unused = true},
};

static wl_arg_table table = {
    .summary = "runs '-- PROGRAM ARGUMENT... [-- CLIENT ARGUMENT...]' with an allocator preloaded, "
               "and measures it",
    .args = arguments,
    .arg_count = sizeof arguments / sizeof *arguments,
};

/* ---- the command line --------------------------------------------------------------------- */

static void split_command(int *argc, char **argv, wl_tree *tree) {
    int end = *argc;
    for (int i = 1; i < end; i++) {
        if (strcmp(argv[i], "--") != 0)
            continue;
        argv[i] = NULL;
        if (tree->program == NULL) {
            tree->program = argv + i + 1;
            *argc = i;
        } else if (tree->client == NULL) {
            tree->client = argv + i + 1;
        } else {
            wl_fail(WL_EXIT_USAGE, "there are three '--'; one comes before the program and one "
                                   "before its client");
        }
    }
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static const char *witness_beside_us(void) {
    static char path[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    snprintf(slash == NULL ? path : slash + 1, 32, "libwl_witness.so");
    return path;
}

static void check_options(const wl_tree *tree) {
    if (tree->program == NULL || tree->program[0] == NULL)
        wl_fail(WL_EXIT_USAGE, "no program is given; write it behind '--'");
    if (tree->client != NULL && tree->client[0] == NULL)
        wl_fail(WL_EXIT_USAGE, "the second '--' has no client behind it; leave it out or name one");
    if (options.preload == NULL)
        wl_fail(WL_EXIT_USAGE,
                "--preload is missing; name the allocator's library, the C library's "
                "libc.so.6 for the system's own");
    const char *const libraries[] = {options.preload, options.witness};
    for (int i = 0; i < 2; i++)
        if (strpbrk(libraries[i], " :;\t\n$") != NULL)
            wl_fail(WL_EXIT_USAGE,
                    "'%.500s' can't be preloaded: the loader takes spaces, colons and dollars for "
                    "something else; give a symbolic link without them",
                    libraries[i]);
    if (access(options.witness, R_OK) != 0)
        wl_fail(WL_EXIT_USAGE, "--witness: '%.500s' can't be read (%s); build libwl_witness.so",
                options.witness, strerror(errno));
    if (options.expect != NULL && options.result == NULL && options.output == NULL)
        wl_fail(WL_EXIT_USAGE, "--expect has nothing to compare with; give --output or --result");
}

/* ---- what the program made ---------------------------------------------------------------- */

static const unsigned char *map_file(const char *path, size_t *size) {
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0)
        wl_fail(WL_EXIT_RUN, "'%.500s' can't be read (%s)", path, strerror(errno));
    *size = (size_t)status.st_size;
    void *bytes = NULL;
    if (*size > 0 && (bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0)) == MAP_FAILED)
        wl_fail(WL_EXIT_RUN, "'%.500s' can't be read (%s)", path, strerror(errno));
    close(file);
    return bytes;
}

/* Compares the result, and returns its checksum. */
static uint64_t judge_result(const char *path) {
    size_t size, expected_size;
    const unsigned char *made = map_file(path, &size);
    uint64_t checksum = size;
    for (size_t i = 0; i < size; i++)
        checksum = wl_checksum_add(checksum, made[i]);
    if (options.expect == NULL)
        return checksum;
    const unsigned char *expected = map_file(options.expect, &expected_size);
    size_t same = 0;
    while (same < size && same < expected_size && made[same] == expected[same])
        same++;
    if (same < size || same < expected_size)
        wl_fail(WL_EXIT_RUN,
                "the program's result is wrong: '%.300s' (%zu bytes) differs from '%.300s' (%zu "
                "bytes) from byte %zu on",
                path, size, options.expect, expected_size, same);
    return checksum;
}

/* ---- what the witnesses say --------------------------------------------------------------- */

typedef struct {
    wl_witness_record *records;
    wl_process *processes;
    unsigned count;
    const wl_witness_record *main;
} testimony;

static testimony read_records(int file, const char *main_name) {
    testimony all = {.processes = wl_map_table(PROCESSES_MOST, sizeof(wl_process), 0, "the list")};
    struct stat status;
    if (fstat(file, &status) != 0)
        wl_fail(WL_EXIT_RUN, "the witness's file can't be read (%s)", strerror(errno));
    size_t count = (size_t)status.st_size / sizeof(wl_witness_record);
    if (count == 0)
        return all;
    all.records = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (all.records == MAP_FAILED)
        wl_fail(WL_EXIT_RUN, "the witness's file can't be read (%s)", strerror(errno));
    for (size_t i = 0; i < count && i < PROCESSES_MOST; i++) {
        wl_witness_record *record = &all.records[i];
        if (record->magic != WL_WITNESS_MAGIC)
            wl_fail(WL_EXIT_RUN, "the witness's file is damaged");
        record->provider.name = record->provider_name;
        all.processes[all.count++] = (wl_process){
            .name = record->name,
            .cpu_seconds = (double)(record->cpu_user_ns + record->cpu_system_ns) / 1e9,
            .peak_bytes = record->peak_bytes,
        };
        /* Of several that have the name, such as copies made by fork, the largest. */
        if (strncmp(record->name, main_name, WL_PROCESS_NAME - 1) == 0 &&
            (all.main == NULL || record->peak_bytes > all.main->peak_bytes))
            all.main = record;
    }
    return all;
}

/* Who served malloc: the main process's provider, complete only if all processes agree. */
static wl_provider *judge_provider(testimony *all, const char *main_name) {
    if (all->main == NULL)
        wl_fail(WL_EXIT_RUN,
                "the process %s did not tell who served its malloc: nothing can be preloaded into "
                "it (a static or setuid program?), or it ended without leaving main",
                main_name);
    static wl_provider provider;
    provider = all->main->provider;
    for (unsigned i = 0; i < all->count; i++) {
        const wl_witness_record *record = &all->records[i];
        const char *path = record->provider.parts[WL_PART_MALLOC];
        if (strcmp(path, provider.parts[WL_PART_MALLOC]) != 0)
            wl_note("in the process %s malloc was served by '%.300s'", record->name, path);
        else if (record->stray[0] != '\0')
            wl_note("in the process %s '%.300s' calls another malloc", record->name, record->stray);
        else if (record->bound == 0 && sizeof(void *) == 8)
            wl_note("in the process %s nothing called malloc", record->name);
        else if (record->provider.complete)
            continue;
        provider.complete = false;
    }
    return &provider;
}

/* ---- the report --------------------------------------------------------------------------- */

static void write_lines(const wl_summary *summary, const wl_provider *provider, wl_text *text) {
    wl_text_add(text, "workload     %s\nallocator    %s %s, %s\n", options.workload, provider->name,
                provider->has_version ? provider->version : "(version unknown)",
                provider->parts[WL_PART_MALLOC]);
    wl_text_add(text, "processor    %.3f s user, %.3f s system, in %.3f s\n",
                summary->cpu_user_seconds, summary->cpu_system_seconds, summary->wall_seconds);
    wl_text_add(text, "memory       %.1f MiB at the peak\n",
                (double)summary->memory.peak_bytes / 1048576.0);
    for (unsigned i = 0; i < summary->process_count; i++)
        wl_text_add(text, "process      %-16s %9.3f s %9.1f MiB at the peak\n",
                    summary->processes[i].name, summary->processes[i].cpu_seconds,
                    (double)summary->processes[i].peak_bytes / 1048576.0);
}

static void report(const wl_usage *usage, const testimony *all, wl_provider *provider) {
    const char *made = options.result == NULL ? options.output : options.result;
    wl_result result = {
        .args = &table,
        .common = &common,
        .phases = {{.name = "run",
                    .operations = options.operations,
                    .wall_seconds = (double)usage->wall_ns / 1e9,
                    .cpu_seconds = (double)(usage->cpu_user_ns + usage->cpu_system_ns) / 1e9,
                    .rss_bytes = all->main->resident_bytes,
                    .minor_faults = usage->minor_faults}},
        .phase_count = 1,
        .has_checksum = made != NULL,
        .checksum = made == NULL ? 0 : judge_result(made),
    };
    wl_summary summary = {
        .result = &result,
        .provider = provider,
        .cores = wl_cores(),
        .operations = options.operations,
        .wall_seconds = result.phases[0].wall_seconds,
        .cpu_user_seconds = (double)usage->cpu_user_ns / 1e9,
        .cpu_system_seconds = (double)usage->cpu_system_ns / 1e9,
        .memory = {.resident_bytes = all->main->resident_bytes},
        .minor_faults = usage->minor_faults,
        .major_faults = usage->major_faults,
        .processes = all->processes,
        .process_count = all->count,
    };
    for (unsigned i = 0; i < all->count; i++)
        if (all->processes[i].peak_bytes > summary.memory.peak_bytes)
            summary.memory.peak_bytes = all->processes[i].peak_bytes;
    wl_text text = wl_text_new();
    if (common.json)
        wl_write_json(&summary, &text);
    else
        write_lines(&summary, provider, &text);
    wl_text_print(&text);
}

int main(int argc, char **argv) {
    wl_tree tree = {0};
    wl_driver_start("run_program");
    split_command(&argc, argv, &tree);
    wl_args_parse(&table, argc, argv);
    if (options.witness == NULL)
        options.witness = witness_beside_us();
    check_options(&tree);
    wl_set_program(options.workload);
    if (options.directory != NULL && chdir(options.directory) != 0)
        wl_fail(WL_EXIT_USAGE, "--directory: '%.500s' can't be entered (%s)", options.directory,
                strerror(errno));
    const char *main_name = options.main == NULL ? last_part(tree.program[0]) : options.main;
    tree.preload = options.preload;
    tree.witness = options.witness;
    tree.input = options.input;
    tree.output = options.output;
    tree.witness_file = memfd_create("witness", MFD_CLOEXEC);
    if (tree.witness_file < 0)
        wl_fail(WL_EXIT_RUN, "the witness gets no file (%s)", strerror(errno));
    wl_usage usage = wl_tree_run(&tree);
    testimony all = read_records(tree.witness_file, main_name);
    report(&usage, &all, judge_provider(&all, main_name));
    return 0;
}
