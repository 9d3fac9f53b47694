/* Merges a trace's threads by their stamps and numbers its blocks. */
#include "trace_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "trace_decode.h"

/* A thread that is being read: the heap holds those that still have records. */
typedef struct {
    trace_cursor cursor;
    trace_item item; /* the next record */
    uint64_t ticks;  /* its stamp; at a thread's end the last one's */
    uint32_t thread;
    bool begun, ended, over; /* its begin was told; its end was recorded; no records are left */
    bool resizing;           /* in a realloc of `old`, since `began` */
    trace_live old;          /* address 0: NULL */
    uint64_t began;
} trace_lane;

struct trace_reader {
    trace_image image;
    trace_totals totals;
    trace_thread *threads;
    trace_lane *lanes;
    trace_lane **heap;
    uint32_t heap_count;
    trace_blocks blocks;
    uint64_t live_bytes, live_blocks, next_block;
    bool counting; /* the first pass */
    double ns_per_tick;
};

/* ---- time ------------------------------------------------------------------------------------ */

/* The rate from the two most distant moments of which both clocks are known. */
static double rate(const trace_image *image) {
    const trace_header *head = image->head;
    if (head->clock != TRACE_CLOCK_TICKS || image->pair_ticks <= head->start_ticks ||
        image->pair_ns <= head->start_ns)
        return 1;
    return (double)(image->pair_ns - head->start_ns) /
           (double)(image->pair_ticks - head->start_ticks);
}

static uint64_t time_of(const trace_reader *trace, uint64_t ticks) {
    const trace_header *head = trace->image.head;
    uint64_t elapsed = ticks > head->start_ticks ? ticks - head->start_ticks : 0;
    if (head->clock != TRACE_CLOCK_TICKS)
        return elapsed;
    double ns = (double)elapsed * trace->ns_per_tick;
    return ns < 9e18 ? (uint64_t)ns : UINT64_MAX / 2;
}

/* ---- the heap of threads --------------------------------------------------------------------- */

static bool releases(const trace_lane *lane) {
    trace_record kind = lane->item.kind;
    return kind == TRACE_FREE || kind == TRACE_DELETE || kind == TRACE_REALLOC;
}

/* By stamp; at the same one what releases comes first. */
static bool before(const trace_lane *a, const trace_lane *b) {
    if (a->ticks != b->ticks)
        return a->ticks < b->ticks;
    if (releases(a) != releases(b))
        return releases(a);
    return a->thread < b->thread;
}

static void sink(trace_reader *trace, uint32_t at) {
    trace_lane **heap = trace->heap, *lane = heap[at];
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child + 1 < trace->heap_count && before(heap[child + 1], heap[child]))
            child++;
        if (child >= trace->heap_count || !before(heap[child], lane))
            break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = lane;
}

/* The thread's next record; its own end is told last. Records behind the recording's end are not
 * all there and left away. */
static void advance(trace_reader *trace, trace_lane *lane) {
    const trace_header *head = trace->image.head;
    const char *wrong;
    do {
        lane->over = !trace_cursor_next(&trace->image, &lane->cursor, &lane->item, &wrong);
        if (!lane->over && head->stop && lane->item.ticks > head->stopped)
            lane->over = true;
        if (!lane->over && lane->item.kind == TRACE_THREAD_END) {
            lane->ended = true;
            memcpy(trace->threads[lane->thread].name, lane->item.name, TRACE_NAME);
            trace->threads[lane->thread].name[TRACE_NAME - 1] = '\0';
        }
    } while (!lane->over && lane->item.kind == TRACE_THREAD_END);
    if (lane->over)
        lane->item.kind = TRACE_THREAD_END;
    else
        lane->ticks = lane->item.ticks;
}

static void remove_first(trace_reader *trace) {
    trace->heap[0] = trace->heap[--trace->heap_count];
    if (trace->heap_count)
        sink(trace, 0);
}

/* ---- what a record does ---------------------------------------------------------------------- */

