/* Reads the recorder's options before the C library has an environment. */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "say.h"

#define ENVIRONMENT_BYTES                                                                          \
    ((size_t)4 << 20) /* more than a program may be started with, as a rule                        \
                       */
#define DEFAULT_PATTERN "hakmem-%p.trace"
#define DEFAULT_MAX     ((uint64_t)1 << 30)
#define SMALLEST_MAX    ((uint64_t)1 << 16)
#define LARGEST_MAX     ((uint64_t)1 << 40)

/* System calls by number are no points of cancellation. */
size_t trace_read_text(const char *path, char *text, size_t room) {
    size_t used = 0;
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), got = 1;
    while (file >= 0 && got > 0 && used < room - 1) {
        got = syscall(SYS_read, (int)file, text + used, room - 1 - used);
        if (got > 0)
            used += (size_t)got;
    }
    if (file >= 0)
        syscall(SYS_close, (int)file);
    text[used] = '\0';
    return used;
}

/* In what the kernel has of the environment; where there is no /proc, in the program's. */
static const char *look(const char *texts, size_t bytes, const char *name) {
    size_t length = strlen(name);
    if (!bytes)
        return environ ? getenv(name) : NULL;
    for (const char *text = texts; text < texts + bytes; text += strlen(text) + 1)
        if (strncmp(text, name, length) == 0 && text[length] == '=')
            return text + length + 1;
    return NULL;
}

static bool read_max(const char *text, uint64_t *max) {
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && number < (uint64_t)1 << 50; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    static const char units[] = "KMG";
    const char *unit = *at ? strchr(units, *at & ~0x20) : NULL;
    if (unit && number < (uint64_t)1 << 50) {
        number <<= 10 * (unit - units + 1);
        at++;
    }
    *max = number ? number : UINT64_MAX;
    if (at > text && !*at && (!number || (number >= SMALLEST_MAX && number <= LARGEST_MAX)))
        return true;
    trace_say("HAKMEM_TRACE_MAX=%.100s is no number of bytes from 64K to 1024G, or 0 for no bound; "
              "the program runs unrecorded",
              text);
    return false;
}

static bool read_times(const char *text, bool *times) {
    *times = text[0] == '1';
    if ((text[0] == '0' || text[0] == '1') && !text[1])
        return true;
    trace_say("HAKMEM_TRACE_TIMES=%.100s is neither 0 nor 1; the program runs unrecorded", text);
    return false;
}

static bool read_pattern(const char *text, char *pattern) {
    size_t used = 0;
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 2, '%')) {
        if (at[1] == 'p' || at[1] == 'n' || at[1] == '%')
            continue;
        trace_say("HAKMEM_TRACE=%.500s: a %% is followed by p (the process), n (the program) or "
                  "another %%; the program runs unrecorded",
                  text);
        return false;
    }
    if (text[0] != '/' && getcwd(pattern, TRACE_PATH - 1)) { /* children may go elsewhere */
        /* A % in the folder's name stands for itself. */
        size_t length = strlen(pattern), extra = 0;
        for (size_t i = 0; i < length; i++)
            extra += pattern[i] == '%';
        used = length + extra + 1;
        if (used < TRACE_PATH)
            for (size_t from = length, to = length + extra; extra; extra -= pattern[to] == '%') {
                pattern[--to] = pattern[--from];
                if (pattern[from] == '%')
                    pattern[--to] = '%';
            }
        if (used < TRACE_PATH)
            pattern[used - 1] = '/';
    }
    if (text[0] && used + strlen(text) < TRACE_PATH) {
        memcpy(pattern + used, text, strlen(text) + 1);
        return true;
    }
    trace_say("HAKMEM_TRACE is %s; the program runs unrecorded",
              text[0] ? "longer than a path can be" : "empty");
    return false;
}

bool trace_settings_read(trace_settings *settings) {
    if (getauxval(AT_SECURE))
        return false;
    char *texts = mmap(NULL, ENVIRONMENT_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (texts == MAP_FAILED) {
        trace_say("there is no memory to read the environment; the program runs unrecorded");
        return false;
    }
    size_t bytes = trace_read_text("/proc/self/environ", texts, ENVIRONMENT_BYTES);
    const char *pattern = look(texts, bytes, "HAKMEM_TRACE");
    const char *max = look(texts, bytes, "HAKMEM_TRACE_MAX");
    const char *times = look(texts, bytes, "HAKMEM_TRACE_TIMES");
    settings->max = DEFAULT_MAX;
    settings->times = true;
    bool fine = (!max || read_max(max, &settings->max)) &&
                (!times || read_times(times, &settings->times)) &&
                read_pattern(pattern ? pattern : DEFAULT_PATTERN, settings->pattern);
    munmap(texts, ENVIRONMENT_BYTES);
    return fine;
}

bool trace_settings_each(const trace_settings *settings) {
    for (const char *at = strchr(settings->pattern, '%'); at; at = strchr(at + 2, '%'))
        if (at[1] == 'p')
            return true;
    return false;
}

bool trace_settings_name(const trace_settings *settings, int pid, char *path) {
    size_t used = 0;
    for (const char *at = settings->pattern; *at; at++) {
        char word[32] = {*at, '\0'};
        if (*at == '%') {
            at++;
            if (*at == 'p')
                snprintf(word, sizeof word, "%d", pid);
            else if (*at == 'n' && trace_read_text("/proc/self/comm", word, sizeof word))
                word[strcspn(word, "\n")] = '\0';
            for (char *slash = word; *at == 'n' && (slash = strchr(slash, '/'));)
                *slash = '_';
        }
        size_t length = strlen(word);
        if (used + length >= TRACE_PATH)
            return false;
        memcpy(path + used, word, length + 1);
        used += length;
    }
    return true;
}
