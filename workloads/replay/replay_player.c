/* Plays a thread's stream of calls: one loop for the common calls, one function for the others. */
#include "replay_player.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replay_op.h"
#include "wl_relax.h"

enum { YIELDS = 20, NAP_NS = 50000, PAGE_BYTES = 4096 };

/* ---- turns --------------------------------------------------------------------------------- */

/* Acquire: what the thread before did with the block, and wrote into the slot, is seen. */
static __attribute__((noinline)) void wait_longer(replay_player *self, replay_shared *slot,
                                                  uint32_t turn) {
    self->waits++;
    for (unsigned i = 0; i < self->patience; i++) {
        wl_relax();
        if (atomic_load_explicit(&slot->turn, memory_order_acquire) == turn)
            return;
    }
    for (unsigned i = 0; atomic_load_explicit(&slot->turn, memory_order_acquire) != turn; i++) {
        if (i < YIELDS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
}

static inline void wait_for(replay_player *self, replay_shared *slot, uint32_t turn) {
    if (__builtin_expect(atomic_load_explicit(&slot->turn, memory_order_acquire) != turn, 0))
        wait_longer(self, slot, turn);
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* Patterns hold 32 bits of size; of larger blocks the beginning is filled. */
static inline uint32_t pattern_size(uint64_t size) {
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}

/* What is done with a fresh block, beyond what wl_block_get does: any size, and any amount. */
WL_INLINE void use(replay_player *self, unsigned char *block, uint64_t size, wl_tag *tag,
                   const int mode) {
    if ((mode & WL_MODE_CHECK) != 0) {
        tag->size = pattern_size(size);
        tag->serial = self->user.serial++;
        if (size > 0)
            wl_pattern_fill(block, tag->size, tag->serial);
        return;
    }
    if (size == 0)
        return;
    if (self->touch == REPLAY_TOUCH_ALL)
        memset(block, (int)(size & 0xff), size);
    if (self->touch == REPLAY_TOUCH_PAGES)
        for (uint64_t at = PAGE_BYTES; at < size; at += PAGE_BYTES)
            *(volatile unsigned char *)(block + at) = (unsigned char)size;
    *(volatile unsigned char *)block = (unsigned char)size;
    *(volatile unsigned char *)(block + size - 1) = (unsigned char)size;
}

/* Before a block of any size is given back or reallocated. */
WL_INLINE void look_at(replay_player *self, unsigned kind, const void *block, const wl_tag *tag,
                       const int mode) {
    if ((mode & WL_MODE_CHECK) == 0) {
        if (kind == REPLAY_OP_FREE)
            (void)*(const volatile unsigned char *)block;
        return;
    }
    if (tag->size > 0)
        wl_pattern_verify(block, tag->size, tag->serial);
    if (kind != REPLAY_OP_REALLOC)
        self->user.blocks_checked++;
}

static void *aligned(unsigned power, uint64_t size) {
    void *block = NULL;
    size_t alignment = (size_t)1 << power;
    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

WL_INLINE void *call(unsigned kind, void *old, uint64_t size, unsigned power, const int mode) {
    if ((mode & WL_MODE_NONE) != 0)
        return old;
    switch (kind) {
    case REPLAY_OP_CALLOC:
        return calloc(1, size);
    case REPLAY_OP_ALIGNED:
        return aligned(power, size);
    case REPLAY_OP_REALLOC_NEW:
        return realloc(NULL, size);
    case REPLAY_OP_REALLOC:
    case REPLAY_OP_REALLOC_END:
        return realloc(old, size);
    case REPLAY_OP_FREE:
    case REPLAY_OP_FREE_EMPTY:
    case REPLAY_OP_FREE_NULL:
        free(old);
        return NULL;
    default:
        return malloc(size);
    }
}

WL_INLINE bool gives_back(unsigned kind) {
    return kind == REPLAY_OP_FREE || kind == REPLAY_OP_FREE_EMPTY || kind == REPLAY_OP_FREE_NULL ||
           kind == REPLAY_OP_REALLOC_END;
}

WL_INLINE void *timed_call(replay_player *self, unsigned kind, void *old, uint64_t size,
                           unsigned power, const int mode, const bool timed) {
    if (!timed)
        return call(kind, old, size, power, mode);
    const uint64_t before = wl_ticks_before();
    void *block = call(kind, old, size, power, mode);
    const uint64_t ticks = wl_ticks_after() - before;
    wl_histogram_add(gives_back(kind) ? &self->user.latency->free_times
                                      : &self->user.latency->malloc_times,
                     ticks);
    return block;
}

/* What --check knows of a block that was not written to since it was given: its alignment, zeroes
 * from calloc, and after realloc the contents, whose pattern came of the address before. */
static void check_given(unsigned kind, const unsigned char *block, const void *before,
                        uint64_t size, unsigned power, const wl_tag *tag) {
    if (kind == REPLAY_OP_ALIGNED && ((uintptr_t)block & (((uintptr_t)1 << power) - 1)) != 0)
        wl_fail(WL_EXIT_RUN,
                "--check found an error: the block at %p was asked for with alignment %llu",
                (const void *)block, 1ULL << power);
    if (kind == REPLAY_OP_CALLOC)
        for (uint64_t i = 0; i < size; i++)
            if (block[i] != 0)
                wl_fail(WL_EXIT_RUN,
                        "--check found an error in the block at %p of %llu bytes: calloc left "
                        "0x%02x at offset %llu",
                        (const void *)block, (unsigned long long)size, block[i],
                        (unsigned long long)i);
    if (kind == REPLAY_OP_REALLOC)
        wl_pattern_verify_moved(block, pattern_size(size), before, tag->size, tag->serial);
}

/* ---- the loops ----------------------------------------------------------------------------- */

/* Any call that play does not make itself. Returns the stream behind it. */
WL_INLINE const uint64_t *play_other(replay_player *self, const uint64_t *op, const int mode,
                                     const bool timed) {
    const uint64_t word = *op++;
    const unsigned kind = replay_op_kind_of(word), power = replay_op_align(word);
    const uint32_t index = replay_op_slot(word);
    uint64_t turns = 0, size = replay_op_size(word);
    replay_shared *shared = NULL;
    if (kind == REPLAY_OP_FREE_NULL) {
        (void)timed_call(self, kind, NULL, 0, 0, mode, timed);
        return op;
    }
    if ((word & REPLAY_SHARED) != 0) {
        turns = *op++;
        shared = &self->shared[index];
        wait_for(self, shared, (uint32_t)turns);
    }
    if (size == REPLAY_SIZE_FOLLOWS)
        size = *op++;
    void **place = shared == NULL ? &self->local[index] : &shared->block;
    wl_tag *tag = NULL;
    if ((mode & WL_MODE_CHECK) != 0)
        tag = shared == NULL ? &self->tags[index] : &shared->tag;
    void *old = *place;
    if (gives_back(kind) || kind == REPLAY_OP_REALLOC)
        look_at(self, kind, old, tag, mode);
    void *block = timed_call(self, kind, old, size, power, mode, timed);
    if (kind == REPLAY_OP_REALLOC_END && block != NULL && (mode & WL_MODE_NONE) == 0) {
        free(block); /* some allocators give an empty block where others free */
    } else if (!gives_back(kind)) {
        if (__builtin_expect(block == NULL, 0) && size > 0)
            wl_fail_out_of_memory(size);
        if ((mode & WL_MODE_CHECK) != 0 && (mode & WL_MODE_NONE) == 0)
            check_given(kind, block, old, size, power, tag);
        use(self, block, size, tag, mode);
        *place = block;
    }
    if (shared != NULL) /* release: to whoever has the next turn */
        atomic_store_explicit(&shared->turn, (uint32_t)(turns >> 32), memory_order_release);
    return op;
}

#define OTHER(mode)                                                                                \
    static __attribute__((noinline))                                                               \
    const uint64_t *other_##mode(replay_player *self, const uint64_t *op) {                        \
        return play_other(self, op, mode, false);                                                  \
    }                                                                                              \
    static __attribute__((noinline))                                                               \
    const uint64_t *other_timed_##mode(replay_player *self, const uint64_t *op) {                  \
        return play_other(self, op, mode, true);                                                   \
    }
OTHER(0)
OTHER(1)
OTHER(2)
OTHER(3)

typedef const uint64_t *other_call(replay_player *self, const uint64_t *op);

WL_INLINE void play(replay_player *self, uint64_t count, const int mode, const bool timed,
                    other_call *other) {
    const uint64_t *op = self->next;
    void **local = self->local;
    for (; count > 0; count--) {
        const uint64_t word = *op;
        const unsigned kind = (unsigned)word & (REPLAY_KIND_MASK | REPLAY_SHARED);
        const uint32_t index = replay_op_slot(word);
        wl_tag *tag = (mode & WL_MODE_CHECK) != 0 ? &self->tags[index] : NULL;
        if (kind == REPLAY_OP_MALLOC) {
            local[index] =
                wl_block_get(replay_op_size(word), local[index], tag, &self->user, mode, timed);
            op++;
        } else if (kind == REPLAY_OP_FREE) {
            wl_block_release(local[index], tag, &self->user, mode, timed);
            op++;
        } else {
            op = other(self, op);
        }
    }
    self->next = op;
}

#define LOOPS(mode)                                                                                \
    static void play_##mode(void *self, uint64_t count) {                                          \
        play(self, count, mode, false, other_##mode);                                              \
    }                                                                                              \
    static void play_timed_##mode(void *self, uint64_t count) {                                    \
        play(self, count, mode, true, other_timed_##mode);                                         \
    }
LOOPS(0)
LOOPS(1)
LOOPS(2)
LOOPS(3)

const replay_loops replay_loops_of[WL_MODES] = {
    {play_0, play_timed_0},
    {play_1, play_timed_1},
    {play_2, play_timed_2},
    {play_3, play_timed_3},
};
