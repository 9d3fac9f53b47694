/*
 * When which block is freed: a hierarchical timing wheel, O(1) a block.
 *
 * After G. Varghese and A. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987. Four wheels
 * of 256 slots each stand for the four bytes of a step's number. A block lies in the wheel of the
 * highest byte in which its last step differs from now; whenever that byte's turn comes it moves to
 * a lower wheel, at most three times in its life. A slot is a list of chunks of 15 entries, so that
 * a move reads and writes memory in order instead of following a link to each block: it costs a few
 * nanoseconds even where the wheel is larger than the processor's caches.
 */
#ifndef WHEEL_H
#define WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wl_block.h"

enum { WHEEL_LEVELS = 4, WHEEL_SLOTS = 256, WHEEL_CHUNK_ENTRIES = 15 };

/* Steps that a block may be away from its end: less than half of the numbers there are. */
#define WHEEL_FARTHEST UINT32_C(0x7fffffff)

typedef struct {
    void *block;
    uint32_t when; /* the step, modulo 2^32, in which it is freed */
    uint32_t size;
} wheel_entry;

typedef struct wheel_chunk {
    struct wheel_chunk *next;
    uint32_t count;
    wheel_entry entries[WHEEL_CHUNK_ENTRIES];
    uint32_t serials[]; /* as many, only with --check */
} wheel_chunk;

/* Of one thread. */
typedef struct {
    wheel_chunk *slots[WHEEL_LEVELS][WHEEL_SLOTS];
    uint32_t now;
    wheel_chunk *unused;
    char *fresh, *fresh_end; /* chunks that were never used */
    size_t chunk_bytes;
} timing_wheel;

/* Prepares an empty wheel (zeroed memory) with room for some `blocks` blocks, mapped and touched
 * now; more is mapped when it is needed. `check`: with serials. Ends the program with exit status 2
 * and `what` where there is no memory. */
void wheel_init(timing_wheel *wheel, double blocks, bool check, const char *what);

/* An empty chunk: one that was used before, or a fresh one. */
wheel_chunk *wheel_new_chunk(timing_wheel *wheel);

/* The lowest byte of `now` has become 0: moves what is due to lower wheels. */
void wheel_turn(timing_wheel *wheel);

/* Puts a block in that is freed in step `when`: 0 to WHEEL_FARTHEST steps from now. */
WL_INLINE void wheel_add(timing_wheel *wheel, const wheel_entry *entry, uint32_t serial) {
    const uint32_t differ = wheel->now ^ entry->when;
    const unsigned level = differ < UINT32_C(1) << 8    ? 0
                           : differ < UINT32_C(1) << 16 ? 1
                           : differ < UINT32_C(1) << 24 ? 2
                                                        : 3;
    wheel_chunk **slot = &wheel->slots[level][(entry->when >> (8 * level)) & (WHEEL_SLOTS - 1)];
    wheel_chunk *chunk = *slot;
    if (chunk == NULL || chunk->count == WHEEL_CHUNK_ENTRIES) {
        chunk = wheel_new_chunk(wheel);
        chunk->next = *slot;
        *slot = chunk;
    }
    chunk->entries[chunk->count] = *entry;
    if (wheel->chunk_bytes > sizeof *chunk)
        chunk->serials[chunk->count] = serial;
    chunk->count++;
}

/* Takes the last entry out of a slot; false if the slot is empty. */
WL_INLINE bool wheel_take(timing_wheel *wheel, wheel_chunk **slot, wheel_entry *entry,
                          wl_tag *tag) {
    wheel_chunk *chunk = *slot;
    if (chunk == NULL)
        return false;
    const uint32_t i = --chunk->count;
    *entry = chunk->entries[i];
    if (wheel->chunk_bytes > sizeof *chunk)
        *tag = (wl_tag){.size = entry->size, .serial = chunk->serials[i]};
    if (i == 0) {
        *slot = chunk->next;
        chunk->next = wheel->unused;
        wheel->unused = chunk;
    }
    return true;
}

/* The next step begins. What is freed in it then lies in the slot that is returned. */
WL_INLINE wheel_chunk **wheel_advance(timing_wheel *wheel) {
    wheel->now++;
    if ((wheel->now & (WHEEL_SLOTS - 1)) == 0)
        wheel_turn(wheel);
    return &wheel->slots[0][wheel->now & (WHEEL_SLOTS - 1)];
}

#endif
