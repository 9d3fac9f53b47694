/* A program whose allocation calls are known to the digit: known THREADS ROUNDS. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static long rounds;

/* Of each thread: `rounds` of malloc, calloc, realloc twice, aligned_alloc, and three frees. */
static void *work(void *number) {
    char name[16];
    snprintf(name, sizeof name, "worker-%ld", (long)number);
    pthread_setname_np(pthread_self(), name);
    for (long i = 0; i < rounds; i++) {
        void *volatile a = malloc(1000 + (size_t)(long)number);
        void *volatile b = calloc(3, 7);
        void *volatile c = aligned_alloc(64, 128);
        a = realloc(a, 70000); /* moves */
        a = realloc(a, 69999); /* stays */
        free(a);
        free(b);
        free(c);
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads = atol(argv[argc - 2]);
    pthread_t thread[64];
    rounds = atol(argv[argc - 1]);
    setvbuf(stdout, NULL, _IONBF, 0);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, (void *)i);
    for (long i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    free(NULL);
    void *volatile huge = malloc((size_t)-1 / 4);
    huge = realloc(NULL, 11);
    huge = realloc(huge, 0);
    puts("done");
    return huge != NULL && argc < 0;
}
