/* The reader's table of live blocks by address: open addressing with linear probing. */
#include "trace_decode.h"

#include <string.h>
#include <sys/mman.h>

#include "wl_fail.h"

void *trace_pages(uint64_t bytes) {
    void *pages = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

/* Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4). */
static uint64_t home(const trace_blocks *blocks, uint64_t address) {
    return (address * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (blocks->room - 1);
}

static trace_live *find(const trace_blocks *blocks, uint64_t address) {
    uint64_t at = home(blocks, address);
    while (blocks->slots[at].address && blocks->slots[at].address != address)
        at = (at + 1) & (blocks->room - 1);
    return &blocks->slots[at];
}

static void grow(trace_blocks *blocks) {
    trace_blocks larger = {.room = blocks->room ? 2 * blocks->room : 1024, .count = blocks->count};
    larger.slots = trace_pages(larger.room * sizeof *larger.slots);
    if (!larger.slots)
        wl_fail(WL_EXIT_RUN, "there is no memory to read a trace with %llu live blocks",
                (unsigned long long)blocks->count);
    for (uint64_t i = 0; i < blocks->room; i++)
        if (blocks->slots[i].address)
            *find(&larger, blocks->slots[i].address) = blocks->slots[i];
    if (blocks->slots)
        munmap(blocks->slots, blocks->room * sizeof *blocks->slots);
    *blocks = larger;
}

bool trace_blocks_put(trace_blocks *blocks, const trace_live *live) {
    if (4 * (blocks->count + 1) > 3 * blocks->room)
        grow(blocks);
    trace_live *slot = find(blocks, live->address);
    bool replaced = slot->address != 0;
    blocks->count += !replaced;
    *slot = *live;
    return replaced;
}

/* What follows moves up where it may, so that no marks of deleted ones are needed (Knuth, 6.4,
 * algorithm R). */
bool trace_blocks_take(trace_blocks *blocks, uint64_t address, trace_live *live) {
    if (!blocks->room)
        return false;
    trace_live *slot = find(blocks, address);
    if (!slot->address)
        return false;
    *live = *slot;
    uint64_t mask = blocks->room - 1, hole = (uint64_t)(slot - blocks->slots), at = hole;
    for (;;) {
        at = (at + 1) & mask;
        if (!blocks->slots[at].address)
            break;
        uint64_t wants = home(blocks, blocks->slots[at].address);
        if (((at - wants) & mask) >= ((at - hole) & mask)) {
            blocks->slots[hole] = blocks->slots[at];
            hole = at;
        }
    }
    blocks->slots[hole].address = 0;
    blocks->count--;
    return true;
}

void trace_blocks_clear(trace_blocks *blocks) {
    if (blocks->slots)
        munmap(blocks->slots, blocks->room * sizeof *blocks->slots);
    *blocks = (trace_blocks){.room = 0};
}
