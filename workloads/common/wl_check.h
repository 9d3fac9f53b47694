/*
 * Patterns of --check. Every byte of a block is set when it is allocated and compared before it
 * is freed. The pattern depends on the block's address, its size and a serial number: two blocks
 * that overlap, even at the same address and with the same size, destroy each other's.
 */
#ifndef WL_CHECK_H
#define WL_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Fills `size` bytes at `block`. Any thread; the block belongs to the caller. */
void wl_pattern_fill(void *block, size_t size, uint32_t serial);

/* Compares; where a byte differs it ends the program with exit status 1 and a sentence that names
 * the block, its size, the offset, and the byte found and expected. */
void wl_pattern_verify(const void *block, size_t size, uint32_t serial);

/* The same after realloc gave `block` of `size` bytes for the block that was at `was`, with the
 * pattern of `was_size` bytes: what both have room for must have come along. */
void wl_pattern_verify_moved(const void *block, size_t size, const void *was, size_t was_size,
                             uint32_t serial);

#endif
