/* Inside the reader: the file's segments and records, checked; the blocks by address. */
#ifndef TRACE_DECODE_H
#define TRACE_DECODE_H

#include "trace_read.h"

/* Pages of zeros for the reader's own tables; NULL: there are none. */
void *trace_pages(uint64_t bytes);

/* ---- the file -------------------------------------------------------------------------------- */

/* A segment's records lie from `at` to `end` in the file. */
typedef struct {
    uint64_t at, end, ticks;
    uint32_t thread, sequence;
    bool closed; /* records fill it up to `end`; else they may stop before */
} trace_piece;

typedef struct {
    const uint8_t *bytes;
    uint64_t size;
    const trace_header *head;
    trace_piece *pieces; /* by thread, then sequence */
    uint64_t piece_count, piece_room;
    uint64_t pair_ticks, pair_ns; /* the latest that is known */
    bool torn;
    char *why; /* TRACE_WHY bytes, while it is opened */
    const char *path;
} trace_image;

/* Maps the file and finds its segments; false: `why` says what is wrong. */
bool trace_image_open(trace_image *image, const char *path, char *why);
void trace_image_close(trace_image *image);
/* Says that the byte `at` is wrong; returns false. */
bool trace_image_wrong(trace_image *image, uint64_t at, const char *what);

/* ---- a thread's records ---------------------------------------------------------------------- */

typedef struct {
    trace_record kind;
    uint64_t ticks, address, size;
    unsigned logarithm;
    const char *name; /* of TRACE_THREAD_END: TRACE_NAME bytes */
    bool none;        /* the address is NULL */
} trace_item;

typedef struct {
    const trace_piece *piece, *last; /* the current one; behind the thread's last */
    uint64_t at;                     /* in the file */
    uint64_t ticks;
    uint64_t anchor[2];
} trace_cursor;

void trace_cursor_start(trace_cursor *cursor, const trace_piece *first, const trace_piece *last);
/* The next record; false at the end, or where something is wrong: then *wrong says what, at `at`.
 */
bool trace_cursor_next(const trace_image *image, trace_cursor *cursor, trace_item *item,
                       const char **wrong);

/* ---- blocks by address ----------------------------------------------------------------------- */

typedef struct {
    uint64_t address; /* 0: empty */
    uint64_t block, size;
    bool foreign;
} trace_live;

typedef struct {
    trace_live *slots;
    uint64_t room, count; /* room: a power of two, or 0 */
} trace_blocks;

/* Puts one in; whether there was one of that address, which is then replaced. Ends the program if
 * memory runs out. */
bool trace_blocks_put(trace_blocks *blocks, const trace_live *live);
/* Takes the one with that address out; false: there is none. */
bool trace_blocks_take(trace_blocks *blocks, uint64_t address, trace_live *live);
void trace_blocks_clear(trace_blocks *blocks);

#endif
