/* Compiles a recording into the streams that the player's threads read. */
#include "replay_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay_op.h"
#include "wl_fail.h"
#include "wl_memory.h"
#include "wl_random.h"

enum {
    CALLS_A_POINT = 1000, /* at least: a reading of the resident size costs 3 us */
    /* A shared slot whose block another thread freed is used again when so many calls lie between,
     * so that nobody waits for a free that the recorded program did not wait for. */
    CALLS_BETWEEN_SHARED_USES = 20000,
    MANY_THREADS = 16
};

typedef struct {
    uint64_t size;   /* now */
    uint32_t thread; /* the first that touched it; in the end, the last */
    uint32_t slot;
    uint32_t next;            /* once freed: the next one whose slot is free */
    uint32_t freed_at;        /* call, modulo 2^32 */
    bool shared, live, known; /* known: was allocated at some time */
} block_life;

/* Blocks that were freed and whose slots nobody took since. */
typedef struct {
    uint32_t first, last;
} free_list;

typedef struct {
    free_list free;
    uint64_t *words; /* of its stream */
    uint64_t used;
    uint64_t *times;
    uint64_t *calls_to;
    uint64_t calls; /* so far */
} lane_maker;

typedef struct {
    const replay_events *events;
    const char *name;
    replay_wishes wishes;
    replay_plan plan;
    block_life *blocks;
    lane_maker *lanes;
    free_list shared_free;
    uint32_t *turns;       /* of each shared slot */
    uint64_t **last_words; /* the second word of the last call on each shared slot */
    uint64_t words_room;   /* of all streams, while they are made */
    uint64_t live_bytes, live_blocks;
} maker;

_Noreturn static void contradiction(const maker *m, uint64_t call, const char *what,
                                    uint32_t block) {
    wl_fail(WL_EXIT_USAGE,
            "'%.300s' contradicts itself: call %" PRIu64 " %s block %" PRIu32
            ", which can't be at that time; record it again",
            m->name, call + 1, what, block);
}

/* ---- first look: which blocks do threads share? -------------------------------------------- */

static void look_at(maker *m, uint64_t call) {
    const replay_event *e = &m->events->events[call];
    if (e->thread >= m->plan.threads || e->align > 62 ||
        (e->block >= m->events->blocks && (e->block != REPLAY_NO_BLOCK || e->call != REPLAY_FREE)))
        wl_fail(WL_EXIT_USAGE, "'%.300s' is damaged at call %" PRIu64, m->name, call + 1);
    m->lanes[e->thread].calls++;
    if (e->block == REPLAY_NO_BLOCK)
        return;
    block_life *block = &m->blocks[e->block];
    if (e->call != REPLAY_FREE && e->call != REPLAY_REALLOC && e->call != REPLAY_REALLOC_END) {
        if (block->known)
            contradiction(m, call, "allocates", e->block);
        *block = (block_life){.thread = e->thread, .live = true, .known = true};
        return;
    }
    if (!block->live)
        contradiction(m, call, e->call == REPLAY_FREE ? "frees" : "reallocates", e->block);
    if (block->thread != e->thread)
        block->shared = true;
    block->live = e->call == REPLAY_REALLOC;
}

/* ---- slots --------------------------------------------------------------------------------- */

static void give_slot_back(maker *m, uint32_t which, uint32_t thread, uint64_t call) {
    block_life *block = &m->blocks[which];
    block->freed_at = (uint32_t)call;
    block->thread = thread;
    if (!block->shared) { /* last in, first out: the table stays small and warm */
        block->next = m->lanes[thread].free.first;
        m->lanes[thread].free.first = which;
        return;
    }
    block->next = REPLAY_NO_BLOCK;
    if (m->shared_free.first == REPLAY_NO_BLOCK)
        m->shared_free.first = which;
    else
        m->blocks[m->shared_free.last].next = which;
    m->shared_free.last = which;
}

static uint32_t new_slot(const maker *m, uint32_t *slots) {
    if (*slots >> REPLAY_SLOT_BITS != 0)
        wl_fail(WL_EXIT_USAGE,
                "'%.300s' has more than %" PRIu32 " blocks alive at a time, more than replay takes",
                m->name, UINT32_C(1) << REPLAY_SLOT_BITS);
    return (*slots)++;
}

