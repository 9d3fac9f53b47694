/* What options ask for at the program's start: statistics at exit and on a signal, and where they
 * go; the crash log. */
#include "base/options.h"
#include "heap/heap.h"
#include "inspect/crash_log.h"
#include "report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* HAKMEM_STATS_FILE with each %p replaced by the process's number. */
struct path {
    char text[4096 + 64];
};
static struct path expanded(const char *given) {
    struct path path;
    struct hak_writer w = {.fd = -1, .size = sizeof path.text - 1, .text = path.text};
    for (; *given; given++) {
        if (given[0] == '%' && given[1] == 'p') {
            hak_write(&w, "%d", (long)getpid());
            given++;
        } else {
            char letter[2] = {*given, '\0'};
            hak_write(&w, "%s", letter);
        }
    }
    path.text[w.used] = '\0';
    return path;
}

/* The file, to be closed; -1 when it is standard error. */
static int open_file(void) {
    const char *given = hak_option_text(HAK_OPT_STATS_FILE);
    if (!given)
        return -1;
    struct path path = expanded(given);
    int fd = open(path.text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        hak_message("hakmem: the statistics' file can't be opened (error %d), so they follow here: "
                    "%s\n",
                    (long)errno, path.text);
    return fd;
}

/* A whole report is written at once, so that those of several processes don't mix in a file; what a
 * signal brings while another thread is at it goes through a small buffer. */
static void print(int fd, bool json, const char *when) {
    static char large[32768];
    static atomic_bool in_use;
    char small[512];
    /* acquire, and release below: the buffer's use by one thread comes before the next one's */
    bool mine = !atomic_exchange_explicit(&in_use, true, memory_order_acquire);
    struct hak_writer w = {
        .fd = fd, .size = mine ? sizeof large : sizeof small, .text = mine ? large : small};
    if (json)
        hak_report_json(&w, when);
    else
        hak_report_table(&w, when);
    hak_write_end(&w);
    if (mine)
        atomic_store_explicit(&in_use, false, memory_order_release);
}

static void report(const char *when) {
    int kept = errno;
    int fd = open_file();
    print(fd >= 0 ? fd : hak_message_fd(), hak_option(HAK_OPT_STATS) == HAK_STATS_JSON, when);
    if (fd >= 0)
        close(fd);
    errno = kept;
}

static void at_exit(void) {
    report("at exit");
}
static void at_signal(int number) {
    (void)number;
    report("at signal");
}

void hak_report_start(void) {
    if (!hak_options_given())
        return;
    hak_init();
    if (hak_option(HAK_OPT_CRASH_LOG))
        hak_crash_log_init();
    int number = (int)hak_option(HAK_OPT_STATS_SIGNAL);
    if (number || hak_option(HAK_OPT_STATS))
        hak_message_keep_stderr();
    if (hak_option(HAK_OPT_STATS))
        atexit(at_exit);
    if (number) {
        struct sigaction action = {.sa_handler = at_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
        sigemptyset(&action.sa_mask);
        sigaction(number, &action, NULL);
    }
}
