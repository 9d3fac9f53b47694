/* Ends in the way that its argument names while detached threads allocate. Everything that runs
 * then allocates, too: exit handlers and the library's destructors. */
#include "load.h"

#include <signal.h>

static void *_Atomic kept;

static void at_end(void) {
    uint64_t seed = 5;
    for (unsigned i = 0; i < 200; i++)
        load_step(&seed);
    void *volatile grown = realloc(malloc(100), 300000);
    free(grown);
    free(atomic_exchange(&kept, malloc(5000)));
}

__attribute__((destructor)) static void at_the_very_end(void) {
    at_end();
}

static void *end_from_thread(void *argument) {
    usleep(1000);
    if (argument)
        exit(7);
    atomic_store(&load_stop, true); /* the others end too, and with the last one the process */
    return NULL;
}

static void start_ending(void *how) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_from_thread, how) != 0)
        load_broken("a thread can't be started");
    pthread_detach(thread);
}

int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "";
    alarm(60);
    atexit(at_end);
    at_quick_exit(at_end);
    atomic_store(&kept, malloc(100));
    load_start(4);
    if (!strcmp(way, "return"))
        return 3;
    if (!strcmp(way, "exit"))
        exit(4);
    if (!strcmp(way, "_exit"))
        _exit(5);
    if (!strcmp(way, "quick_exit"))
        quick_exit(6);
    if (!strcmp(way, "exit-in-thread")) {
        start_ending(&kept);
        for (uint64_t seed = 1;;)
            load_step(&seed);
    }
    if (!strcmp(way, "pthread_exit-then-exit")) {
        start_ending(&kept);
        pthread_exit(NULL);
    }
    if (!strcmp(way, "pthread_exit")) {
        start_ending(NULL);
        pthread_exit(NULL);
    }
    if (!strcmp(way, "exec"))
        execl("/bin/sh", "sh", "-c", "exit 8", (char *)NULL);
    if (!strcmp(way, "abort"))
        abort();
    if (!strcmp(way, "kill"))
        raise(SIGTERM);
    fprintf(stderr, "ending: unknown way to end '%s'\n", way);
    return 2;
}
