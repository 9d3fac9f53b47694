/* The trace file: what libhakmem-trace.so writes of a process's allocation calls.
 *
 *     0                header_bytes
 *     | trace_header   | chunk         | chunk                       | chunk         | ...
 *     '----------------'---------------'-----------------------------'---------------'
 *                      | trace_segment, records, 0... |
 *                      | trace_segment, records | trace_segment, records | 0...
 *
 * One file holds one process, all numbers in the byte order and with the layout of the machine that
 * wrote it; `byte_order` tells. A chunk belongs to one thread at a time, which writes into it with
 * no lock. It begins at a multiple of `unit` with a segment; when its thread ends, what is left of
 * it may go to another thread, whose segment then begins at the next multiple of 8. Segments of
 * one thread are numbered from 0 in `sequence`; a thread's records are those of its segments in
 * that order. Where a chunk should begin there may be units full of zeros: a process that was
 * killed had claimed them.
 *
 * Everything is written directly into pages that the kernel keeps (MAP_SHARED), and the file is
 * made of zeros before. A record is committed by its first byte, stored after all others; `magic`
 * is what commits a segment. So a killed process leaves a prefix of its stores: the records of a
 * thread reach up to the first zero where a record would begin, and whatever lies behind it is a
 * record that was being written.
 *
 * A record, in this order:
 *
 *     byte 0: bits 0..3 kind (trace_record), bits 4..5 bytes of the time less 1, bit 6 anchor,
 *         bit 7 raw
 *
 *     byte 1: bits 0..3 bytes of the address, 0 to 8, or TRACE_NULL; bits 4..7 bytes of the size,
 *         0 to 8
 *
 *     time, 1 to 4 bytes: ticks since this thread's record before, or since the segment's `ticks`
 *
 *     address, raw: the address itself; else its distance from the anchor. The thread has two
 *         anchors, one for addresses whose bit 45 is 0 and one for the others: each the last
 *         address recorded there, rounded down to 8, and 0 at a segment's beginning. The distance
 *         d = (address - anchor) / 8, a signed number, is stored as 2d, or -2d-1 where negative
 *
 *     size: in bytes, as asked for
 *
 *     more, of TRACE_ALIGNED and TRACE_NEW_ALIGNED: one byte, the alignment's logarithm to base 2;
 *         of TRACE_THREAD_END: 16 bytes, the thread's name, filled with zeros
 *
 * Numbers are stored little end first on every machine, without their leading zero bytes. So a
 * record of malloc, calloc or new takes 3 to 18 bytes, 7 or 8 as a rule; an aligned allocation up
 * to 19; free 3 to 12, mostly 5 or 6. Where an address needs 8 bytes, time takes at most 3 with the
 * help of TRACE_PAUSE, so that TRACE_CALL_BYTES holds for every address. realloc is two records,
 * see below, together 6 to 30 bytes: more than TRACE_CALL_BYTES only where a block moves across the
 * address space after a pause, or is larger than most memories. A pause of 2^32 ticks and more
 * takes a record of its own: 4.3 s where ticks are nanoseconds, 1 to 2 s of a processor's counter.
 *
 * ORDER. All times come from one clock that all threads share. An allocation is stamped after the
 * allocator has returned, a free before the allocator is called. So in the order of times
 *   - a block's allocation comes before its free, by whichever thread;
 *   - the free of a block comes before the allocation that gets its address again.
 * At the same tick what releases comes first. A realloc is both: TRACE_REALLOC, stamped before the
 * call, releases the old address; the next record of that thread, stamped after it, obtains the new
 * one. One stamp would not do: another thread may get the old address before realloc has returned,
 * and free the new one's former block after realloc was called. Between the two the block is
 * nowhere; no call of a correct program can name it then. A failed realloc gives the old address
 * back.
 */
#ifndef TRACE_FORMAT_H
#define TRACE_FORMAT_H

#include <stdint.h>

#define TRACE_MAGIC "haktrace" /* 8 bytes, without its end */
#define TRACE_BYTE_ORDER                                                                           \
    UINT32_C(0x01020304) /* reads 0x04030201 on a machine of the other kind                        \
                          */
#define TRACE_SEGMENT_MAGIC UINT32_C(0x6d676573) /* "segm" */
#define TRACE_VERSION       1                    /* a reader refuses a file with a higher one */

enum {
    TRACE_CALL_BYTES = 20,  /* the most for any call but realloc */
    TRACE_RECORD_ROOM = 32, /* a record begins only where so many bytes of the chunk are left */
    TRACE_NULL = 15,        /* the address's length: NULL. Of an allocation: it failed */
    TRACE_ANCHOR_BIT = 45,  /* of an address, chooses its anchor */
    TRACE_NAME = 16,        /* bytes of a thread's name with its end, as the kernel keeps it */
};

