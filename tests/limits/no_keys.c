/* Runs the scenario in a process that took every thread-specific key before its first allocation.
 */
#include "hakmem.h"
#include "os/inject.h"
#include "scenario.h"

#include <pthread.h>
#include <stdio.h>

int main(void) {
    if (hak_inject_calls())
        give_up("the allocator was used before main");
    pthread_key_t key;
    while (pthread_key_create(&key, NULL) == 0)
        continue;
    for (int i = 0; i < 5; i++)
        if (scenario())
            give_up("a request was refused although there was memory");
    uint64_t heaps;
    if (hak_stats_get("heaps", &heaps) != 0 || heaps > 4)
        give_up("threads that ended kept their heaps: %lu were made", (unsigned long)heaps);
    printf("served\n");
    return 0;
}
