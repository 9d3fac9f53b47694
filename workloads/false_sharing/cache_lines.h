/* Which objects share a cache line, found out from their addresses: no clock, no chance. */
#ifndef CACHE_LINES_H
#define CACHE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Objects that lived at the same time, one of each thread. */
typedef struct {
    uint64_t objects;
    uint64_t lines;          /* cache lines that they touch, each counted once */
    uint64_t shared_objects; /* that touch a line which another one touches, too */
} cache_lines;

/* Bytes of a cache line of this machine's first-level cache, a power of two; 64 where the system
 * does not tell. */
size_t cache_line_bytes(void);

/* Do two objects of `size` bytes touch one line? `line` is a power of two. */
static inline bool cache_lines_meet(uintptr_t one, uintptr_t other, size_t size, size_t line) {
    const uintptr_t mask = ~(uintptr_t)(line - 1);
    return (one & mask) <= ((other + size - 1) & mask) &&
           (other & mask) <= ((one + size - 1) & mask);
}

/* Counts for `count` objects of `size` bytes (1 or more); sorts `addresses`. */
cache_lines cache_lines_count(uintptr_t *addresses, size_t count, size_t size, size_t line);

#endif
