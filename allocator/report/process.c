/* Reading /proc/self/status without a library that allocates. */
#include "report/process.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* One line of the file, as far as it has room. */
struct line {
    char text[64];
    size_t used;
};

/* The kibibytes of "NAME:   12345 kB", in bytes, if that is the line's name. */
static void take(const struct line *line, const char *name, uint64_t *bytes) {
    size_t at = 0;
    while (name[at] && at < line->used && line->text[at] == name[at])
        at++;
    if (name[at] || at == line->used || line->text[at] != ':')
        return;
    uint64_t kib = 0;
    for (at++; at < line->used; at++)
        if (line->text[at] >= '0' && line->text[at] <= '9')
            kib = kib * 10 + (uint64_t)(line->text[at] - '0');
    *bytes = kib << 10;
}

struct hak_process hak_process_read(void) {
    struct hak_process process = {.resident = 0};
    int kept = errno;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    struct line line = {.used = 0};
    char piece[256];
    ssize_t got;
    while (fd >= 0 && (got = read(fd, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] != '\n') {
                if (line.used < sizeof line.text)
                    line.text[line.used++] = piece[i];
                continue;
            }
            take(&line, "VmRSS", &process.resident);
            take(&line, "VmHWM", &process.resident_peak);
            line.used = 0;
        }
    }
    if (fd >= 0)
        close(fd);
    errno = kept;
    return process;
}
