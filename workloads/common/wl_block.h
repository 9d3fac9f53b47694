/*
 * What a driver does with a block: gets it, uses it, and gives it back. Every function here is
 * compiled into the loops with `mode` and `timed` as constants, so that a plain run pays for
 * nothing but the call, one byte written at each end of the block, and one byte read before free.
 */
#ifndef WL_BLOCK_H
#define WL_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "wl_check.h"
#include "wl_clock.h"
#include "wl_fail.h"
#include "wl_latency.h"

#define WL_INLINE static inline __attribute__((always_inline))

/* Bits of a loop's mode. */
enum {
    WL_MODE_PLAIN = 0,
    WL_MODE_NONE = 1,  /* no call to the allocator; blocks set aside beforehand */
    WL_MODE_CHECK = 2, /* patterns in the blocks */
    WL_MODES = 4       /* number of combinations */
};

/* What --check has to know of a block besides its address. One for each pointer in a driver's
 * tables; the array is there only with --check. */
typedef struct {
    uint32_t size;
    uint32_t serial; /* differs between blocks that live at the same time */
} wl_tag;

/* Of one thread, in its loops. */
typedef struct {
    wl_latency *latency;     /* NULL without --latency */
    uint64_t blocks_checked; /* with --check: blocks found intact */
    uint32_t serial;         /* with --check: of the next block */
} wl_block_user;

/* Calls malloc alone. `set_aside` is the block that stands for it in mode NONE. Ends the program
 * where there is no memory. */
WL_INLINE void *wl_block_allocate(size_t size, void *set_aside, wl_block_user *user, const int mode,
                                  const bool timed) {
    void *block;
    uint64_t before = 0;
    if (timed)
        before = wl_ticks_before();
    if ((mode & WL_MODE_NONE) != 0)
        block = set_aside;
    else
        block = malloc(size);
    if (timed)
        wl_histogram_add(&user->latency->malloc_times, wl_ticks_after() - before);
    if (__builtin_expect(block == NULL, 0))
        wl_fail_out_of_memory(size);
    return block;
}

/* Calls realloc alone; its time counts as malloc's. In mode NONE the block stays where it is. */
WL_INLINE void *wl_block_resize(void *old, size_t size, wl_block_user *user, const int mode,
                                const bool timed) {
    void *block = old;
    uint64_t before = 0;
    if (timed)
        before = wl_ticks_before();
    if ((mode & WL_MODE_NONE) == 0)
        block = realloc(old, size);
    if (timed)
        wl_histogram_add(&user->latency->malloc_times, wl_ticks_after() - before);
    if (__builtin_expect(block == NULL, 0))
        wl_fail_no_memory("realloc", size);
    return block;
}

/* Calls free alone. */
WL_INLINE void wl_block_free(void *block, wl_block_user *user, const int mode, const bool timed) {
    uint64_t before = 0;
    if (timed)
        before = wl_ticks_before();
    if ((mode & WL_MODE_NONE) == 0)
        free(block);
    if (timed)
        wl_histogram_add(&user->latency->free_times, wl_ticks_after() - before);
}

/* Gets a block of `size` bytes (1 or more) and writes to it; the rest as wl_block_allocate. */
WL_INLINE void *wl_block_get(uint32_t size, void *set_aside, wl_tag *tag, wl_block_user *user,
                             const int mode, const bool timed) {
    unsigned char *block = wl_block_allocate(size, set_aside, user, mode, timed);
    if ((mode & WL_MODE_CHECK) != 0) {
        tag->size = size;
        tag->serial = user->serial++;
        wl_pattern_fill(block, size, tag->serial);
    } else {
        *(volatile unsigned char *)block = (unsigned char)size;
        *(volatile unsigned char *)(block + size - 1) = (unsigned char)size;
    }
    return block;
}

/* Reads a block and frees it. */
WL_INLINE void wl_block_release(void *block, const wl_tag *tag, wl_block_user *user, const int mode,
                                const bool timed) {
    if ((mode & WL_MODE_CHECK) != 0) {
        wl_pattern_verify(block, tag->size, tag->serial);
        user->blocks_checked++;
    } else {
        (void)*(const volatile unsigned char *)block;
    }
    wl_block_free(block, user, mode, timed);
}

/* Serial numbers of thread slot `number` (0 to 4095): no two slots come to the same one before
 * a million blocks were allocated after the other's. */
static inline uint32_t wl_first_serial(uint64_t number) {
    return (uint32_t)number << 20;
}

#endif