static void place(trace_reader *trace, trace_event *event, trace_live *live) {
    trace_live lost = {.size = 0};
    if (trace_blocks_take(&trace->blocks, live->address, &lost)) {
        event->marks |= TRACE_REPLACED;
        if (!lost.foreign) {
            trace->live_blocks--;
            trace->live_bytes -= lost.size;
        }
        trace->totals.lost += trace->counting;
    }
    trace_blocks_put(&trace->blocks, live);
    if (!live->foreign) {
        trace->live_blocks++;
        trace->live_bytes += live->size;
    }
    event->block = live->block;
    event->size = live->size;
    event->address = live->address;
}

/* The block at an address; one that was never seen gets its number now. */
static trace_live take(trace_reader *trace, uint64_t address) {
    trace_live live;
    if (!trace_blocks_take(&trace->blocks, address, &live)) {
        trace->totals.foreign += trace->counting;
        return (trace_live){.address = address, .block = trace->next_block++, .foreign = true};
    }
    if (!live.foreign) {
        trace->live_blocks--;
        trace->live_bytes -= live.size;
    }
    return live;
}

static void allocate(trace_reader *trace, trace_event *event, const trace_item *item) {
    event->what = TRACE_DO_FAIL;
    event->size = item->size;
    if (item->kind == TRACE_ALIGNED || item->kind == TRACE_NEW_ALIGNED)
        event->alignment = UINT64_C(1) << item->logarithm;
    if (item->none)
        return;
    event->what = TRACE_DO_ALLOCATE;
    trace_live live = {.address = item->address, .block = trace->next_block++, .size = item->size};
    place(trace, event, &live);
}

static void release(trace_reader *trace, trace_event *event, const trace_item *item) {
    event->what = TRACE_DO_NOTHING;
    if (item->none)
        return;
    trace_live live = take(trace, item->address);
    event->what = TRACE_DO_FREE;
    event->block = live.block;
    event->size = live.size;
    event->address = live.address;
    event->marks = live.foreign ? TRACE_FOREIGN : 0;
}

static void resize_begins(trace_reader *trace, trace_lane *lane) {
    lane->resizing = true;
    lane->began = lane->ticks;
    lane->old = (trace_live){.address = 0};
    if (!lane->item.none)
        lane->old = take(trace, lane->item.address);
}

static void resize_ends(trace_reader *trace, trace_event *event, trace_lane *lane) {
    trace_live old = lane->old, live = old;
    trace_record kind = lane->item.kind;
    lane->resizing = false;
    event->call = TRACE_REALLOC;
    event->began = time_of(trace, lane->began);
    event->marks = old.address && old.foreign ? TRACE_FOREIGN : 0;
    if (kind == TRACE_FAILED || kind == TRACE_RELEASED || !(old.address || kind == TRACE_MOVED)) {
        event->what = kind == TRACE_RELEASED && old.address ? TRACE_DO_FREE : TRACE_DO_FAIL;
        if (event->what == TRACE_DO_FAIL && old.address)
            place(trace, event, &live);
        event->block = old.address ? old.block : TRACE_NO_BLOCK;
        event->address = old.address;
        event->size = event->what == TRACE_DO_FAIL ? lane->item.size : old.size;
        event->old_size = old.size;
        return;
    }
    event->what = old.address ? TRACE_DO_RESIZE : TRACE_DO_ALLOCATE;
    event->old_size = old.size;
    live.address = kind == TRACE_MOVED ? lane->item.address : old.address;
    live.block = old.address ? old.block : trace->next_block++;
    live.size = lane->item.size;
    live.foreign = false; /* its size is known from now on */
    place(trace, event, &live);
}

static void count(trace_reader *trace, const trace_event *event) {
    trace_totals *totals = &trace->totals;
    trace_thread *thread = &trace->threads[event->thread];
    if (event->what == TRACE_DO_BEGIN) {
        thread->begin = thread->end = event->time;
    } else if (event->what == TRACE_DO_END) {
        thread->ended = true;
    } else {
        totals->calls++;
        totals->of_kind[event->call]++;
        totals->failed += event->what == TRACE_DO_FAIL;
        thread->calls++;
        thread->end = totals->span = event->time;
        if ((event->what == TRACE_DO_ALLOCATE || event->what == TRACE_DO_RESIZE) &&
            event->size > totals->largest)
            totals->largest = event->size;
    }
    if (trace->live_blocks > totals->peak_blocks)
        totals->peak_blocks = trace->live_blocks;
    if (trace->live_bytes > totals->peak_bytes)
        totals->peak_bytes = trace->live_bytes;
}

