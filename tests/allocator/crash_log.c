/* Crashes in the way that its argument names, for test_crash_log.py. What PREVIOUS names in the
 * environment is installed for SIGSEGV before any library has begun. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t page;
static char *volatile spot; /* where a write will fault, once */
static volatile int faults; /* that a handler has seen */
static sigjmp_buf back;

static void say(const char *text) {
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(9);
}

static int blocked(int number) {
    sigset_t now;
    sigemptyset(&now);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, number);
}

/* ---- handlers that were there before -------------------------------------------------------- */

static void repair(void) {
    faults++;
    mprotect(spot, page, PROT_READ | PROT_WRITE);
}

static void with_info(int number, siginfo_t *info, void *context) {
    (void)context;
    if (number == SIGSEGV && info->si_code == SEGV_ACCERR && info->si_addr == spot && context)
        say("arguments ");
    say(blocked(SIGSEGV) ? "segv " : "");
    say(blocked(SIGUSR1) ? "usr1 " : "");
    say(blocked(SIGUSR2) ? "usr2 " : "");
    repair();
}
static void plain(int number) {
    if (number == SIGSEGV)
        repair();
}
static void jump(int number) {
    faults++;
    siglongjmp(back, number);
}

static void install(int argc, char **argv, char **environment) {
    (void)argc, (void)argv;
    const char *which = NULL;
    for (; *environment; environment++)
        if (strncmp(*environment, "PREVIOUS=", 9) == 0)
            which = *environment + 9;
    if (!which)
        return;
    struct sigaction action = {.sa_handler = plain};
    if (strncmp(which, "info", 4) == 0) {
        action.sa_sigaction = with_info;
        action.sa_flags = SA_SIGINFO | (strcmp(which, "info-nodefer") == 0 ? SA_NODEFER : 0);
    }
    if (strcmp(which, "once") == 0)
        action.sa_flags = (int)SA_RESETHAND;
    if (strcmp(which, "jump") == 0)
        action.sa_handler = jump;
    if (strcmp(which, "ignore") == 0)
        action.sa_handler = SIG_IGN;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR1);
    sigaction(SIGSEGV, &action, NULL);
}
__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **,
                                                                            char **) = install;

/* ---- crashes --------------------------------------------------------------------------------- */

static char *protected_block(int protection) {
    char *block = aligned_alloc(page, 2 * page);
    mprotect(block, page, protection);
    return block;
}

static void *touch_null(void *unused) {
    (void)unused;
    free(malloc(100));
    *(volatile int *)16 = 1;
    return NULL;
}

__attribute__((noinline)) static int deeper(int depth) {
    volatile char room[4000];
    room[0] = (char)depth;
    return deeper(depth + 1) + room[0];
}
static void *no_stack(void *unused) {
    (void)unused;
    free(malloc(100));
    return (void *)(intptr_t)deeper(0);
}

static pthread_barrier_t barrier;
static void *owner(void *unused) {
    (void)unused;
    spot = protected_block(PROT_NONE);
    printf("%ld\n", (long)syscall(SYS_gettid));
    fflush(stdout);
    pthread_barrier_wait(&barrier);
    pause();
    return NULL;
}

static void in_thread(void *(*function)(void *)) {
    pthread_t thread;
    pthread_create(&thread, NULL, function, NULL);
    if (function != owner)
        pthread_join(thread, NULL);
}

static void fault(int times) {
    spot = protected_block(PROT_READ);
    for (int i = 0; i < times; i++) {
        if (sigsetjmp(back, 1) == 0)
            *spot = (char)i;
        mprotect(spot, page, PROT_READ);
    }
    printf("%d faults\n", faults);
}

static void query(void) {
    struct sigaction action;
    stack_t stack;
    sigaction(SIGSEGV, NULL, &action);
    sigaltstack(NULL, &stack);
    free(malloc(10));
    printf("%s %s\n", action.sa_handler == SIG_DFL ? "default" : "handler",
           stack.ss_flags & SS_DISABLE ? "none" : "stack");
}

static void again(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    say("own handler\n");
    _exit(7);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    page = (size_t)sysconf(_SC_PAGESIZE);
    char *huge = malloc(5000000);
    memset(huge, 1, 5000000);
    if (strcmp(how, "null") == 0)
        touch_null(NULL);
    else if (strcmp(how, "unmapped") == 0)
        free(huge), huge[4000000] = 1;
    else if (strcmp(how, "read-only") == 0)
        protected_block(PROT_READ)[24] = 1;
    else if (strcmp(how, "beyond") == 0)
        memset(huge, 1, 50000000);
    else if (strcmp(how, "wreck") == 0) {
        char *block = malloc(100); /* and all around it */
        munmap((void *)((uintptr_t)block & ~(uintptr_t)0x1fffff), 0x200000);
        *block = 1;
    } else if (strcmp(how, "nowhere") == 0)
        *(volatile int *)0x6261626162616261 = 1;
    else if (strcmp(how, "called") == 0)
        ((void (*)(void))(uintptr_t)32)();
    else if (strcmp(how, "stack") == 0)
        no_stack(NULL);
    else if (strcmp(how, "thread") == 0)
        in_thread(touch_null);
    else if (strcmp(how, "thread-stack") == 0)
        in_thread(no_stack);
    else if (strcmp(how, "other") == 0)
        pthread_barrier_init(&barrier, NULL, 2), in_thread(owner), pthread_barrier_wait(&barrier),
            spot[8] = 1;
    else if (strcmp(how, "abort") == 0)
        abort();
    else if (strcmp(how, "raise") == 0)
        raise(SIGSEGV);
    else if (strcmp(how, "bus") == 0) {
        FILE *file = tmpfile();
        char *bytes = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
        *bytes = 1;
    } else if (strcmp(how, "double-free") == 0) {
        char *volatile block = malloc(100);
        free(block), free(block);
    } else if (strcmp(how, "fork") == 0) {
        int status = 0;
        pid_t child = fork();
        if (!child)
            touch_null(NULL);
        waitpid(child, &status, 0);
        printf("child %d\n", WTERMSIG(status));
    } else if (strcmp(how, "wait") == 0) {
        say("ready\n");
        pause();
    } else if (strcmp(how, "own") == 0) {
        struct sigaction action = {.sa_sigaction = again, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &action, NULL);
        touch_null(NULL);
    } else if (strcmp(how, "query") == 0)
        query();
    else
        fault(atoi(how));
    return 0;
}
