/* Reads a recorded trace into the list of its calls. */
#include "replay_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../trace/trace_input.h"
#include "wl_fail.h"
#include "wl_memory.h"

static uint8_t call_of(const trace_event *from) {
    switch (from->call) {
    case TRACE_CALLOC:
        return REPLAY_CALLOC;
    case TRACE_ALIGNED:
    case TRACE_NEW_ALIGNED:
        return REPLAY_ALIGNED;
    case TRACE_REALLOC:
        return from->what == TRACE_DO_ALLOCATE ? REPLAY_REALLOC_NEW
               : from->what == TRACE_DO_RESIZE ? REPLAY_REALLOC
                                               : REPLAY_REALLOC_END;
    default:
        return from->what == TRACE_DO_ALLOCATE ? REPLAY_MALLOC : REPLAY_FREE;
    }
}

/* True if the event is a call that is played, and then what call. */
static bool translate(replay_events *events, const trace_event *from, replay_event *into) {
    *into = (replay_event){
        .time_ns = from->time,
        .thread = from->thread,
        .block = (uint32_t)from->block,
        .call = call_of(from),
    };
    const bool foreign = (from->marks & TRACE_FOREIGN) != 0;
    switch (from->what) {
    case TRACE_DO_ALLOCATE:
        into->size = from->size;
        if (into->call == REPLAY_ALIGNED && from->alignment > 0)
            into->align = (uint8_t)__builtin_ctzll(from->alignment);
        return true;
    case TRACE_DO_RESIZE:
        into->size = from->size;
        if (foreign) {
            into->call = REPLAY_MALLOC;
            events->resized++;
        }
        return true;
    case TRACE_DO_FREE:
        events->inherited += foreign;
        return !foreign;
    case TRACE_DO_FAIL:
        events->failed++;
        return false;
    case TRACE_DO_NOTHING:
        into->call = REPLAY_FREE;
        into->block = REPLAY_NO_BLOCK;
        return true;
    default:
        return false;
    }
}

replay_events replay_load(const char *path) {
    trace_input file = trace_input_open(path);
    trace_reader *trace = trace_input_read(&file, path);
    const trace_totals *all = trace_all(trace);
    const char *reason = trace_stop_reason(trace_head(trace));
    if (all->blocks >= REPLAY_NO_BLOCK)
        wl_fail(WL_EXIT_USAGE, "'%.300s' holds %" PRIu64 " blocks; replay takes up to %" PRIu32,
                path, all->blocks, REPLAY_NO_BLOCK - 1);
    replay_events events = {
        .room = all->calls,
        .threads = all->threads,
        .blocks = (uint32_t)all->blocks,
        .has_times = trace_has_times(trace),
        .lost = all->lost,
        .events = wl_map_table(all->calls, sizeof(replay_event), 0, path),
    };
    snprintf(events.stopped, sizeof events.stopped, "%s", reason == NULL ? "" : reason);
    for (trace_event event; trace_next(trace, &event);) {
        if (events.count == events.room)
            wl_fail(WL_EXIT_USAGE, "'%.300s' holds more calls than it says", path);
        events.count += translate(&events, &event, &events.events[events.count]);
    }
    trace_close(trace);
    trace_input_close(&file);
    return events;
}

void replay_unload(replay_events *events) {
    wl_unmap_table(events->events, events->room, sizeof *events->events);
    events->events = NULL;
}
