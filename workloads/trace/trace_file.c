/* Makes the file of a recording, and gives it space before anything is written there. */
#include "trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

enum {
    MOST_NAMES = 10000,      /* NAME, NAME.1 to NAME.9999 */
    HIGH_DESCRIPTOR = 900,   /* out of the way of what programs count on; below the usual limit */
    STEP_SMALLEST = 1 << 16, /* bytes by which the file grows */
    STEP_LARGEST = 1 << 22,
};

/* ---- what /proc knows of the process ------------------------------------------------------- */

/* Field 22 of stat; the 2nd, the program's name, may hold spaces and parentheses. */
static uint64_t process_started(void) {
    char text[1024];
    trace_read_text("/proc/self/stat", text, sizeof text);
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static uint64_t random_id(void) {
    uint64_t id = 0;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) != sizeof id || !id) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        id = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 44 ^ 1;
    }
    return id;
}

/* ---- the descriptor ------------------------------------------------------------------------ */

static bool is_ours(int fd, const trace_recording *recording) {
    struct stat status;
    return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == recording->device &&
           status.st_ino == recording->inode;
}

/* The descriptor, or, where the program has closed it, another of the same file. */
static int descriptor(const trace_recording *recording, bool *close_it) {
    *close_it = false;
    if (is_ours(recording->fd, recording))
        return recording->fd;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, recording->path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && !is_ours(fd, recording)) {
        syscall(SYS_close, fd);
        fd = -1;
        errno = ENOENT;
    }
    *close_it = fd >= 0;
    return fd;
}

static void done_with(int fd, bool close_it) {
    if (close_it)
        syscall(SYS_close, fd);
}

/* ---- the name ------------------------------------------------------------------------------ */

typedef enum { TAKEN, MINE, REFUSED } claim;

/* Whether an open file may become this process's: it is new, empty, or a trace of an earlier run
 * whose process is gone. The lock lasts as long as the process, or until exec. */
static claim may_have(int fd, const char *path, uint64_t started, bool aloud) {
    static trace_header head; /* too large for a small stack */
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        if (aloud)
            trace_say("%s is no regular file; the program runs unrecorded", path);
        return REFUSED;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return TAKEN;
    if (fstat(fd, &status) != 0 || status.st_size == 0)
        return MINE;
    if (pread(fd, &head, sizeof head, 0) < 8 || memcmp(head.magic, TRACE_MAGIC, 8) != 0) {
        if (aloud)
            trace_say("%s holds something else than a trace and is left as it is; the program runs "
                      "unrecorded",
                      path);
        return REFUSED;
    }
    if (head.pid == getpid() && head.process_started == started)
        return TAKEN; /* by the program that this process was before exec */
    return MINE;
}

static int open_named(const char *path, uint64_t started, bool aloud, claim *answer) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                          O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (fd < 0) {
        *answer = REFUSED;
        if (aloud)
            trace_say("%s can't be written: %s; the program runs unrecorded", path,
                      trace_error_text(errno));
        return -1;
    }
    *answer = may_have(fd, path, started, aloud);
    if (*answer == MINE)
        return fd;
    syscall(SYS_close, fd);
    return -1;
}

/* The first free one of NAME, NAME.PROCESS unless the process is in NAME already, then NAME.1... */
static int open_free(const trace_settings *settings, char *path, uint64_t started, bool child,
                     bool aloud) {
    int pid = getpid();
    claim answer = REFUSED;
    if (!trace_settings_name(settings, pid, path) || strlen(path) + 24 > TRACE_PATH) {
        if (aloud)
            trace_say("HAKMEM_TRACE is longer than a path can be; the program runs unrecorded");
        return -1;
    }
    bool each = trace_settings_each(settings);
    size_t length = strlen(path);
    for (int i = child && !each ? 1 : 0; i < MOST_NAMES; i++) {
        if (i == 1 && !each)
            length += (size_t)snprintf(path + length, 16, ".%d", pid);
        else if (i > 0)
            snprintf(path + length, 16, ".%d", each ? i : i - 1);
        int fd = open_named(path, started, aloud, &answer);
        if (fd >= 0 || answer == REFUSED)
            return fd;
    }
    if (aloud)
        trace_say("%s and all names after it are taken; the program runs unrecorded", path);
    return -1;
}

/* ---- making it ----------------------------------------------------------------------------- */

static void describe(trace_header *head, const trace_recording *parent, uint64_t started) {
    struct timespec now;
    head->version = TRACE_VERSION;
    head->byte_order = TRACE_BYTE_ORDER;
    head->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
    head->unit = head->page_size > 4096 ? head->page_size : 4096;
    head->header_bytes = head->unit;
    head->next_chunk = head->unit;
    head->id = random_id();
    head->pid = getpid();
    head->pointer_bits = (uint32_t)sizeof(void *) * 8;
    head->process_started = started;
    clock_gettime(CLOCK_REALTIME, &now);
    head->start_real_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (parent->fd >= 0) {
        head->parent_id = parent->id;
        head->parent_pid = parent->pid;
        head->parent_thread = parent->fork_thread;
        head->fork_before = parent->fork_before;
        head->fork_after = parent->fork_after;
        memcpy(head->parent_file, parent->path,
               strnlen(parent->path, sizeof head->parent_file - 1));
    }
    long length = readlink("/proc/self/exe", head->program, sizeof head->program - 1);
    head->program[length > 0 ? length : 0] = '\0';
    head->arguments_bytes =
        (uint32_t)trace_read_text("/proc/self/cmdline", head->arguments, sizeof head->arguments);
}

