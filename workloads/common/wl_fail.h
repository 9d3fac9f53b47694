/* Ends a driver with one sentence on standard error, without using the allocator under test. */
#ifndef WL_FAIL_H
#define WL_FAIL_H

enum {
    WL_EXIT_RUN = 1,  /* the run failed: out of memory, --check found an error */
    WL_EXIT_USAGE = 2 /* the arguments are wrong */
};

/* The program's name as it stands before every message; set once, before any thread starts. */
void wl_set_program(const char *name);
const char *wl_program(void);

/*
 * Prints "PROGRAM: message" and ends the process at once with exit status `status`.
 * May be called by any thread; when several fail together only the first one is heard.
 * The message is formatted in a buffer of its own and cut at 1000 bytes; bytes that a terminal
 * would obey (control characters) are replaced by '?'.
 */
_Noreturn void wl_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same message without ending the process. */
void wl_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* malloc(size) returned NULL: ends the run with exit status 1. */
_Noreturn void wl_fail_out_of_memory(unsigned long long size);

/* The same for another call, such as "realloc". */
_Noreturn void wl_fail_no_memory(const char *call, unsigned long long size);

#endif
