/* A formatter that needs no memory, and the two ways to use it. */
#include "base/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_out(struct hak_writer *writer) {
    int kept = errno;
    size_t done = 0;
    while (writer->fd >= 0 && done < writer->used) {
        ssize_t n = write(writer->fd, writer->text + done, writer->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            writer->fd = -1;
        else
            done += (size_t)n;
    }
    writer->used = 0;
    errno = kept;
}

static void put(struct hak_writer *writer, char c) {
    if (writer->used == writer->size && writer->fd >= 0)
        put_out(writer);
    if (writer->used < writer->size)
        writer->text[writer->used++] = c;
}

static void put_padding(struct hak_writer *writer, size_t length, unsigned width) {
    for (; length < width; length++)
        put(writer, ' ');
}

static void put_text(struct hak_writer *writer, const char *text, unsigned width) {
    size_t length = 0;
    while (text[length])
        put(writer, text[length++]);
    put_padding(writer, length, width);
}

static void put_number(struct hak_writer *writer, bool negative, unsigned long value, unsigned base,
                       unsigned width) {
    char digits[24];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    if (negative)
        digits[n++] = '-';
    put_padding(writer, n, width);
    while (n)
        put(writer, digits[--n]);
}

static void put_format(struct hak_writer *writer, const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            put(writer, *format);
            continue;
        }
        if (*++format == '-')
            format++;
        unsigned width = 0;
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (unsigned)(*format - '0');
        switch (*format) {
        case 's':
            put_text(writer, va_arg(arguments, const char *), width);
            break;
        case 'd': {
            long value = va_arg(arguments, long);
            put_number(writer, value < 0,
                       value < 0 ? 0ul - (unsigned long)value : (unsigned long)value, 10, width);
            break;
        }
        case 'u':
            put_number(writer, false, va_arg(arguments, unsigned long), 10, width);
            break;
        case 'p':
            put(writer, '0');
            put(writer, 'x');
            put_number(writer, false, (unsigned long)va_arg(arguments, void *), 16, 0);
            break;
        case '%':
            put(writer, '%');
            break;
        default:
            return;
        }
    }
}

void hak_write(struct hak_writer *writer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    put_format(writer, format, arguments);
    va_end(arguments);
}

bool hak_write_end(struct hak_writer *writer) {
    put_out(writer);
    return writer->fd >= 0;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Standard error's copy, and which file that was. Written once, before there are threads. */
static struct {
    bool asked, there; /* to keep it; and it was open then */
    int fd;            /* -1: no copy could be had */
    dev_t device;
    ino_t inode;
} kept_stderr;

void hak_message_keep_stderr(void) {
    int kept = errno;
    struct stat file;
    kept_stderr.asked = true;
    kept_stderr.there = fstat(STDERR_FILENO, &file) == 0;
    if (kept_stderr.there) {
        kept_stderr.device = file.st_dev;
        kept_stderr.inode = file.st_ino;
        kept_stderr.fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
    }
    errno = kept;
}

static bool is_kept_file(int fd) {
    struct stat file;
    return fd >= 0 && fstat(fd, &file) == 0 && file.st_dev == kept_stderr.device &&
           file.st_ino == kept_stderr.inode;
}

/* A program that closes every descriptor, or was started without this one, may have a file of its
 * own there by now. */
int hak_message_fd(void) {
    if (!kept_stderr.asked)
        return STDERR_FILENO;
    int kept = errno;
    int fd = -1;
    if (kept_stderr.there && is_kept_file(kept_stderr.fd))
        fd = kept_stderr.fd;
    else if (kept_stderr.there && is_kept_file(STDERR_FILENO))
        fd = STDERR_FILENO;
    errno = kept;
    return fd;
}

/* One write for one message, so that those of several threads don't mix. */
static void say(const char *format, va_list arguments) {
    char text[512];
    struct hak_writer line = {.fd = -1, .size = sizeof text, .text = text};
    put_format(&line, format, arguments);
    if (line.used == line.size)
        text[line.used - 1] = '\n';
    line.fd = hak_message_fd();
    put_out(&line);
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
