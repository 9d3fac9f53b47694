/* Reads a trace: its threads' records merged into one sequence of calls, with blocks numbered.
 *
 * A file is read through once when it is opened, so that whatever is wrong with it is known before
 * its first call is seen; what a killed process was just writing is left away. The order is that of
 * the stamps, see trace_format.h.
 *
 *     char why[TRACE_WHY];
 *     trace_reader *trace = trace_open(path, why);
 *     if (!trace) wl_fail(WL_EXIT_USAGE, "%s", why);
 *     for (trace_event event; trace_next(trace, &event);) ...
 *     trace_close(trace);
 *
 * A reader belongs to one thread at a time; several may read one file.
 */
#ifndef TRACE_READ_H
#define TRACE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace_format.h"

#define TRACE_NO_BLOCK UINT64_MAX

enum { TRACE_WHY = 1024 }; /* bytes that a message may take */

/* What happened. The order of an enum value and its meaning stay from version to version. */
typedef enum {
    TRACE_DO_ALLOCATE, /* by `call`: MALLOC, CALLOC, ALIGNED, NEW, NEW_ALIGNED, or REALLOC of NULL
                        */
    TRACE_DO_FREE,     /* by `call`: FREE, DELETE, or REALLOC to size 0 that returned NULL */
    TRACE_DO_RESIZE,   /* realloc: the block keeps its number, even if it moved */
    TRACE_DO_FAIL, /* an allocation or a realloc that returned NULL; `block`: realloc's, unchanged
                    */
    TRACE_DO_NOTHING, /* free(NULL) or delete of NULL */
    TRACE_DO_BEGIN,   /* the first record of `thread` */
    TRACE_DO_END,     /* `thread` has ended */
} trace_do;

/* Marks of an event. */
enum {
    /* The block was not seen being allocated: it was made by the parent before fork, by a function
     * that is not recorded, or in a call that had not returned when the parent forked. It gets its
     * number here; its size is not known before it is resized. */
    TRACE_FOREIGN = 1,
    /* An allocation got the address of a block whose free was not seen; `lost` of trace_totals
     * counts them. That block's number does not come again. */
    TRACE_REPLACED = 2,
};

typedef struct {
    trace_do what;
    trace_record call; /* the function's kind */
    uint32_t thread;   /* 0 to trace_totals.threads - 1 */
    uint32_t marks;
    /* ns since the recording began (with TRACE_CLOCK_ORDER: calls). Of an allocation: when it
     * returned; of a free: when it was called; of a realloc: when it returned. */
    uint64_t time;
    uint64_t began;    /* of a realloc: when it was called; else as `time` */
    uint64_t block;    /* from 0, in the order of allocation, never used twice; or TRACE_NO_BLOCK */
    uint64_t size;     /* bytes asked for. Of a free: the block's, 0 if it is foreign */
    uint64_t old_size; /* of TRACE_DO_RESIZE: before; 0 if it is foreign */
    uint64_t alignment; /* bytes, a power of two; 0: none was asked for */
    uint64_t address;   /* as recorded; 0: NULL */
} trace_event;

/* What the whole trace holds. */
typedef struct {
    uint64_t calls;                   /* whole ones */
    uint64_t of_kind[16];             /* calls by trace_record; realloc under TRACE_REALLOC */
    uint64_t failed;                  /* that returned NULL */
    uint64_t unfinished;              /* reallocs that had not returned when the recording ended */
    uint64_t blocks;                  /* numbers given: events have 0 to blocks - 1 */
    uint64_t foreign;                 /* blocks with TRACE_FOREIGN */
    uint64_t lost;                    /* blocks whose free was not seen, see TRACE_REPLACED */
    uint64_t peak_blocks, peak_bytes; /* live at once, each its own maximum; foreign ones without */
    uint64_t live_blocks, live_bytes; /* at the end */
    uint64_t largest;                 /* bytes of the largest successful request */
    uint64_t span;                    /* time of the last call */
    uint64_t file_bytes, record_bytes; /* of the file; of its records */
    uint32_t threads;
    bool torn; /* the process was killed while it wrote, or still runs */
} trace_totals;

typedef struct {
    int32_t tid;           /* the kernel's number */
    char name[TRACE_NAME]; /* the last one that is known */
    uint64_t begin, end;   /* times of its first and last record */
    uint64_t calls;
    bool ended; /* its end was recorded */
} trace_thread;

typedef struct trace_reader trace_reader;

/*
 * Opens and checks the trace `path`. NULL if it can't be read, is no trace, is one of a newer
 * version or another kind of machine, or is damaged: then `why` says so in a sentence that names
 * the file and, where there is one, the byte offset. Takes memory (64 bytes for each block that is
 * live at once, about) of its own, by mmap, not from malloc, and maps the file. The file must not
 * be cut while it is open; one that is still being recorded is read as far as it was written when
 * it was opened.
 */
trace_reader *trace_open(const char *path, char why[TRACE_WHY]);
void trace_close(trace_reader *trace); /* NULL: nothing */

/* The next event; false at the end. Ends the program by wl_fail if memory runs out. */
bool trace_next(trace_reader *trace, trace_event *event);
/* Back to the first event. Blocks get the same numbers again. */
void trace_rewind(trace_reader *trace);

/* These stay as they are until trace_close. */
const trace_header *trace_head(const trace_reader *trace);
const trace_totals *trace_all(const trace_reader *trace);
const trace_thread *trace_threads(const trace_reader *trace); /* trace_totals.threads of them */

/* True if times are nanoseconds; else they count calls, see TRACE_CLOCK_ORDER. */
bool trace_has_times(const trace_reader *trace);

/* The function's name, such as "malloc", for messages and tables. */
const char *trace_call_name(trace_record call);
/* Why the recording stopped before the process ended, as a clause for a sentence; NULL if it did
 * not. */
const char *trace_stop_reason(const trace_header *head);

#endif
