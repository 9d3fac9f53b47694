/* Arguments, resident memory, and how a run fails. */
#include "common.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* ---- arguments ------------------------------------------------------------------------------ */

static const char *program_name = "stress";

void arguments_refuse(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "%s: ", program_name);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    exit(2);
}

static bool whole_number(const char *text, uint64_t *value) {
    uint64_t sum = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(sum, 10u, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(*text - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}

void arguments_read(int argc, char **argv, struct argument *table, size_t count,
                    const char *usage) {
    const char *slash = strrchr(argv[0], '/');
    program_name = slash ? slash + 1 : argv[0];
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(usage, stdout);
            exit(0);
        }
        struct argument *argument = NULL;
        for (size_t k = 0; k < count; k++)
            if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, table[k].name))
                argument = &table[k];
        if (!argument)
            arguments_refuse("unknown argument '%s'; --help names them all", argv[i]);
        const char *text = i + 1 < argc ? argv[++i] : NULL;
        if (!text || !whole_number(text, argument->value) || *argument->value < argument->low ||
            *argument->value > argument->high)
            arguments_refuse("--%s needs a whole number from %" PRIu64 " to %" PRIu64 ", not '%s'",
                             argument->name, argument->low, argument->high, text ? text : "");
        argument->given = true;
    }
}

/* ---- failing -------------------------------------------------------------------------------- */

/* Written before the run begins and only read after; so a signal handler may print it. */
static char repeat_text[4096];
static size_t repeat_length;

/* Cut at the buffer's end, with room for what the caller adds. */
static void append(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void append(const char *format, ...) {
    va_list values;
    va_start(values, format);
    size_t room = sizeof repeat_text - repeat_length;
    int wanted = vsnprintf(repeat_text + repeat_length, room, format, values);
    va_end(values);
    if (wanted > 0)
        repeat_length += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

/* So that a shell reads it back as one word. */
static void append_quoted(const char *text) {
    append("'");
    for (; *text; text++)
        append(*text == '\'' ? "'\\''" : "%c", *text);
    append("'");
}

static void write_all(const char *text, size_t length) {
    while (length) {
        ssize_t done = write(STDERR_FILENO, text, length);
        if (done <= 0)
            return;
        text += done;
        length -= (size_t)done;
    }
}

static void on_fatal_signal(int number) {
    write_all(repeat_text, repeat_length);
    /* SA_RESETHAND: the default action comes now, and with it the right exit status. */
    raise(number);
}

/* A sanitizer that finds an error calls these by name. */
void __asan_on_error(void);
void __asan_on_error(void) {
    write_all(repeat_text, repeat_length);
}
void __tsan_on_report(void *report);
void __tsan_on_report(void *report) {
    (void)report;
    write_all(repeat_text, repeat_length);
}

void repeat_announce(const char *program, const struct argument *table, size_t count) {
    append("repeat with:");
    for (char **variable = environ; *variable; variable++) {
        const char *value = strchr(*variable, '=');
        if (!value ||
            (strncmp(*variable, "HAKMEM_", 7) != 0 && strncmp(*variable, "LD_PRELOAD=", 11) != 0))
            continue;
        append(" %.*s=", (int)(value - *variable), *variable);
        append_quoted(value + 1);
    }
    append(" ");
    append_quoted(program);
    for (size_t i = 0; i < count; i++)
        if (table[i].given)
            append(" --%s %" PRIu64, table[i].name, *table[i].value);
    append("\n");
    fwrite(repeat_text, 1, repeat_length, stdout);
    fflush(stdout);

    static char stack[65536]; /* of the handler: the fault may be an overflow of the thread's */
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_handler = on_fatal_signal,
                               .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};
    sigemptyset(&action.sa_mask);
#ifdef HAKMEM_SANITIZED /* its runtime has handlers of its own for the others */
    static const int fatal[] = {SIGABRT, SIGTERM};
#else
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM};
#endif
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        sigaction(fatal[i], &action, NULL);
}

void fail(const char *format, ...) {
    char text[1024];
    int length = snprintf(text, sizeof text, "%s: ", program_name);
    va_list values;
    va_start(values, format);
    length += vsnprintf(text + length, sizeof text - (size_t)length - 1, format, values);
    va_end(values);
    if (length > (int)sizeof text - 2)
        length = (int)sizeof text - 2;
    text[length++] = '\n';
    write_all(text, (size_t)length);
    write_all(repeat_text, repeat_length);
    _exit(1);
}

/* ---- the system ----------------------------------------------------------------------------- */

size_t resident_bytes(void) {
    char text[128];
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (length <= 0)
        fail("/proc/self/statm can't be read: is /proc mounted?");
    text[length] = '\0';
    char *second = strchr(text, ' '); /* pages: in all, resident, ... */
    return (second ? strtoul(second, NULL, 10) : 0) * (size_t)sysconf(_SC_PAGESIZE);
}

double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void sleep_ms(unsigned milliseconds) {
    struct timespec time = {.tv_sec = milliseconds / 1000,
                            .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    nanosleep(&time, NULL);
}

void *own_memory(size_t size) {
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        fail("there is no memory for the test's own tables (%zu bytes)", size);
    return memory;
}

uint64_t random_state(uint64_t seed, uint64_t stream) {
    uint64_t x = seed * 0x9e3779b97f4a7c15u + (stream + 1) * 0xbf58476d1ce4e5b9u;
    x ^= x >> 31;
    x *= 0x94d049bb133111ebu;
    x ^= x >> 29;
    return x ? x : 1;
}
