/* The recorder's sentences on standard error. */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void trace_say(const char *format, ...) {
    char line[1536];
    int used = snprintf(line, sizeof line, "libhakmem-trace: ");
    va_list values;
    va_start(values, format);
    int more = vsnprintf(line + used, 1500 - (size_t)used, format, values);
    va_end(values);
    used += more < 0 ? 0 : more < 1500 - used ? more : 1499 - used;
    for (int i = 0; i < used; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = '?';
    line[used++] = '\n';
    long written = syscall(SYS_write, 2, line, (size_t)used); /* no point of cancellation */
    (void)written;                                            /* nobody hears: nothing to be done */
}

const char *trace_error_text(int error) {
#ifdef __GLIBC__
    const char *text = strerrordesc_np(error);
    return text ? text : "unknown error";
#else
    return strerror(error);
#endif
}
