/* When which block is freed: the parts of the timing wheel that are not needed in each step. */
#include "wheel.h"

#include "wl_memory.h"

enum { MORE_CHUNKS = 1024 /* mapped at once when the first ones are used up */ };

static void map_chunks(timing_wheel *wheel, uint64_t count, const char *what) {
    wheel->fresh = wl_map_table(count, wheel->chunk_bytes, 1, what);
    wheel->fresh_end = wheel->fresh + count * wheel->chunk_bytes;
}

void wheel_init(timing_wheel *wheel, double blocks, bool check, const char *what) {
    wheel->chunk_bytes =
        sizeof(wheel_chunk) + (check ? (WHEEL_CHUNK_ENTRIES + 1) * sizeof(uint32_t) : 0);
    /* Each slot that is in use has one chunk that is not full; where blocks are few, most slots are
     * not in use. */
    double slots = blocks < 1024 ? blocks : 1024;
    map_chunks(wheel, (uint64_t)(blocks * 1.02 / WHEEL_CHUNK_ENTRIES + slots) + 16, what);
}

wheel_chunk *wheel_new_chunk(timing_wheel *wheel) {
    wheel_chunk *chunk = wheel->unused;
    if (chunk != NULL) {
        wheel->unused = chunk->next;
    } else {
        if (wheel->fresh == wheel->fresh_end)
            map_chunks(wheel, MORE_CHUNKS, "the table of blocks, which has grown,");
        chunk = (wheel_chunk *)(void *)wheel->fresh;
        wheel->fresh += wheel->chunk_bytes;
    }
    chunk->count = 0;
    return chunk;
}

void wheel_turn(timing_wheel *wheel) {
    for (unsigned level = 1; level < WHEEL_LEVELS; level++) {
        const unsigned index = (wheel->now >> (8 * level)) & (WHEEL_SLOTS - 1);
        wheel_chunk **slot = &wheel->slots[level][index];
        wheel_entry entry;
        wl_tag tag = {0, 0};
        while (wheel_take(wheel, slot, &entry, &tag))
            wheel_add(wheel, &entry, tag.serial);
        if (index != 0)
            break;
    }
}
