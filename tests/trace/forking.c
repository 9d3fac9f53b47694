/* Forks in several ways; the child frees what it inherited, and allocates: forking fork|raw|vfork.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    void *volatile inherited = malloc(4321);
    void *volatile kept = malloc(4322);
    pid_t child;
    (void)argc;
    if (strcmp(argv[1], "vfork") == 0) {
        child = vfork();
        if (child == 0) {
            free(kept); /* the parent's memory, and its call */
            _exit(0);
        }
    } else {
        child =
            strcmp(argv[1], "raw") == 0 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
        if (child == 0) {
            free(inherited);
            inherited = malloc(777);
            free(inherited);
            exit(0);
        }
    }
    int status;
    waitpid(child, &status, 0);
    inherited = realloc(inherited, 4444);
    free(inherited);
    fprintf(stderr, "%d %d %d\n", (int)getpid(), (int)child, status);
    return 0;
}