/* ---- the sequence ---------------------------------------------------------------------------- */

/* The first thread's record becomes an event; false: there is none of it, look again. */
static bool take_first(trace_reader *trace, trace_event *event) {
    trace_lane *lane = trace->heap[0];
    uint64_t now = time_of(trace, lane->ticks);
    *event = (trace_event){.call = lane->item.kind,
                           .thread = lane->thread,
                           .time = now,
                           .began = now,
                           .block = TRACE_NO_BLOCK};
    if (!lane->begun) {
        lane->begun = true;
        event->what = TRACE_DO_BEGIN;
        event->call = TRACE_UNWRITTEN;
        return true;
    }
    if (lane->over) {
        remove_first(trace);
        trace->totals.unfinished += trace->counting && lane->resizing;
        event->what = TRACE_DO_END;
        event->call = TRACE_THREAD_END;
        return lane->ended;
    }
    bool told = true;
    if (lane->item.kind <= TRACE_NEW_ALIGNED) {
        allocate(trace, event, &lane->item);
    } else if (lane->item.kind <= TRACE_DELETE) {
        release(trace, event, &lane->item);
    } else if (lane->item.kind == TRACE_REALLOC) {
        resize_begins(trace, lane);
        told = false;
    } else {
        resize_ends(trace, event, lane);
    }
    advance(trace, lane);
    sink(trace, 0);
    return told;
}

bool trace_next(trace_reader *trace, trace_event *event) {
    while (trace->heap_count)
        if (take_first(trace, event))
            return true;
    return false;
}