/* What a record is. */
typedef enum {
    TRACE_UNWRITTEN = 0, /* no record: here the thread's records end */
    TRACE_MALLOC = 1,
    TRACE_CALLOC = 2,      /* size: of all members together; one too large to compute: 2^64-1 */
    TRACE_ALIGNED = 3,     /* aligned_alloc, memalign, posix_memalign, valloc, pvalloc */
    TRACE_NEW = 4,         /* operator new and new[]; one that fails by an exception, too */
    TRACE_NEW_ALIGNED = 5, /* with an alignment */
    TRACE_FREE = 6,        /* free, free_sized, free_aligned_sized, cfree; no size */
    TRACE_DELETE = 7,      /* operator delete and delete[]; no size */
    TRACE_REALLOC = 8,     /* realloc or reallocarray begins: address of the old block, no size */
    TRACE_MOVED = 9,       /* it has ended: another address; also if the old one was NULL */
    TRACE_STAYED = 10,     /* it has ended: the same address, which is not repeated; the new size */
    TRACE_FAILED = 11, /* it has ended with NULL: the old block is what it was; the size refused */
    TRACE_RELEASED = 12,   /* realloc to size 0 has ended with NULL: the old block is free */
    TRACE_PAUSE = 13,      /* no call: adds `size` ticks to the thread's time; address TRACE_NULL */
    TRACE_THREAD_END = 14, /* no call: the thread ends. Calls of its very last destructors may
                              follow in further segments */
} trace_record;

/* Ticks. */
typedef enum {
    TRACE_CLOCK_NS = 1, /* CLOCK_MONOTONIC in nanoseconds */
    TRACE_CLOCK_TICKS =
        2, /* the processor's counter; pairs of ticks and ns in the file tell its rate */
    TRACE_CLOCK_ORDER = 3, /* no time: every stamp is one more than the process's last
                              (HAKMEM_TRACE_TIMES=0) */
} trace_clock;

/* Why a recording stopped before its process did. */
typedef enum {
    TRACE_GOES_ON = 0,
    TRACE_STOP_MAX = 1,     /* HAKMEM_TRACE_MAX is reached */
    TRACE_STOP_SPACE = 2,   /* no space: the file system is full, a quota or the file size limit */
    TRACE_STOP_FILE = 3,    /* the file can't be reached any more: its descriptor was closed */
    TRACE_STOP_MAPPING = 4, /* the file can't be mapped: limits of memory or mappings */
} trace_stop;

/*
 * The file's beginning, 4096 bytes; up to `header_bytes` zeros follow. What stands after
 * `next_chunk` changes while the process runs. Texts end with a zero byte and are cut where they
 * are longer.
 */
typedef struct {
    char magic[8]; /* stored last of all when the file is made */
    uint32_t version;
    uint32_t byte_order;
    uint32_t header_bytes; /* where the first chunk begins */
    uint32_t unit;         /* chunks begin at multiples of it: 4096 or more */
    uint32_t clock;        /* trace_clock */
    uint32_t page_size;    /* the system's, bytes */
    uint64_t id;           /* random: names this recording */
    int32_t pid;
    uint32_t pointer_bits; /* 32 or 64 */
    uint64_t
        process_started;    /* clock ticks since the machine's start: field 22 of /proc/PID/stat */
    uint64_t start_real_ns; /* since 1970, when the recording began */
    uint64_t start_ticks;   /* the same moment; no stamp is smaller */
    uint64_t start_ns;      /* the same, CLOCK_MONOTONIC */
    uint64_t ready_ticks;   /* a little later, so that the ticks' rate is known */
    uint64_t ready_ns;
    /* A process made by fork: it has the blocks that were live in its parent then. 0 and empty
     * else, and if the parent was not recorded. Of a block's life in the parent between the two
     * stamps it is unknown whether the child has seen it. */
    uint64_t parent_id;   /* `id` of its trace */
    uint64_t fork_before; /* ticks of the parent's clock, which is this one's, too */
    uint64_t fork_after;
    int32_t parent_pid;
    uint32_t
        parent_thread;   /* the thread that forked, by the parent's numbers; UINT32_MAX: unknown */
    uint64_t next_chunk; /* bytes: where the next chunk will begin; all chunks lie before it */
    uint32_t threads;    /* that have recorded: numbers 0 to threads - 1 were given */
    uint32_t stop;       /* trace_stop */
    uint64_t stopped;    /* ticks: records with later stamps are not all there; 0: goes on */
    int32_t stop_errno;  /* why, as errno.h numbers it; 0: that has no number */
    uint32_t arguments_bytes; /* used in `arguments` */
    uint64_t ended;           /* ticks when the process ended; 0: it runs, was killed or _exited */
    uint64_t reserved[12];    /* zeros */
    char program[512];        /* the executable's path */
    char allocator[512];      /* the path of the object that served malloc; empty: unknown */
    char parent_file[512];    /* the parent's trace */
    char arguments[2296];     /* each ends with a zero byte, the last one may be cut */
} trace_header;

/* The beginning of a thread's records in a chunk. */
typedef struct {
    uint32_t magic;    /* stored last */
    uint32_t thread;   /* from 0, in the order of their first calls */
    uint32_t sequence; /* of the thread's segments, from 0 */
    uint32_t room;     /* bytes from this segment's beginning to the chunk's end */
    uint32_t end;      /* bytes from this segment's beginning to its last record's end; 0: open */
    int32_t tid;       /* the kernel's number of the thread */
    uint64_t ticks;    /* the first record's time counts from here */
    uint64_t ns;       /* CLOCK_MONOTONIC at the same moment */
    char name[TRACE_NAME]; /* the thread's when the segment began */
    uint64_t reserved;     /* zero */
} trace_segment;

_Static_assert(sizeof(trace_header) == 4096, "the header is one page of most machines");
_Static_assert(sizeof(trace_segment) == 64, "a segment's beginning is one cache line");

#endif
