/* Says which signal ended a driver, and at which address, before the default action takes place.
 * In the handler there is nothing but system calls and this file's own formatting. */
#include "wl_crash.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wl_fail.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#ifdef SANITIZED
void wl_crash_install(void) {}
#else

static const struct {
    int number;
    const char *name;
} fatal[] = {{SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}};
enum { FATAL = sizeof fatal / sizeof fatal[0] };

typedef struct {
    char text[256];
    size_t used;
} crash_line;

static void add_text(crash_line *line, const char *text) {
    for (; *text != '\0' && line->used < sizeof line->text; text++)
        line->text[line->used++] = *text;
}

static void add_number(crash_line *line, uint64_t number, unsigned base) {
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[number % base];
    while ((number /= base) != 0);
    add_text(line, digits + at);
}

/* Set-up is over when the handler can run, so that the program's name is there. */
static void describe(int number, const siginfo_t *info) {
    crash_line line = {.used = 0};
    add_text(&line, wl_program());
    add_text(&line, ": signal ");
    add_number(&line, (uint64_t)number, 10);
    for (size_t i = 0; i < FATAL; i++)
        if (fatal[i].number == number) {
            add_text(&line, " (");
            add_text(&line, fatal[i].name);
            add_text(&line, ")");
        }
    if (info->si_code <= 0) {
        add_text(&line, " sent by process ");
        add_number(&line, (uint64_t)info->si_pid, 10);
    } else if (number == SIGSEGV && info->si_code == SI_KERNEL) {
        /* x86-64 does not tell an address outside the range that pointers can have */
        add_text(&line, " at an address that no pointer can have");
    } else {
        add_text(&line, " at address 0x");
        add_number(&line, (uint64_t)(uintptr_t)info->si_addr, 16);
    }
    add_text(&line, " in thread ");
    add_number(&line, (uint64_t)syscall(SYS_gettid), 10);
    line.text[line.used < sizeof line.text ? line.used : sizeof line.text - 1] = '\n';
    ssize_t written = write(STDERR_FILENO, line.text,
                            line.used < sizeof line.text ? line.used + 1 : sizeof line.text);
    (void)written; /* nobody is left to tell */
}

static void handle(int number, siginfo_t *info, void *context) {
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    (void)context;
    /* Where several threads crash together, only the first is heard; it ends the others here. */
    while (atomic_flag_test_and_set(&taken))
        pause();
    describe(number, info);
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(number, &standard, NULL);
    /* A fault repeats itself on return, at the same instruction; a signal that was sent does not,
     * and is sent again. It waits until this handler returns. */
    if (info->si_code <= 0)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}

void wl_crash_install(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL; i++)
        sigaddset(&action.sa_mask, fatal[i].number);
    for (size_t i = 0; i < FATAL; i++) {
        struct sigaction present;
        if (sigaction(fatal[i].number, NULL, &present) == 0 &&
            (present.sa_flags & SA_SIGINFO) == 0 && present.sa_handler == SIG_DFL)
            sigaction(fatal[i].number, &action, NULL);
    }
}
#endif
