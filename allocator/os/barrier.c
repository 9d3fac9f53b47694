/* membarrier. */
#include "os/barrier.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of linux/membarrier.h, which musl's headers don't bring. */
#define PRIVATE_EXPEDITED          8
#define REGISTER_PRIVATE_EXPEDITED 16

bool hak_os_one_sided;

static long membarrier(int command) {
    int kept = errno;
    long result = syscall(SYS_membarrier, command, 0u);
    errno = kept;
    return result;
}

void hak_os_barrier_init(void) {
#ifndef __SANITIZE_THREAD__ /* which doesn't know of it */
    hak_os_one_sided = membarrier(REGISTER_PRIVATE_EXPEDITED) == 0;
#endif
}

bool hak_os_barrier(void) {
    return !hak_os_one_sided || membarrier(PRIVATE_EXPEDITED) == 0;
}
