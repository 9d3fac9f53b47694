/* The end of a program that passed a wrong pointer. */
#ifndef HAK_FATAL_H
#define HAK_FATAL_H

#include "base/config.h"

/* Says on standard error, in one line, what is wrong with a pointer that was passed to `function`
 * (as in "free"), which found that it is not the beginning of a block in use; then abort(). */
_Noreturn void hak_inspect_fatal_pointer(const char *function, const void *pointer) HAK_COLD;

/* The pointer for which the calling thread is being ended; NULL if it isn't. */
extern _Thread_local const void *hak_wrong_pointer __attribute__((tls_model("initial-exec")));

#endif
