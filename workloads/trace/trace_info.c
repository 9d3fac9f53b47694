/* trace_info: shows what a trace holds: its process, calls, threads, sizes, live memory over time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trace_input.h"
#include "wl_fail.h"

enum {
    SIZES = 65,        /* classes of sizes: 0, 1, 2, 3 to 4, 5 to 8... */
    STEPS = 20,        /* lines of live memory over time */
    MOST_THREADS = 20, /* that are listed */
    BAR = 40,          /* characters */
};

typedef struct {
    uint64_t count[SIZES];
    uint64_t live_blocks[STEPS], live_bytes[STEPS]; /* the most in each part of the time */
} picture;

static const char usage[] =
    "usage: trace_info FILE           what a trace of libhakmem-trace.so holds\n"
    "       trace_info --events FILE  every event in a line: time in ns, thread, what, call, "
    "block,\n"
    "                                 size, alignment, address\n"
    "FILE may be compressed by gzip, xz or zstd; -: standard input; redis, gcc, python: recorded "
    "ones\n";

/* ---- texts ----------------------------------------------------------------------------------- */

/* Text of the file may hold anything; a terminal would obey it. */
static void print_text(const char *text) {
    for (; *text; text++)
        putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
}

static void print_bytes(uint64_t bytes, char *text, size_t room) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 6; unit++)
        value /= 1024;
    snprintf(text, room, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void print_bar(uint64_t value, uint64_t most) {
    unsigned length = most ? (unsigned)((double)value / (double)most * BAR + 0.5) : 0;
    for (unsigned i = 0; i < length; i++)
        putchar('#');
    putchar('\n');
}

/* A moment, in seconds, or in stamps where the recording has no times. */
static void print_moment(const trace_reader *trace, double time) {
    if (trace_has_times(trace))
        printf("%11.6f", time / 1e9);
    else
        printf("%11.0f", time);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void print_process(const trace_reader *trace) {
    const trace_header *head = trace_head(trace);
    time_t start = (time_t)(head->start_real_ns / 1000000000u);
    char when[64] = "";
    struct tm parts;
    if (gmtime_r(&start, &parts))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &parts);
    printf("program    ");
    print_text(head->program);
    printf("\narguments ");
    for (uint32_t at = 0; at < head->arguments_bytes;
         at += (uint32_t)strlen(head->arguments + at) + 1) {
        putchar(' ');
        print_text(head->arguments + at);
    }
    printf("\nprocess    %" PRId32 ", recorded from %s\nallocator  ", head->pid, when);
    print_text(head->allocator[0] ? head->allocator : "unknown");
    putchar('\n');
    if (head->parent_id) {
        printf("parent     process %" PRId32 ", ", head->parent_pid);
        print_text(head->parent_file);
        putchar('\n');
    }
    if (trace_stop_reason(head))
        printf("stopped    before the process ended: %s\n", trace_stop_reason(head));
    else if (trace_all(trace)->torn)
        printf(
            "stopped    with no end of the process recorded: it was killed, called exec or _exit, "
            "or still runs\n");
}

static void print_calls(const trace_reader *trace) {
    const trace_totals *all = trace_all(trace);
    char peak[32], live[32], file[32];
    print_bytes(all->peak_bytes, peak, sizeof peak);
    print_bytes(all->live_bytes, live, sizeof live);
    print_bytes(all->file_bytes, file, sizeof file);
    printf("\n%" PRIu64 " call%s by %" PRIu32 " thread%s in ", all->calls,
           all->calls == 1 ? "" : "s", all->threads, all->threads == 1 ? "" : "s");
    if (trace_has_times(trace))
        printf("%.6f s", (double)all->span / 1e9);
    else
        printf("%" PRIu64 " stamps, which tell the order and no time", all->span);
    printf(", %.1f bytes each in a file of %s\n",
           all->calls ? (double)all->record_bytes / (double)all->calls : 0.0, file);
    for (int kind = 1; kind < 16; kind++)
        if (all->of_kind[kind])
            printf("  %-12s %12" PRIu64 "\n", trace_call_name((trace_record)kind),
                   all->of_kind[kind]);
    printf("live at once at most %" PRIu64 " blocks, %s; at the end %" PRIu64 " blocks, %s\n",
           all->peak_blocks, peak, all->live_blocks, live);
    if (all->failed)
        printf("%" PRIu64 " calls returned NULL\n", all->failed);
    if (all->foreign)
        printf("%" PRIu64 " blocks were not seen being allocated\n", all->foreign);
    if (all->lost)
        printf("%" PRIu64 " blocks were not seen being freed\n", all->lost);
    if (all->unfinished)
        printf("%" PRIu64 " reallocs had not returned\n", all->unfinished);
}

static void print_threads(const trace_reader *trace) {
    const trace_thread *threads = trace_threads(trace);
    uint32_t count = trace_all(trace)->threads;
    printf("\nthread      tid  name                    calls %s\n",
           trace_has_times(trace) ? "     from s        to s" : "from stamps   to stamps");
    for (uint32_t i = 0; i < count && i < MOST_THREADS; i++) {
        printf("%6" PRIu32 " %8" PRId32 "  ", i, threads[i].tid);
        print_text(threads[i].name);
        printf("%*s %12" PRIu64 " ", (int)(16 - strlen(threads[i].name)), "", threads[i].calls);
        print_moment(trace, (double)threads[i].begin);
        putchar(' ');
        print_moment(trace, (double)threads[i].end);
        puts(threads[i].ended || trace_head(trace)->ended ? "" : "  no end");
    }
    if (count > MOST_THREADS)
        printf("   and %" PRIu32 " more\n", count - MOST_THREADS);
}

static void print_picture(const trace_reader *trace, const picture *shown) {
    const double span = (double)trace_all(trace)->span;
    uint64_t most = 0;
    char text[32];
    for (int i = 0; i < SIZES; i++)
        most = shown->count[i] > most ? shown->count[i] : most;
    printf("\nsizes asked for, up to\n");
    for (int i = 0; i < SIZES; i++) {
        if (!shown->count[i])
            continue;
        print_bytes(i == 0 ? 0 : i < 65 ? UINT64_C(1) << (i - 1) : 0, text, sizeof text);
        printf("%12s %12" PRIu64 " ", text, shown->count[i]);
        print_bar(shown->count[i], most);
    }
    most = 0;
    for (int i = 0; i < STEPS; i++)
        most = shown->live_bytes[i] > most ? shown->live_bytes[i] : most;
    printf("\nmost live memory, until %-6s blocks\n", trace_has_times(trace) ? "s" : "stamps");
    for (int i = 0; i < STEPS; i++) {
        print_bytes(shown->live_bytes[i], text, sizeof text);
        printf("%12s ", text);
        print_moment(trace, span * (i + 1) / STEPS);
        printf(" %9" PRIu64 " ", shown->live_blocks[i]);
        print_bar(shown->live_bytes[i], most);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static unsigned class_of(uint64_t size) {
    return size < 2 ? (unsigned)size : 65u - (unsigned)__builtin_clzll(size - 1);
}

static void take_pictures(trace_reader *trace, picture *shown) {
    uint64_t span = trace_all(trace)->span, blocks = 0, bytes = 0;
    unsigned step = 0;
    for (trace_event event; trace_next(trace, &event);) {
        unsigned now = span ? (unsigned)((double)event.time / (double)span * STEPS) : 0;
        for (now = now < STEPS ? now : STEPS - 1; step < now;) {
            step++;
            shown->live_blocks[step] = blocks;
            shown->live_bytes[step] = bytes;
        }
        if (event.what == TRACE_DO_ALLOCATE || event.what == TRACE_DO_RESIZE)
            shown->count[class_of(event.size)]++;
        if (event.what == TRACE_DO_ALLOCATE) {
            blocks++;
            bytes += event.size;
        } else if (event.what == TRACE_DO_FREE && !(event.marks & TRACE_FOREIGN)) {
            blocks--;
            bytes -= event.size;
        } else if (event.what == TRACE_DO_RESIZE) {
            blocks += event.marks & TRACE_FOREIGN ? 1 : 0;
            bytes += event.size - event.old_size;
        }
        if (bytes > shown->live_bytes[step]) {
            shown->live_bytes[step] = bytes;
            shown->live_blocks[step] = blocks;
        }
    }
}

static void print_events(trace_reader *trace) {
    static const char *const whats[] = {
        [TRACE_DO_ALLOCATE] = "allocate", [TRACE_DO_FREE] = "free",
        [TRACE_DO_RESIZE] = "resize",     [TRACE_DO_FAIL] = "fail",
        [TRACE_DO_NOTHING] = "nothing",   [TRACE_DO_BEGIN] = "begin",
        [TRACE_DO_END] = "end",
    };
    for (trace_event event; trace_next(trace, &event);) {
        printf("%" PRIu64 " %" PRIu32 " %s %s ", event.time, event.thread, whats[event.what],
               event.call ? trace_call_name(event.call) : "-");
        if (event.block == TRACE_NO_BLOCK)
            printf("-");
        else
            printf("%" PRIu64, event.block);
        printf(" %" PRIu64 " %" PRIu64 " %#" PRIx64 "%s%s\n", event.size, event.alignment,
               event.address, event.marks & TRACE_FOREIGN ? " foreign" : "",
               event.marks & TRACE_REPLACED ? " replaced" : "");
    }
}

int main(int argc, char **argv) {
    static picture shown;
    wl_set_program("trace_info");
    bool events = argc > 1 && strcmp(argv[1], "--events") == 0;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc != (events ? 3 : 2) || argv[argc - 1][0] == '\0')
        wl_fail(WL_EXIT_USAGE, "takes one FILE, a trace; --help tells more");
    if (!events && argv[1][0] == '-' && argv[1][1] != '\0')
        wl_fail(WL_EXIT_USAGE, "%s is no option; there are --events and --help", argv[1]);
    const char *path = argv[argc - 1];
    trace_input file = trace_input_open(path);
    trace_reader *trace = trace_input_read(&file, path);
    if (events) {
        print_events(trace);
    } else {
        take_pictures(trace, &shown);
        print_process(trace);
        print_calls(trace);
        print_threads(trace);
        print_picture(trace, &shown);
    }
    trace_close(trace);
    trace_input_close(&file);
    if (fflush(stdout) != 0 || ferror(stdout))
        wl_fail(WL_EXIT_RUN, "the output can't be written");
    return 0;
}
