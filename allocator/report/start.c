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
#include <time.h>
#include <unistd.h>

/* What a report needs, for one at a time: no stack of a signal handler has so much to spare. */
static struct {
    char path[4096 + 64];
    char text[32768]; /* so that a whole report is written at once, and those of several processes
                         don't mix in a file */
    struct hak_gathered gathered;
} room;

/* The process whose thread has the room; 0: none. A child forked meanwhile finds its parent's
 * number, and that thread is not there to give it back. */
static _Atomic pid_t reporter;

static bool take_room(void) {
    /* relaxed: the exchange decides */
    pid_t found = atomic_load_explicit(&reporter, memory_order_relaxed), self = getpid();
    /* acquire, and release below: what one thread does there comes before what the next one does */
    return found != self &&
           atomic_compare_exchange_strong_explicit(&reporter, &found, self, memory_order_acquire,
                                                   memory_order_relaxed);
}
static void leave_room(void) {
    /* release: as said there */
    atomic_store_explicit(&reporter, 0, memory_order_release);
}

/* HAKMEM_STATS_FILE with each %p replaced by the process's number. */
static const char *expanded(const char *given) {
    struct hak_writer w = {.fd = -1, .size = sizeof room.path - 1, .text = room.path};
    for (; *given; given++) {
        if (given[0] == '%' && given[1] == 'p') {
            hak_write(&w, "%d", (long)getpid());
            given++;
        } else {
            char letter[2] = {*given, '\0'};
            hak_write(&w, "%s", letter);
        }
    }
    room.path[w.used] = '\0';
    return room.path;
}

/* The file, to be closed; -1 when it is standard error. */
static int open_file(void) {
    const char *given = hak_option_text(HAK_OPT_STATS_FILE);
    if (!given)
        return -1;
    const char *path = expanded(given);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        hak_message("hakmem: the statistics' file can't be opened (error %d), so they follow here: "
                    "%s\n",
                    (long)errno, path);
    return fd;
}

static void print(const char *when) {
    int file = open_file();
    struct hak_writer w = {
        .fd = file >= 0 ? file : hak_message_fd(), .size = sizeof room.text, .text = room.text};
    if (hak_option(HAK_OPT_STATS) == HAK_STATS_JSON)
        hak_report_json(&w, when, &room.gathered);
    else
        hak_report_table(&w, when, &room.gathered);
    hak_write_end(&w);
    if (file >= 0)
        close(file);
}

/* A reader that is gone is no reason to end the program: SIGPIPE waits, and is taken away. */
static void print_without_sigpipe(const char *when) {
    int kept = errno;
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    bool was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    print(when);
    const struct timespec at_once = {0, 0};
    if (!was_pending)
        sigtimedwait(&pipe, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = kept;
}

/* Waits up to a second for a signal's report in another thread. */
static void at_exit(void) {
    const struct timespec pause = {0, 1000 * 1000};
    bool taken = take_room();
    for (unsigned i = 0; i < 1000 && !taken; i++) {
        nanosleep(&pause, NULL);
        taken = take_room();
    }
    if (taken) {
        print_without_sigpipe("at exit");
        leave_room();
    }
}

/* A signal that comes while an earlier one is being answered, or the program's end is, brings no
 * report of its own. */
static void at_signal(int number) {
    (void)number;
    if (take_room()) {
        print_without_sigpipe("at signal");
        leave_room();
    }
}

/* One that the program was started to ignore, as nohup does with SIGHUP, stays ignored. */
static void answer(int number) {
    struct sigaction action = {.sa_handler = at_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigaction before;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
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
    if (number)
        answer(number);
}
