/* Which objects share a cache line, found out from their addresses. */
#include "cache_lines.h"

#include <unistd.h>

size_t cache_line_bytes(void) {
    long bytes = -1;
#ifdef _SC_LEVEL1_DCACHE_LINESIZE
    bytes = sysconf(_SC_LEVEL1_DCACHE_LINESIZE);
#endif
    return bytes >= 16 && bytes <= 1024 && (bytes & (bytes - 1)) == 0 ? (size_t)bytes : 64;
}

/* By insertion: there are 4096 at most, and qsort may call the malloc under test. */
static void sort(uintptr_t *addresses, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const uintptr_t address = addresses[i];
        size_t at = i;
        for (; at > 0 && addresses[at - 1] > address; at--)
            addresses[at] = addresses[at - 1];
        addresses[at] = address;
    }
}

cache_lines cache_lines_count(uintptr_t *addresses, size_t count, size_t size, size_t line) {
    cache_lines found = {.objects = count};
    uintptr_t counted_to = 0; /* number of the first line that is not counted yet */
    sort(addresses, count);
    for (size_t i = 0; i < count; i++) {
        const uintptr_t first = addresses[i] / line, end = (addresses[i] + size - 1) / line + 1;
        if (end > counted_to) {
            found.lines += end - (first > counted_to ? first : counted_to);
            counted_to = end;
        }
        /* All are of one size, so that who meets anybody meets a neighbour in this order. */
        if ((i > 0 && cache_lines_meet(addresses[i - 1], addresses[i], size, line)) ||
            (i + 1 < count && cache_lines_meet(addresses[i], addresses[i + 1], size, line)))
            found.shared_objects++;
    }
    return found;
}
