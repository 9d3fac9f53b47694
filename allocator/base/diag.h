/* Messages and fatal errors, written without allocating. */
#ifndef HAK_DIAG_H
#define HAK_DIAG_H

#include "base/config.h"

/* Writes to standard error. Understands %s, %d (long), %u (unsigned long), %p, %%; longer lines
 * than 511 bytes are cut. Async-signal-safe; errno is kept. */
void hak_message(const char *format, ...);

/* Lets messages reach standard error after the program closed it, as many do before the last
 * functions of atexit run. */
void hak_message_keep_stderr(void);

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
