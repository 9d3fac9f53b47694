/* The handlers of the crash log, and what runs after them. */
#include "inspect/crash_log.h"
#include "base/diag.h"
#include "heap/heap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST_LOGS 8u /* of a process: some programs crash by design, and have a handler for it */

/* What each signal did before. Written by hak_crash_log_init alone. */
static struct previous {
    int signal_number;
    struct sigaction action;
    _Atomic bool gone; /* it asked to be called once, and was */
} previous[] = {{.signal_number = SIGSEGV}, {.signal_number = SIGBUS}, {.signal_number = SIGABRT}};
#define SIGNALS (sizeof previous / sizeof *previous)

static _Atomic unsigned logs;
/* Where a thread goes on if it crashes while it prints the log. */
static _Thread_local sigjmp_buf *resume __attribute__((tls_model("initial-exec")));

/* A fault that the processor will find again as soon as the handler returns. */
static bool comes_again(int signal_number, const siginfo_t *info) {
    if (signal_number == SIGABRT || info->si_code <= 0)
        return false;
#ifdef BUS_MCEERR_AO
    if (signal_number == SIGBUS && info->si_code == BUS_MCEERR_AO)
        return false;
#endif
    return true;
}

/* The default action, taken when the handler returns: by the instruction that is done again, or by
 * the same signal, which is blocked until then. */
static void end_by_default(int signal_number, siginfo_t *info) {
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigemptyset(&by_default.sa_mask);
    sigaction(signal_number, &by_default, NULL);
    if (comes_again(signal_number, info))
        return;
    pid_t process = getpid(), thread = (pid_t)syscall(SYS_gettid);
    if (syscall(SYS_rt_tgsigqueueinfo, process, thread, signal_number, info) != 0)
        syscall(SYS_tgkill, process, thread, signal_number);
}

static void run_previous(struct previous *before, int number, siginfo_t *info, void *context) {
    const struct sigaction *action = &before->action;
    /* relaxed: which of two crashing threads comes first is nobody's to say */
    bool once = (action->sa_flags & (int)SA_RESETHAND) != 0;
    if (once && atomic_exchange_explicit(&before->gone, true, memory_order_relaxed))
        end_by_default(number, info);
    else if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(number, info, context);
    else if (action->sa_handler == SIG_DFL)
        end_by_default(number, info);
    else if (action->sa_handler != SIG_IGN)
        action->sa_handler(number);
}

/* What the log reads is there, unless the program unmapped, protected or overwrote memory of the
 * allocator's: a crash here ends a part of the log and nothing else. */
static void print_log(int signal_number, const siginfo_t *info, const void *context) {
    sigset_t faults, before;
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaddset(&faults, SIGBUS);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    sigjmp_buf here;
    volatile unsigned part = 0;
    if (sigsetjmp(here, 0) != 0)
        hak_message("hakmem: crash: the allocator's own memory is damaged: no more of this\n");
    pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
    resume = &here;
    while (part < HAK_CRASH_LOG_PARTS)
        hak_crash_log_print(part++, signal_number, info, context);
    resume = NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void handle(int signal_number, siginfo_t *info, void *context) {
    if (resume)
        siglongjmp(*resume, 1);
    int kept = errno;
    /* relaxed: a limit */
    unsigned before = atomic_load_explicit(&logs, memory_order_relaxed);
    if (before <= MOST_LOGS)
        before = atomic_fetch_add_explicit(&logs, 1, memory_order_relaxed);
    if (before < MOST_LOGS)
        print_log(signal_number, info, context);
    else if (before == MOST_LOGS)
        hak_message("hakmem: further crashes are not logged\n");
    errno = kept;
    for (unsigned i = 0; i < SIGNALS; i++)
        if (previous[i].signal_number == signal_number)
            run_previous(&previous[i], signal_number, info, context);
}

void hak_crash_log_init(void) {
    if (!hak_heap_self())
        hak_heap_enter(); /* gives this thread its ring of events and a signal stack */
    for (unsigned i = 0; i < SIGNALS; i++) {
        struct sigaction *old = &previous[i].action;
        if (sigaction(previous[i].signal_number, NULL, old) != 0)
            continue;
        bool has_handler = (old->sa_flags & SA_SIGINFO) || old->sa_handler != SIG_DFL;
        /* One that is ignored would no longer be in programs that this one executes. */
        if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == SIG_IGN)
            continue;
        struct sigaction ours = {.sa_sigaction = handle, .sa_mask = old->sa_mask};
        ours.sa_flags = has_handler ? old->sa_flags & (SA_ONSTACK | SA_NODEFER | SA_RESTART)
                                    : SA_ONSTACK | SA_RESTART;
        ours.sa_flags |= SA_SIGINFO;
        sigaction(previous[i].signal_number, &ours, NULL);
    }
}
