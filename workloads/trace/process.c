/* Begins and stops this process's recording, and hands out the parts of its file. */
#include "process.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "next.h"
#include "say.h"

/* Of <linux/futex.h>, which not every C library's compiler finds. */
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129

#define POOL_BYTES ((size_t)1 << 18) /* of streams, 2000 or so */

enum { NEW, RECORDING, SILENT };

/* These outlive fork. */
static trace_settings settings;
static bool settings_read, never; /* never: options or the first file were refused */
static trace_recording recording = {.fd = -1, .fork_thread = UINT32_MAX};
static char allocator[512]; /* the path of the object behind */
static bool wiped;          /* the kernel clears what must be zeros in a child */
static _Atomic(trace_process *) the_process;

/* ---- memory that is zeros after fork -------------------------------------------------------- */

static void *wiped_memory(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
#ifdef MADV_WIPEONFORK
    wiped = madvise(memory, bytes, MADV_WIPEONFORK) == 0;
#endif
    return memory;
}

static size_t process_bytes(void) {
    return (sizeof(trace_process) + 127) & ~(size_t)127;
}

/* The first pool of streams lies behind the process's own structure. */
static trace_process *find_process(void) {
    /* acquire: with the release below */
    trace_process *process = atomic_load_explicit(&the_process, memory_order_acquire);
    if (process)
        return process;
    process = wiped_memory(POOL_BYTES);
    trace_process *other = NULL;
    if (process && !atomic_compare_exchange_strong_explicit(
                       &the_process, &other, process, memory_order_acq_rel, memory_order_acquire)) {
        munmap(process, POOL_BYTES);
        return other;
    }
    return process;
}

trace_stream *trace_process_stream(trace_process *process) {
    trace_stream *stream = process->free_streams;
    if (stream) {
        process->free_streams = stream->next_free;
        return stream;
    }
    if (process->fresh == process->fresh_end) {
        trace_stream *pool = wiped_memory(POOL_BYTES);
        if (!pool)
            return NULL;
        process->fresh = pool;
        process->fresh_end = pool + POOL_BYTES / sizeof *pool;
    }
    return process->fresh++;
}

/* ---- the lock -------------------------------------------------------------------------------- */

/* As in U. Drepper, "Futexes Are Tricky", 2011, section 5: mutex2. pthread's would not be zeros. */
static void lock(_Atomic int *word) {
    int seen = 0;
    if (atomic_compare_exchange_strong(word, &seen, 1))
        return;
    if (seen != 2)
        seen = atomic_exchange(word, 2);
    while (seen != 0) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
        seen = atomic_exchange(word, 2);
    }
}

static void unlock(_Atomic int *word) {
    if (atomic_exchange(word, 0) == 2)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool kernel_counts_by_processor(void) {
#if defined(__x86_64__) || defined(__aarch64__)
    char text[64];
    trace_read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource", text,
                    sizeof text);
    return strcmp(text, "tsc\n") == 0 || strcmp(text, "arch_sys_counter\n") == 0;
#else
    return false;
#endif
}

static void begin(trace_process *process) {
    if (!settings_read) {
        settings_read = true;
        never = !trace_settings_read(&settings);
        trace_next_path(allocator, sizeof allocator);
        if (!never)
            trace_clock_kind = !settings.times                ? TRACE_CLOCK_ORDER
                               : kernel_counts_by_processor() ? TRACE_CLOCK_TICKS
                                                              : TRACE_CLOCK_NS;
    }
    bool child = recording.fd >= 0;
    uint64_t start_ticks = trace_stamp(), start_ns = trace_clock_ns();
    if (child && !recording.fork_after)
        recording.fork_after = start_ticks;
    if (never || !trace_file_begin(&process->file, &recording, &settings, true)) {
        never = true;
        process->state = SILENT;
        return;
    }
    trace_header *head = process->file.header;
    head->clock = trace_clock_kind;
    head->start_ticks = start_ticks;
    head->start_ns = start_ns;
    memcpy(head->allocator, allocator, sizeof allocator);
    head->ready_ticks = trace_stamp();
    head->ready_ns = trace_clock_ns();
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(head->magic, TRACE_MAGIC, sizeof head->magic);
    if (!process->fresh) {
        process->fresh = (trace_stream *)(void *)((char *)process + process_bytes());
        process->fresh_end = process->fresh + (POOL_BYTES - process_bytes()) / sizeof(trace_stream);
    }
    process->state = RECORDING;
}