void trace_rewind(trace_reader *trace) {
    const trace_piece *piece = trace->image.pieces, *last = piece + trace->image.piece_count;
    trace_blocks_clear(&trace->blocks);
    trace->live_blocks = trace->live_bytes = trace->next_block = 0;
    trace->heap_count = 0;
    while (piece < last) {
        const trace_piece *first = piece;
        while (piece < last && piece->thread == first->thread)
            piece++;
        trace_lane *lane = &trace->lanes[first->thread];
        *lane = (trace_lane){.thread = first->thread, .ticks = first->ticks};
        trace_cursor_start(&lane->cursor, first, piece);
        advance(trace, lane);
        if (!lane->over || lane->ended)
            trace->heap[trace->heap_count++] = lane;
    }
    for (uint32_t i = trace->heap_count; i > 0; i--)
        sink(trace, i - 1);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* What a thread's records must be beside whole: a realloc's two follow each other. */
static bool check_thread(trace_image *image, const trace_piece *first, const trace_piece *last,
                         uint64_t *bytes) {
    trace_cursor cursor;
    trace_item item;
    const char *wrong;
    bool resizing = false;
    trace_cursor_start(&cursor, first, last);
    uint64_t at = cursor.at;
    while (trace_cursor_next(image, &cursor, &item, &wrong)) {
        bool ends = item.kind >= TRACE_MOVED && item.kind <= TRACE_RELEASED;
        if (resizing != ends)
            return trace_image_wrong(image, at,
                                     ends ? "the end of a realloc that was never called"
                                          : "a call within a realloc");
        resizing = item.kind == TRACE_REALLOC;
        at = cursor.at;
        *bytes = at - cursor.piece->at;
    }
    return !wrong || trace_image_wrong(image, cursor.at, wrong);
}

static bool check_records(trace_reader *trace) {
    trace_image *image = &trace->image;
    for (uint64_t i = 0, first = 0; i < image->piece_count; i++) {
        const trace_piece *piece = &image->pieces[i];
        const trace_segment *segment =
            (const void *)(image->bytes + piece->at - sizeof(trace_segment));
        uint64_t bytes = 0;
        trace_thread *thread = &trace->threads[piece->thread];
        thread->tid = segment->tid;
        memcpy(thread->name, segment->name, TRACE_NAME);
        bool last = i + 1 == image->piece_count || piece[1].thread != piece->thread;
        if (piece->closed)
            trace->totals.record_bytes += piece->end - piece->at;
        if (!last)
            continue;
        if (!check_thread(image, &image->pieces[first], piece + 1, &bytes))
            return false;
        trace->totals.record_bytes += piece->closed ? 0 : bytes;
        first = i + 1;
    }
    return true;
}

static bool prepare(trace_reader *trace) {
    uint64_t threads = trace->image.head->threads;
    trace->totals.threads = (uint32_t)threads;
    trace->totals.file_bytes = trace->image.size;
    trace->totals.torn = trace->image.torn;
    trace->ns_per_tick = rate(&trace->image);
    trace->threads = trace_pages(threads * sizeof *trace->threads);
    trace->lanes = trace_pages(threads * sizeof *trace->lanes);
    trace->heap = trace_pages(threads * sizeof *trace->heap);
    if (trace->threads && trace->lanes && trace->heap)
        return check_records(trace);
    snprintf(trace->image.why, TRACE_WHY, "there is no memory to read %.700s", trace->image.path);
    return false;
}

trace_reader *trace_open(const char *path, char why[TRACE_WHY]) {
    trace_reader *trace = trace_pages(sizeof *trace);
    if (!trace) {
        snprintf(why, TRACE_WHY, "there is no memory to read %.700s", path);
        return NULL;
    }
    if (!trace_image_open(&trace->image, path, why) || !prepare(trace)) {
        trace_close(trace);
        return NULL;
    }
    trace_event event;
    trace_rewind(trace);
    for (trace->counting = true; trace_next(trace, &event);)
        count(trace, &event);
    trace->counting = false;
    trace->totals.blocks = trace->next_block;
    trace->totals.live_blocks = trace->live_blocks;
    trace->totals.live_bytes = trace->live_bytes;
    trace_rewind(trace);
    trace->image.path = NULL; /* the caller's */
    trace->image.why = NULL;
    return trace;
}

static void unmap(void *pages, uint64_t bytes) {
    if (pages)
        munmap(pages, bytes ? bytes : 1);
}

void trace_close(trace_reader *trace) {
    if (!trace)
        return;
    uint64_t threads = trace->totals.threads;
    trace_blocks_clear(&trace->blocks);
    unmap(trace->threads, threads * sizeof *trace->threads);
    unmap(trace->lanes, threads * sizeof *trace->lanes);
    unmap(trace->heap, threads * sizeof *trace->heap);
    trace_image_close(&trace->image);
    munmap(trace, sizeof *trace);
}

/* ---- what there is to know ------------------------------------------------------------------- */

bool trace_has_times(const trace_reader *trace) {
    return trace->image.head->clock != TRACE_CLOCK_ORDER;
}

const trace_header *trace_head(const trace_reader *trace) {
    return trace->image.head;
}

const trace_totals *trace_all(const trace_reader *trace) {
    return &trace->totals;
}

const trace_thread *trace_threads(const trace_reader *trace) {
    return trace->threads;
}

const char *trace_call_name(trace_record call) {
    static const char *const names[] = {
        [TRACE_MALLOC] = "malloc",           [TRACE_CALLOC] = "calloc",
        [TRACE_ALIGNED] = "aligned",         [TRACE_NEW] = "new",
        [TRACE_NEW_ALIGNED] = "new aligned", [TRACE_FREE] = "free",
        [TRACE_DELETE] = "delete",           [TRACE_REALLOC] = "realloc",
        [TRACE_THREAD_END] = "thread end",
    };
    const char *name = (unsigned)call < sizeof names / sizeof *names ? names[call] : NULL;
    return name ? name : "nothing";
}

const char *trace_stop_reason(const trace_header *head) {
    static const char *const reasons[] = {
        [TRACE_GOES_ON] = NULL,
        [TRACE_STOP_MAX] = "HAKMEM_TRACE_MAX was reached",
        [TRACE_STOP_SPACE] = "there was no more space for the file",
        [TRACE_STOP_FILE] = "the file could not be opened any more",
        [TRACE_STOP_MAPPING] = "no more of the file could be mapped",
    };
    return head->stop < sizeof reasons / sizeof *reasons ? reasons[head->stop] : NULL;
}
