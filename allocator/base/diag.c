/* A formatter that needs no memory, and the two ways to use it. */
#include "base/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

struct line {
    char text[512];
    size_t used;
};

static void put(struct line *line, char c) {
    if (line->used < sizeof line->text)
        line->text[line->used++] = c;
}

static void put_number(struct line *line, unsigned long value, unsigned base) {
    char digits[24];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (n)
        put(line, digits[--n]);
}

static void format_line(struct line *line, const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            put(line, *format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = va_arg(arguments, const char *); *s; s++)
                put(line, *s);
            break;
        case 'd': {
            long value = va_arg(arguments, long);
            if (value < 0)
                put(line, '-');
            put_number(line, value < 0 ? 0ul - (unsigned long)value : (unsigned long)value, 10);
            break;
        }
        case 'u':
            put_number(line, va_arg(arguments, unsigned long), 10);
            break;
        case 'p':
            put(line, '0');
            put(line, 'x');
            put_number(line, (unsigned long)va_arg(arguments, void *), 16);
            break;
        case '%':
            put(line, '%');
            break;
        default:
            return;
        }
    }
}

static int message_fd = STDERR_FILENO;

void hak_message_keep_stderr(void) {
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
    if (fd >= 0)
        message_fd = fd;
}

static void write_line(const struct line *line) {
    int kept = errno;
    size_t done = 0;
    while (done < line->used) {
        ssize_t n = write(message_fd, line->text + done, line->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    errno = kept;
}

static void say(const char *format, va_list arguments) {
    struct line line = {.used = 0};
    format_line(&line, format, arguments);
    write_line(&line);
}

void hak_message(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

_Noreturn void hak_fatal(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    abort();
}
