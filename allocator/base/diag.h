/* Messages and fatal errors, written without allocating. */
#ifndef HAK_DIAG_H
#define HAK_DIAG_H

#include "base/config.h"

/* Writes to standard error. Understands %s, %d (long), %u (unsigned long), %p, %%, and a width:
 * %8u and %8d are padded on the left, %-8s and %8s on the right. Longer texts than 511 bytes are
 * cut, and end with a newline all the same. Async-signal-safe; errno is kept. */
void hak_message(const char *format, ...);

/* Lets messages reach standard error after the program closed it, as many do before the last
 * functions of atexit run, and no other file that has its number by then. Once, at start-up. */
void hak_message_keep_stderr(void);

/* Where messages go: standard error, or what it was when it was kept; -1 if it was closed then, or
 * can't be reached any more. Async-signal-safe; errno is kept. */
int hak_message_fd(void);

/* A longer text that is put together in a buffer of the caller's, and written whenever that is
 * full. Async-signal-safe; errno is kept. */
struct hak_writer {
    int fd;
    size_t size, used; /* bytes of `text` */
    char *text;
};
/* Adds to the text; the format as for hak_message, of any length. */
void hak_write(struct hak_writer *writer, const char *format, ...);
/* Writes what was not written yet. False if something of the text could not be written. */
bool hak_write_end(struct hak_writer *writer);

/* hak_message, then abort(). For corruption that the allocator found itself. */
_Noreturn void hak_fatal(const char *format, ...) HAK_COLD;

/* Checks of the allocator's own invariants, in builds with HAKMEM_DEBUG only. */
#ifdef HAKMEM_DEBUG
#define HAK_ASSERT(condition)                                                                      \
    ((condition) ? (void)0                                                                         \
                 : hak_fatal("hakmem: %s:%d: assertion failed: %s\n", __FILE__, (long)__LINE__,    \
                             #condition))
#else
#define HAK_ASSERT(condition) ((void)sizeof(condition))
#endif

#endif