trace_process *trace_process_enter(void) {
    trace_process *process = find_process();
    if (!process || process->state == SILENT)
        return NULL;
    lock(&process->lock);
    if (process->state == NEW)
        begin(process);
    if (process->state == RECORDING)
        return process;
    unlock(&process->lock);
    return NULL;
}

trace_process *trace_process_enter_old(void) {
    /* acquire: as in find_process */
    trace_process *process = atomic_load_explicit(&the_process, memory_order_acquire);
    return process && process->state == RECORDING ? trace_process_enter() : NULL;
}

void trace_process_leave(trace_process *process) {
    unlock(&process->lock);
}

/* ---- chunks, and the end --------------------------------------------------------------------- */

uint8_t *trace_process_chunk(trace_process *process, uint64_t *bytes) {
    trace_header *head = process->file.header;
    uint64_t at = head->next_chunk, left = settings.max > at ? settings.max - at : 0;
    if (*bytes > left)
        *bytes = left & ~((uint64_t)head->unit - 1);
    trace_stop why = *bytes ? TRACE_GOES_ON : TRACE_STOP_MAX;
    int error = 0;
    uint8_t *chunk = NULL;
    if (why == TRACE_GOES_ON)
        why = trace_file_extend(&process->file, &recording, at + *bytes, settings.max, &error);
    if (why == TRACE_GOES_ON && !(chunk = trace_file_map(&recording, at, *bytes))) {
        why = TRACE_STOP_MAPPING;
        error = errno;
    }
    if (why != TRACE_GOES_ON) {
        trace_process_stop(process, why, error);
        return NULL;
    }
    /* release: who reads the file meanwhile looks for chunks before this */
    __atomic_store_n(&head->next_chunk, at + *bytes, __ATOMIC_RELEASE);
    process->last_chunk = chunk;
    process->last_chunk_bytes = *bytes;
    return chunk;
}

void trace_process_stop(trace_process *process, trace_stop why, int error) {
    static const char *const texts[] = {
        [TRACE_STOP_MAX] = "HAKMEM_TRACE_MAX is reached",
        [TRACE_STOP_SPACE] = "there is no more space for it",
        [TRACE_STOP_FILE] = "it can't be opened any more",
        [TRACE_STOP_MAPPING] = "no more of it can be mapped",
    };
    trace_header *head = process->file.header;
    head->stop = why;
    head->stop_errno = error;
    head->stopped = trace_stamp();
    process->state = SILENT;
    trace_say(
        "recording of process %d stops: %s%s%s; %s has all calls up to here (%llu bytes), the "
        "program runs on unrecorded",
        (int)getpid(), texts[why], error ? ": " : "", error ? trace_error_text(error) : "",
        recording.path, (unsigned long long)head->next_chunk);
}

void trace_process_end(trace_process *process, const uint8_t *last, uint64_t behind) {
    trace_header *head = process->file.header;
    uint64_t end = head->next_chunk;
    if (last && last == process->last_chunk)
        end -= behind;
    trace_file_cut(&process->file, &recording, end);
    head->ended = trace_stamp();
    process->file.ended = true;
}

void trace_process_fork(uint64_t before, uint32_t thread) {
    recording.fork_before = before;
    recording.fork_after = 0;
    recording.fork_thread = thread;
}

void trace_process_forked(uint64_t after) {
    recording.fork_after = after;
    /* acquire: as in find_process */
    trace_process *process = atomic_load_explicit(&the_process, memory_order_acquire);
    if (process && !wiped)
        memset(process, 0, POOL_BYTES); /* pools behind the first are left alone */
}
