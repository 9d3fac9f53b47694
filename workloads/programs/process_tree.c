/* Starts processes, adopts what they leave behind, and adds up what the kernel charged them. */
#include "process_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "witness.h"
#include "wl_clock.h"
#include "wl_fail.h"

static int64_t nanoseconds(struct timeval time) {
    return (int64_t)time.tv_sec * 1000000000 + (int64_t)time.tv_usec * 1000;
}

/* In the child: standard stream `number` from or to a file. False with errno where it can't be. */
static bool redirect(int number, const char *path, int flags) {
    int file = open(path == NULL ? "/dev/null" : path, flags, 0600);
    if (file < 0 || dup2(file, number) < 0)
        return false;
    return file == number || close(file) == 0;
}

static bool preload(const wl_tree *tree, pid_t launcher) {
    char libraries[2 * PATH_MAX + 2], file[64];
    int length = snprintf(libraries, sizeof libraries, "%s:%s", tree->preload, tree->witness);
    if (length < 0 || (size_t)length >= sizeof libraries) {
        errno = ENAMETOOLONG;
        return false;
    }
    snprintf(file, sizeof file, "/proc/%d/fd/%d", (int)launcher, tree->witness_file);
    return setenv("LD_PRELOAD", libraries, 1) == 0 && setenv(WL_WITNESS_FILE, file, 1) == 0;
}

/* The child's part of start(): does not come back but for an error, which errno tells. */
static void become(const wl_tree *tree, bool is_client, pid_t launcher) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launcher)
        _exit(WL_EXIT_RUN);
    if (is_client) {
        if (redirect(STDIN_FILENO, NULL, O_RDONLY) && redirect(STDOUT_FILENO, NULL, O_WRONLY))
            execvp(tree->client[0], tree->client);
    } else if (redirect(STDIN_FILENO, tree->input, O_RDONLY) &&
               redirect(STDOUT_FILENO, tree->output, O_WRONLY | O_CREAT | O_TRUNC) &&
               preload(tree, launcher)) {
        execvp(tree->program[0], tree->program);
    }
}

static pid_t start(const wl_tree *tree, bool is_client) {
    int report[2];
    const char *name = is_client ? tree->client[0] : tree->program[0];
    if (pipe2(report, O_CLOEXEC) != 0)
        wl_fail(WL_EXIT_RUN, "no pipe can be made (%s); close other programs", strerror(errno));
    pid_t launcher = getpid();
    pid_t pid = fork();
    if (pid < 0)
        wl_fail(WL_EXIT_RUN, "no process can be started (%s); close other programs",
                strerror(errno));
    if (pid == 0) {
        become(tree, is_client, launcher);
        int error = errno;
        ssize_t told = write(report[1], &error, sizeof error);
        _exit(told == sizeof error ? WL_EXIT_RUN : WL_EXIT_USAGE);
    }
    close(report[1]);
    int error = 0;
    ssize_t length;
    do {
        length = read(report[0], &error, sizeof error);
    } while (length < 0 && errno == EINTR);
    close(report[0]);
    if (length != 0)
        wl_fail(WL_EXIT_RUN, "%s can't be started (%s); check that it is installed", name,
                strerror(error));
    return pid;
}

/* Ends as the program did: a crash of it is a crash of ours, for whoever looks at the status. */
static void end_like(const char *name, int status) {
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) != 0)
            wl_fail(WL_EXIT_RUN, "%s ended with exit status %d", name, WEXITSTATUS(status));
        return;
    }
    struct rlimit no_core = {0, 0};
    int number = WTERMSIG(status);
    wl_note("%s was ended by signal %d (%s)", name, number, strsignal(number));
    setrlimit(RLIMIT_CORE, &no_core);
    signal(number, SIG_DFL);
    raise(number);
    wl_fail(WL_EXIT_RUN, "%s was ended by signal %d", name, number);
}

static void add(wl_usage *sum, const struct rusage *usage) {
    sum->wall_ns = wl_now_ns();
    sum->cpu_user_ns += nanoseconds(usage->ru_utime);
    sum->cpu_system_ns += nanoseconds(usage->ru_stime);
    sum->minor_faults += (uint64_t)usage->ru_minflt;
    sum->major_faults += (uint64_t)usage->ru_majflt;
}

wl_usage wl_tree_run(const wl_tree *tree) {
    wl_usage sum = {0};
    int program_status = 0, client_status = 0;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        wl_fail(WL_EXIT_RUN, "orphans of the program can't be adopted (%s)", strerror(errno));
    int64_t began = wl_now_ns();
    pid_t program = start(tree, false);
    pid_t client = tree->client == NULL ? -1 : start(tree, true);
    for (;;) {
        int status;
        struct rusage usage; /* of the process and of those that it waited for itself */
        pid_t pid = wait4(-1, &status, 0, &usage);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            break;
        if (pid == client) {
            client_status = status;
            if (status != 0)
                kill(program, SIGKILL); /* else it would wait for a client for ever */
            continue;
        }
        if (pid == program)
            program_status = status;
        add(&sum, &usage);
    }
    if (client_status != 0 && !(WIFSIGNALED(program_status) && WTERMSIG(program_status) != SIGKILL))
        wl_fail(WL_EXIT_RUN, "the client of %s failed; what it printed before this says why",
                tree->program[0]);
    end_like(tree->program[0], program_status);
    sum.wall_ns -= began;
    return sum;
}