static uint32_t take_slot(maker *m, const block_life *block, uint32_t thread, uint64_t call) {
    free_list *list = block->shared ? &m->shared_free : &m->lanes[thread].free;
    const block_life *head = list->first == REPLAY_NO_BLOCK ? NULL : &m->blocks[list->first];
    if (head != NULL && (!block->shared || head->thread == thread ||
                         (uint32_t)call - head->freed_at >= CALLS_BETWEEN_SHARED_USES)) {
        list->first = head->next;
        return head->slot;
    }
    return new_slot(m, block->shared ? &m->plan.shared_slots : &m->plan.lanes[thread].slots);
}

/* ---- words --------------------------------------------------------------------------------- */

static void put(maker *m, uint32_t thread, unsigned kind, uint64_t size, unsigned align,
                const block_life *block) {
    lane_maker *lane = &m->lanes[thread];
    const bool shared = block != NULL && block->shared;
    const uint64_t slot = block == NULL ? 0 : block->slot;
    const bool follows = size >= REPLAY_SIZE_FOLLOWS;
    lane->words[lane->used++] = kind | (shared ? REPLAY_SHARED : 0U) |
                                (uint64_t)align << REPLAY_ALIGN_SHIFT | slot << REPLAY_SLOT_SHIFT |
                                (follows ? REPLAY_SIZE_FOLLOWS : size) << REPLAY_SIZE_SHIFT;
    if (shared) {
        const uint64_t turn = m->turns[slot]++;
        m->last_words[slot] = &lane->words[lane->used];
        lane->words[lane->used++] = turn | (turn + 1) << 32;
    }
    if (follows)
        lane->words[lane->used++] = size;
    m->plan.checksum = wl_checksum_add(m->plan.checksum, size << 8 | kind);
    m->plan.checksum = wl_checksum_add(m->plan.checksum, slot << 32 | thread);
}

static void resize(maker *m, block_life *block, uint64_t size) {
    m->live_bytes += size - block->size;
    block->size = size;
}

static unsigned kind_of(const maker *m, const replay_event *e) {
    switch (e->call) {
    case REPLAY_CALLOC:
        return REPLAY_OP_CALLOC;
    case REPLAY_ALIGNED:
        return REPLAY_OP_ALIGNED;
    case REPLAY_REALLOC_NEW:
        return REPLAY_OP_REALLOC_NEW;
    case REPLAY_REALLOC:
        return REPLAY_OP_REALLOC;
    default:
        return e->size > 0 && e->size < REPLAY_SIZE_FOLLOWS && !m->wishes.no_quick
                   ? REPLAY_OP_MALLOC
                   : REPLAY_OP_MALLOC_ANY;
    }
}

static unsigned free_kind_of(const block_life *block) {
    return block->size == 0 ? REPLAY_OP_FREE_EMPTY : REPLAY_OP_FREE;
}

static void compile_end(maker *m, const replay_event *e, uint64_t call) {
    if (e->block == REPLAY_NO_BLOCK) {
        m->plan.frees_of_null++;
        put(m, e->thread, REPLAY_OP_FREE_NULL, 0, 0, NULL);
        return;
    }
    block_life *block = &m->blocks[e->block];
    put(m, e->thread, e->call == REPLAY_FREE ? free_kind_of(block) : REPLAY_OP_REALLOC_END, 0, 0,
        block);
    resize(m, block, 0);
    m->live_blocks--;
    block->live = false;
    give_slot_back(m, e->block, e->thread, call);
}

