/* Ends a driver with one sentence on standard error, without using the allocator under test. */
#include "wl_fail.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

static const char *program = "workload";
static atomic_flag failed = ATOMIC_FLAG_INIT;

void wl_set_program(const char *name) {
    program = name;
}

const char *wl_program(void) {
    return program;
}

static void write_all(const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, length);
        if (written <= 0)
            return; /* nobody is left to tell */
        bytes += written;
        length -= (size_t)written;
    }
}

static void say(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));
static void say(const char *format, va_list arguments) {
    char line[1024];
    int prefix = snprintf(line, 100, "%s: ", program);
    size_t used = prefix < 0 ? 0 : (prefix > 99 ? 99 : (size_t)prefix);
    int body = vsnprintf(line + used, sizeof line - 1 - used, format, arguments);
    if (body > 0) {
        size_t room = sizeof line - 2 - used;
        used += (size_t)body < room ? (size_t)body : room;
    }
    for (size_t i = 0; i < used; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[used++] = '\n';
    write_all(line, used);
}

void wl_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void wl_fail(int status, const char *format, ...) {
    /* The loser of the race waits here for the winner to end the process. */
    while (atomic_flag_test_and_set(&failed))
        pause();
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    /* Not exit(): handlers at exit may free memory in a heap that is already known to be broken. */
    _exit(status);
}

void wl_fail_no_memory(const char *call, unsigned long long size) {
    wl_fail(WL_EXIT_RUN,
            "out of memory: %s(%llu) returned NULL; ask for fewer or smaller blocks, or raise the "
            "memory limit",
            call, size);
}

void wl_fail_out_of_memory(unsigned long long size) {
    wl_fail_no_memory("malloc", size);
}
