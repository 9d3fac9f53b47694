/* Says which signal ended a driver, and at which address, before the default action takes place. */
#ifndef WL_CRASH_H
#define WL_CRASH_H

/*
 * On SIGSEGV, SIGBUS, SIGFPE and SIGILL one line is printed, "PROGRAM: signal 11 (SIGSEGV) at
 * address 0x6261 in thread 1234", and then the signal's default action ends the process: with the
 * signal's exit status, and with a core file where they are allowed.
 *
 * A signal that somebody else handles already (a library that was loaded before main) is left to
 * him, and so are all in a sanitizer build. Call once, before any thread starts. A thread whose
 * stack is used up ends without the line.
 */
void wl_crash_install(void);

#endif
