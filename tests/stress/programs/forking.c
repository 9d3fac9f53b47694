/* Fork handlers that allocate, registered before the program's first block: they run while the
 * allocator's own handlers hold its locks. The forking thread has never allocated itself. */
#include "load.h"

#include <sys/wait.h>

static atomic_uint prepared, in_parent, in_child;

static void allocate_all_kinds(void) {
    static const size_t sizes[] = {10, 300, 5000, 40000, 300000, 2000000, 8000000};
    void *blocks[sizeof sizes / sizeof *sizes];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            blocks[i] = malloc(sizes[i]);
            if (!blocks[i])
                load_broken("malloc returned NULL");
            memset(blocks[i], 7, 10);
        }
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
            free(blocks[i]);
    }
    /* More than a SuperSlab has: a new one is needed. */
    static void *many[200];
    for (unsigned i = 0; i < 200; i++)
        many[i] = malloc(30000);
    for (unsigned i = 0; i < 200; i++)
        free(many[i]);
}

static void prepare(void) {
    allocate_all_kinds();
    atomic_fetch_add(&prepared, 1);
}
static void parent(void) {
    allocate_all_kinds();
    atomic_fetch_add(&in_parent, 1);
}
static void child(void) {
    allocate_all_kinds();
    atomic_fetch_add(&in_child, 1);
}

static void *fork_some(void *argument) {
    (void)argument;
    for (unsigned i = 1; i <= 20; i++) {
        pid_t pid = fork();
        if (pid < 0)
            load_broken("fork failed");
        if (pid == 0) {
            alarm(10);
            allocate_all_kinds();
            pid_t grandchild = fork();
            if (grandchild == 0)
                _exit(atomic_load(&in_child) == 2 ? 0 : 1);
            int status;
            waitpid(grandchild, &status, 0);
            _exit(status == 0 && atomic_load(&in_child) == 1 ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        if (status != 0 || atomic_load(&prepared) != i || atomic_load(&in_parent) != i)
            load_broken("a child failed");
    }
    return NULL;
}

int main(void) {
    pthread_atfork(prepare, parent, child); /* before anything is allocated */
    alarm(20);
    load_start(2);
    pthread_t thread;
    if (pthread_create(&thread, NULL, fork_some, NULL) != 0)
        load_broken("a thread can't be started");
    pthread_join(thread, NULL);
    return 0;
}
