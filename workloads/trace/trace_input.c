/* Opens a trace file for reading, decompressed where it is compressed. */
#include "trace_input.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wl_fail.h"

static const struct {
    const char *magic;
    size_t length;
    const char *program, *package;
} compressions[] = {
    {"\x1f\x8b", 2, "gzip", "gzip"},
    {"\xfd"
     "7zXZ",
     6, "xz", "xz-utils"},
    {"\x28\xb5\x2f\xfd", 4, "zstd", "zstd"},
};

static int file_in_memory(void) {
    int file = memfd_create("trace", MFD_CLOEXEC);
    if (file < 0)
        wl_fail(WL_EXIT_RUN, "a file in memory can't be had (%s)", strerror(errno));
    return file;
}

/* What can't be mapped or read twice, such as a pipe, is copied. */
static int copied(int from, const char *path) {
    static char piece[1 << 16];
    int into = file_in_memory();
    for (;;) {
        ssize_t got = read(from, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            wl_fail(WL_EXIT_USAGE, "'%.300s' can't be read (%s)", path, strerror(errno));
        if (got == 0)
            return into;
        for (ssize_t done = 0; done < got;) {
            ssize_t written = write(into, piece + done, (size_t)(got - done));
            if (written < 0 && errno == EINTR)
                continue;
            if (written <= 0)
                wl_fail(WL_EXIT_RUN, "'%.300s' does not fit into memory (%s)", path,
                        strerror(errno));
            done += written;
        }
    }
}

/* The allocator under test is not preloaded into the decompressor, whose cost is nobody's. */
static int decompressed(int from, const char *path, const char *program, const char *package) {
    int into = file_in_memory(), status = 0;
    pid_t child;
    char *arguments[] = {(char[8]){0}, (char[4]){"-dc"}, NULL};
    char *environment[] = {(char[10]){"LC_ALL=C"}, NULL};
    strcpy(arguments[0], program);
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, into, STDOUT_FILENO);
    if (error == 0)
        error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (error == 0)
        error = posix_spawnp(&child, program, &actions, NULL, arguments, environment);
    if (error != 0)
        wl_fail(WL_EXIT_USAGE,
                "'%.300s' is compressed and %s can't be started (%s); install the package %s, or "
                "decompress the file",
                path, program, strerror(error), package);
    (void)posix_spawn_file_actions_destroy(&actions);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        wl_fail(WL_EXIT_USAGE, "'%.300s' is damaged: %s can't decompress it", path, program);
    (void)close(from);
    return into;
}

static int find_and_decompress(int file, const char *path) {
    char magic[8] = "";
    if (pread(file, magic, sizeof magic, 0) < 0)
        wl_fail(WL_EXIT_USAGE, "'%.300s' can't be read (%s)", path, strerror(errno));
    for (size_t i = 0; i < sizeof compressions / sizeof *compressions; i++)
        if (memcmp(magic, compressions[i].magic, compressions[i].length) == 0)
            return decompressed(file, path, compressions[i].program, compressions[i].package);
    return file;
}

/* A name alone is one of the recorded traces, which lie beside this file in the tree whose
 * out/VARIANT/ holds the program. */
static int open_recorded(const char *name) {
    static char place[PATH_MAX + 300];
    const ssize_t length = readlink("/proc/self/exe", place, PATH_MAX);
    char *end = length > 0 ? memrchr(place, '/', (size_t)length) : NULL;
    if (end == NULL || strchr(name, '/') != NULL || strlen(name) > 100)
        return -1;
    strcpy(end, "/../../workloads/replay/traces/");
    strcat(end, name);
    strcat(end, ".trace.gz");
    return open(place, O_RDONLY | O_CLOEXEC);
}

trace_input trace_input_open(const char *path) {
    struct stat about;
    int file = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        file = open_recorded(path);
        if (file < 0)
            wl_fail(WL_EXIT_USAGE,
                    "there is neither a file '%.300s' nor a recorded trace of that name in "
                    "workloads/replay/traces; name a trace that libhakmem-trace.so wrote",
                    path);
    }
    if (file < 0 || fstat(file, &about) != 0)
        wl_fail(WL_EXIT_USAGE, "'%.300s' can't be opened (%s)", path, strerror(errno));
    if (S_ISDIR(about.st_mode))
        wl_fail(WL_EXIT_USAGE, "'%.300s' is a directory; name a trace in it", path);
    if (!S_ISREG(about.st_mode))
        file = copied(file, path);
    else if (file == STDIN_FILENO)
        (void)lseek(file, 0, SEEK_SET); /* the decompressor reads on from there */
    file = find_and_decompress(file, path);
    if (lseek(file, 0, SEEK_SET) != 0 || fstat(file, &about) != 0)
        wl_fail(WL_EXIT_USAGE, "'%.300s' can't be read (%s)", path, strerror(errno));
    if (about.st_size <= 0)
        wl_fail(WL_EXIT_USAGE, "'%.300s' is empty; a trace has at least a head", path);
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED)
        wl_fail(WL_EXIT_USAGE, "'%.300s' can't be mapped (%s)", path, strerror(errno));
    return (trace_input){bytes, (size_t)about.st_size, file};
}

/* The reader takes a path, and names it where something is wrong: in its place the user's. */
trace_reader *trace_input_read(const trace_input *file, const char *path) {
    char why[TRACE_WHY], place[64];
    snprintf(place, sizeof place, "/proc/self/fd/%d", file->file);
    trace_reader *trace = trace_open(place, why);
    if (trace != NULL)
        return trace;
    const char *at = strstr(why, place);
    if (at == NULL)
        wl_fail(WL_EXIT_USAGE, "%s", why);
    wl_fail(WL_EXIT_USAGE, "%.*s%.300s%s", (int)(at - why), why, path, at + strlen(place));
}

void trace_input_close(trace_input *file) {
    (void)munmap((void *)(uintptr_t)file->bytes, file->size);
    (void)close(file->file);
}
