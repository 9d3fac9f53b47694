/* Threads that free and resize each other's blocks, so that addresses wander: handover THREADS
 * ROUNDS. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SLOTS = 16 };
static _Atomic(void *) slot[SLOTS];
static long rounds;

static void *work(void *seed) {
    unsigned random = (unsigned)(size_t)seed * 2654435761u + 1;
    for (long i = 0; i < rounds; i++) {
        random = random * 1103515245u + 12345u;
        size_t size = 16 + (random >> 16) % 48;
        void *mine = malloc(size);
        void *other = atomic_exchange(&slot[random >> 8 & (SLOTS - 1)], mine);
        if (random >> 30 == 0 && other) {
            other = realloc(other, 4 * size);
            other = atomic_exchange(&slot[random >> 12 & (SLOTS - 1)], other);
        }
        free(other);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t thread[64];
    long threads = atol(argv[argc - 2]);
    rounds = atol(argv[argc - 1]);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, (void *)(i + 1));
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        free(atomic_load(&slot[i]));
    return 0;
}
