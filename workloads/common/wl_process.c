/* What the kernel knows of this process: resident memory, processor time, page faults. */
#include "wl_process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "wl_clock.h"
#include "wl_fail.h"

static int status_file = -1;

void wl_process_open(void) {
    status_file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (status_file < 0)
        wl_fail(WL_EXIT_RUN, "/proc/self/status can't be read (%s); mount /proc to measure memory",
                strerror(errno));
}

static uint64_t number_at(const char *text) {
    uint64_t number = 0;
    while (*text == ' ' || *text == '\t')
        text++;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

static uint64_t kibibytes_of(const char *status, const char *field) {
    const char *line = strstr(status, field);
    return line == NULL ? 0 : number_at(line + strlen(field)) * 1024;
}

wl_status wl_process_status(void) {
    char text[16384]; /* the two lines come after a list of groups, which may be long */
    ssize_t length = pread(status_file, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    return (wl_status){kibibytes_of(text, "\nVmHWM:"), kibibytes_of(text, "\nVmRSS:")};
}

static int64_t nanoseconds(struct timeval time) {
    return (int64_t)time.tv_sec * 1000000000 + (int64_t)time.tv_usec * 1000;
}

wl_usage wl_usage_now(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage); /* fails only for a wrong argument */
    return (wl_usage){
        .wall_ns = wl_now_ns(),
        .cpu_user_ns = nanoseconds(usage.ru_utime),
        .cpu_system_ns = nanoseconds(usage.ru_stime),
        .minor_faults = (uint64_t)usage.ru_minflt,
        .major_faults = (uint64_t)usage.ru_majflt,
        .rss_bytes = wl_process_status().resident_bytes,
    };
}

uint64_t wl_thread_minor_faults(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt;
}

unsigned wl_cores(void) {
    /* Room for 65,536 processors: the kernel refuses a set smaller than its own. */
    static union {
        cpu_set_t set;
        unsigned long words[65536 / (8 * sizeof(unsigned long))];
    } cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus.set) == 0) {
        int count = CPU_COUNT_S(sizeof cpus, &cpus.set);
        if (count > 0)
            return (unsigned)count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}
