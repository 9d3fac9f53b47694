/* Runs the scenario again and again, with another system call failing each time.
 *
 *   inject once|on CALLS
 *
 * once: the nth call fails; on: the nth and all that follow it, until the scenario is over. For
 * each n from 1 until one is never reached. CALLS is a sum of enum hak_inject_call. Afterwards the
 * scenario must succeed in full. Each run is a process of its own, forked before the first call of
 * the allocator. Prints the runs and the requests refused in all of them. */
#include "os/inject.h"
#include "os/os.h"
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REACHED = 0, NOT_REACHED = 3 };

static int run(uint64_t nth, bool on, unsigned calls, uint64_t *refused) {
    hak_inject_fail(nth, on, calls);
    unsigned count = scenario();
    bool reached = hak_inject_calls() >= nth;
    hak_inject_fail(0, false, calls);
    *refused += count;
    if (count && !reached)
        give_up("%u requests were refused although no call failed", count);
    if ((count = scenario()))
        give_up("%u requests were refused when memory was to be had again", count);
    if (hak_os_leftover())
        give_up("%zu bytes of address space were not given back", hak_os_leftover());
    return reached ? REACHED : NOT_REACHED;
}

int main(int argc, char **argv) {
    if (argc != 3 || (strcmp(argv[1], "once") != 0 && strcmp(argv[1], "on") != 0))
        give_up("usage: inject once|on CALLS");
    bool on = strcmp(argv[1], "on") == 0;
    unsigned calls = (unsigned)atoi(argv[2]);
    uint64_t *refused = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (refused == MAP_FAILED)
        give_up("no page to share with the runs");
    if (hak_inject_calls())
        give_up("the allocator was used before main");
    for (uint64_t nth = 1;; nth++) {
        pid_t child = fork();
        if (child < 0)
            give_up("fork failed");
        if (child == 0)
            _exit(run(nth, on, calls, refused));
        int status;
        if (waitpid(child, &status, 0) != child)
            give_up("waitpid failed");
        if (status != 0 && status != NOT_REACHED << 8)
            give_up("with call %lu failing: %s %d", (unsigned long)nth,
                    WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        if (status == NOT_REACHED << 8) {
            dprintf(STDOUT_FILENO, "runs %lu refused %lu\n", (unsigned long)nth,
                    (unsigned long)*refused);
            return 0;
        }
    }
}
