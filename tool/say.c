/* Messages on standard error. */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void say_all(const char *format, va_list arguments) {
    fflush(stdout);
    fputs("hakmem: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say_all(format, arguments);
    va_end(arguments);
}

void give_up(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say_all(format, arguments);
    va_end(arguments);
    exit(status);
}