static void compile(maker *m, uint64_t call) {
    const replay_event *e = &m->events->events[call];
    lane_maker *lane = &m->lanes[e->thread];
    m->plan.crossings += e->block != REPLAY_NO_BLOCK && m->blocks[e->block].shared;
    if (lane->times != NULL)
        lane->times[lane->calls] = e->time_ns - m->events->events[0].time_ns;
    lane->calls++;
    if (e->call == REPLAY_FREE || e->call == REPLAY_REALLOC_END) {
        compile_end(m, e, call);
        return;
    }
    block_life *block = &m->blocks[e->block];
    if (e->call == REPLAY_REALLOC) {
        m->plan.reallocs++;
    } else {
        block->slot = take_slot(m, block, e->thread, call);
        block->live = true;
        m->live_blocks++;
    }
    block->thread = e->thread;
    resize(m, block, e->size);
    put(m, e->thread, kind_of(m, e), e->size, e->align, block);
    uint64_t *room = block->shared ? m->plan.shared_room : m->plan.lanes[e->thread].room;
    if (room != NULL && room[block->slot] < e->size)
        room[block->slot] = e->size;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void map_tables(maker *m) {
    const replay_events *events = m->events;
    const uint64_t blocks = events->blocks;
    replay_plan *plan = &m->plan;
    m->blocks = wl_map_table(blocks, sizeof *m->blocks, 0, m->name);
    m->turns = wl_map_table(blocks, sizeof *m->turns, 0, m->name);
    m->last_words = wl_map_table(blocks, sizeof *m->last_words, 0, m->name);
    m->lanes = wl_map_table(plan->threads, sizeof *m->lanes, 0, m->name);
    plan->lanes = wl_map_table(plan->threads, sizeof *plan->lanes, 0, m->name);
}

/* Streams lie one behind the other, each with room for the worst case: untouched pages cost
 * nothing. The drain of a thread frees at most one block for each of its calls. */
static void map_streams(maker *m) {
    m->words_room = m->plan.calls * (REPLAY_WORDS_A_CALL + 2) + 1;
    const uint64_t points = m->plan.point_count;
    uint64_t *words = wl_map_table(m->words_room, sizeof *words, 0, m->name);
    uint64_t *times =
        m->wishes.times ? wl_map_table(m->plan.calls, sizeof *times, 0, m->name) : NULL;
    uint64_t *calls_to = wl_map_table(points * m->plan.threads, sizeof *calls_to, 0, m->name);
    uint64_t *room = NULL;
    if (m->wishes.room) {
        room = wl_map_table(m->plan.calls, sizeof *room, 0, m->name);
        m->plan.shared_room = wl_map_table(m->events->blocks, sizeof *room, 0, m->name);
    }
    for (uint32_t i = 0; i < m->plan.threads; i++) {
        lane_maker *lane = &m->lanes[i];
        replay_lane *out = &m->plan.lanes[i];
        lane->words = words;
        lane->times = times;
        lane->calls_to = calls_to + i * points;
        *out = (replay_lane){.times = times, .calls_to = lane->calls_to, .room = room};
        words += lane->calls * (REPLAY_WORDS_A_CALL + 2);
        times = times == NULL ? NULL : times + lane->calls;
        room = room == NULL ? NULL : room + lane->calls;
        lane->calls = 0;
        lane->free.first = REPLAY_NO_BLOCK;
    }
    m->shared_free.first = REPLAY_NO_BLOCK;
}

static void choose_points(maker *m) {
    unsigned points = m->wishes.points < REPLAY_QUARTERS ? REPLAY_QUARTERS : m->wishes.points;
    points -= points % REPLAY_QUARTERS;
    while (points > REPLAY_QUARTERS && m->plan.calls / points < CALLS_A_POINT)
        points = points / 2 - points / 2 % REPLAY_QUARTERS;
    m->plan.point_count = points < REPLAY_QUARTERS ? REPLAY_QUARTERS : points;
    for (unsigned i = 0; i < m->plan.point_count; i++)
        m->plan.points[i].calls =
            (uint64_t)((unsigned __int128)m->plan.calls * (i + 1) / m->plan.point_count);
}

static void compile_all(maker *m) {
    replay_plan *plan = &m->plan;
    uint64_t call = 0;
    for (unsigned p = 0; p < plan->point_count; p++) {
        for (uint32_t i = 0; i < plan->threads; i++)
            m->lanes[i].calls_to[p] = m->lanes[i].calls;
        for (; call < plan->points[p].calls; call++) {
            compile(m, call);
            if (m->live_bytes > plan->peak_live_bytes)
                plan->peak_live_bytes = m->live_bytes;
            if (m->live_blocks > plan->peak_live_blocks)
                plan->peak_live_blocks = m->live_blocks;
        }
        for (uint32_t i = 0; i < plan->threads; i++)
            m->lanes[i].calls_to[p] = m->lanes[i].calls - m->lanes[i].calls_to[p];
        plan->points[p].live_bytes = m->live_bytes;
        plan->points[p].live_blocks = m->live_blocks;
    }
}

/* What is left is freed by the threads that had it last, in the order in which it was allocated. */
static void compile_drain(maker *m) {
    m->plan.drain_bytes = m->live_bytes;
    for (uint32_t b = 0; b < m->events->blocks; b++) {
        block_life *block = &m->blocks[b];
        if (!block->live)
            continue;
        put(m, block->thread, free_kind_of(block), 0, 0, block);
        m->plan.lanes[block->thread].drain_calls++;
        m->plan.drain_calls++;
    }
    for (uint32_t s = 0; s < m->plan.shared_slots; s++) /* ready for the next loop */
        *m->last_words[s] &= UINT32_MAX;
}

static void write_words(int file, const uint64_t *words, uint64_t count, const char *name) {
    size_t done = 0, bytes = (size_t)(count * sizeof *words);
    while (done < bytes) {
        ssize_t put = write(file, (const char *)words + done, bytes - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            wl_fail(WL_EXIT_RUN, "'%.300s' does not fit into memory (%s)", name, strerror(errno));
        done += (size_t)put;
    }
}

static void write_streams(maker *m) {
    const int file = memfd_create("streams", MFD_CLOEXEC);
    if (file < 0)
        wl_fail(WL_EXIT_RUN, "a file in memory can't be had (%s)", strerror(errno));
    const uint64_t room =
        m->plan.threads > MANY_THREADS ? REPLAY_SMALL_PIECE_WORDS : REPLAY_PIECE_WORDS;
    uint64_t *pieces = wl_map_table(m->plan.threads * room, sizeof *pieces, 1, m->name);
    uint64_t at = 0;
    for (uint32_t i = 0; i < m->plan.threads; i++) {
        const lane_maker *lane = &m->lanes[i];
        write_words(file, lane->words, lane->used, m->name);
        m->plan.lanes[i].stream = (replay_stream){.file = file,
                                                  .begin = at,
                                                  .end = at + lane->used,
                                                  .piece = pieces + i * room,
                                                  .room = room};
        at += lane->used;
    }
    wl_unmap_table(m->lanes[0].words, m->words_room, sizeof(uint64_t));
}

static void unmap_tables(maker *m) {
    const uint64_t blocks = m->events->blocks;
    wl_unmap_table(m->blocks, blocks, sizeof *m->blocks);
    wl_unmap_table(m->turns, blocks, sizeof *m->turns);
    wl_unmap_table(m->last_words, blocks, sizeof *m->last_words);
    wl_unmap_table(m->lanes, m->plan.threads, sizeof *m->lanes);
}

replay_plan replay_plan_make(const replay_events *events, const char *name, replay_wishes wishes) {
    maker m = {.events = events, .name = name, .wishes = wishes};
    if (events->count == 0)
        wl_fail(WL_EXIT_USAGE, "'%.300s' holds no call that could be replayed", name);
    if (events->count > UINT32_MAX)
        wl_fail(WL_EXIT_USAGE, "'%.300s' holds %" PRIu64 " calls; replay takes up to %" PRIu32,
                name, events->count, UINT32_MAX);
    m.plan.calls = events->count;
    m.plan.threads = events->threads;
    if (events->has_times)
        m.plan.recorded_ns = events->events[events->count - 1].time_ns - events->events[0].time_ns;
    map_tables(&m);
    for (uint64_t call = 0; call < events->count; call++)
        look_at(&m, call);
    choose_points(&m);
    map_streams(&m);
    for (uint32_t b = 0; b < events->blocks; b++)
        m.blocks[b].live = false;
    compile_all(&m);
    compile_drain(&m);
    write_streams(&m);
    unmap_tables(&m);
    return m.plan;
}