bool trace_file_begin(trace_file *file, trace_recording *recording, const trace_settings *settings,
                      bool aloud) {
    static trace_recording mine; /* too large for a small stack */
    uint64_t started = process_started();
    bool child = recording->fd >= 0;
    mine = (trace_recording){.fork_thread = UINT32_MAX};
    if (child && is_ours(recording->fd, recording))
        syscall(SYS_close, recording->fd);
    int fd = open_free(settings, mine.path, started, child, aloud), error = 0;
    if (fd < 0) {
        recording->fd = -1;
        return false;
    }
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
    if (high >= 0) {
        syscall(SYS_close, fd);
        fd = high;
    }
    struct stat status = {.st_dev = 0};
    fstat(fd, &status);
    mine.fd = fd;
    mine.device = status.st_dev;
    mine.inode = status.st_ino;
    mine.pid = getpid();
    uint64_t unit = (uint64_t)sysconf(_SC_PAGESIZE);
    unit = unit > 4096 ? unit : 4096;
    *file = (trace_file){.header = NULL};
    trace_stop failed = TRACE_STOP_SPACE;
    if (ftruncate(fd, 0) == 0) {
        failed = trace_file_extend(file, &mine, unit, settings->max, &error);
        if (failed == TRACE_GOES_ON && !(file->header = trace_file_map(&mine, 0, unit)))
            failed = TRACE_STOP_MAPPING;
    }
    if (failed != TRACE_GOES_ON) {
        if (aloud)
            trace_say("%s can't be given space: %s; the program runs unrecorded", mine.path,
                      trace_error_text(error ? error : errno));
        syscall(SYS_close, fd);
        recording->fd = -1;
        return false;
    }
    describe(file->header, recording, started);
    mine.id = file->header->id;
    *recording = mine;
    return true;
}

/* ---- space --------------------------------------------------------------------------------- */

/* Zeros written where the file system can't allocate without writing. */
static int write_zeros(int fd, uint64_t from, uint64_t to) {
    static const char zeros[4096];
    while (from < to) {
        uint64_t part = to - from < sizeof zeros ? to - from : sizeof zeros;
        long wrote = syscall(SYS_pwrite64, fd, zeros, (size_t)part, (long)from);
        if (wrote < 0 && errno != EINTR)
            return errno;
        if (wrote > 0)
            from += (uint64_t)wrote;
    }
    return 0;
}

static int allocate(int fd, uint64_t from, uint64_t to) {
    long done;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && to > limit.rlim_cur)
        return EFBIG; /* the kernel would send a signal that ends the program */
    do
        done = syscall(SYS_fallocate, fd, 0, (long)from, (long)(to - from));
    while (done != 0 && errno == EINTR);
    if (done != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        return write_zeros(fd, from, to);
    return done == 0 ? 0 : errno;
}

trace_stop trace_file_extend(trace_file *file, const trace_recording *recording, uint64_t bytes,
                             uint64_t max, int *error) {
    if (bytes <= file->bytes)
        return TRACE_GOES_ON;
    bool close_it;
    int fd = descriptor(recording, &close_it);
    if (fd < 0) {
        *error = errno;
        return TRACE_STOP_FILE;
    }
    uint64_t step = file->bytes / 2;
    step = step < STEP_SMALLEST ? STEP_SMALLEST : step > STEP_LARGEST ? STEP_LARGEST : step;
    uint64_t large = file->bytes + step;
    large = file->ended ? bytes : large < max ? large : max;
    if (large > bytes && (*error = allocate(fd, file->bytes, large)) == 0)
        bytes = large;
    else
        *error = allocate(fd, file->bytes, bytes);
    done_with(fd, close_it);
    if (*error)
        return TRACE_STOP_SPACE;
    file->bytes = bytes;
    return TRACE_GOES_ON;
}

void *trace_file_map(const trace_recording *recording, uint64_t at, uint64_t bytes) {
    bool close_it;
    int fd = descriptor(recording, &close_it);
    if (fd < 0)
        return NULL;
    void *part = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)at);
    int error = errno;
    done_with(fd, close_it);
    errno = error;
    if (part == MAP_FAILED)
        return NULL;
    if (madvise(part, bytes, MADV_DONTFORK) != 0) {
        munmap(part, bytes); /* a child must not write there */
        return NULL;
    }
#ifdef MADV_POPULATE_WRITE
    madvise(part, bytes, MADV_POPULATE_WRITE); /* one call instead of a fault for each page */
#endif
    errno = 0;
    return part;
}

void trace_file_cut(trace_file *file, const trace_recording *recording, uint64_t bytes) {
    bool close_it;
    int fd = descriptor(recording, &close_it);
    if (fd < 0)
        return; /* some zeros at the end stay */
    if (ftruncate(fd, (off_t)bytes) == 0)
        file->bytes = bytes;
    done_with(fd, close_it);
}
