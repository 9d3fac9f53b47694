/* The crash log, HAKMEM_CRASH_LOG=1: when the program gets SIGSEGV, SIGBUS or SIGABRT, what the
 * allocator knows is printed before the signal does what it would have done without it.
 *
 * The handlers are installed before main. One that the program installs later replaces ours, and
 * what it does then is the program's affair; a handler that was there before runs after the log,
 * with the same arguments, and where it returns the program goes on as it would have. With none
 * before, the program ends by the same signal as without the log, core dump and exit status
 * included. A signal that is ignored stays ignored, without a log.
 *
 * A thread gets its signal stack with its first allocation: where one that never allocated runs out
 * of stack, the system ends the program without a log.
 *
 * A handler that was there before and runs on the signal stack has HAK_SIGNAL_STACK bytes, unless
 * the program gave the thread a stack of its own. */
#ifndef HAK_CRASH_LOG_H
#define HAK_CRASH_LOG_H

#include "base/config.h"

#include <signal.h>
#include <ucontext.h>

/* Installs the handlers. Called once, at start-up, if the option asks for it. */
void hak_crash_log_init(void);

/* ---- inside this layer --------------------------------------------------------------------- */

/* Prints a part of the log, 0 to HAK_CRASH_LOG_PARTS - 1. Async-signal-safe. */
void hak_crash_log_print(unsigned part, int signal_number, const siginfo_t *info,
                         const ucontext_t *context);
#define HAK_CRASH_LOG_PARTS 4u

#endif
