/* Memory of the drivers themselves: mapped from the kernel, never from the malloc under test. */
#include "wl_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wl_fail.h"

static double physical_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (double)pages * (double)page : 0.0;
}

static double gibibytes(double bytes) {
    return bytes / (1024.0 * 1024.0 * 1024.0);
}

void wl_refuse_beyond_memory(double bytes, const char *what) {
    double have = physical_bytes();
    if (have > 0 && bytes > have)
        wl_fail(WL_EXIT_USAGE,
                "%s needs about %.1f GiB of memory at one time and this machine has %.1f GiB; ask "
                "for less",
                what, gibibytes(bytes), gibibytes(have));
}

void *wl_map_table(uint64_t count, uint64_t size, int touch, const char *what) {
    uint64_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX)
        wl_fail(WL_EXIT_USAGE, "%s is more than an address space holds; ask for less", what);
    if (bytes == 0)
        bytes = 1;
    if (touch)
        wl_refuse_beyond_memory((double)bytes, what);
    void *table = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | (touch ? 0 : MAP_NORESERVE), -1, 0);
    if (table == MAP_FAILED)
        wl_fail(WL_EXIT_USAGE, "%s needs %.1f MiB of memory that can't be had (%s); ask for less",
                what, (double)bytes / (1024.0 * 1024.0), strerror(errno));
    /* A huge page would make a small table look like 2 MiB of the allocator's memory. */
    (void)madvise(table, (size_t)bytes, MADV_NOHUGEPAGE);
    if (touch)
        memset(table, 0, (size_t)bytes);
    return table;
}

void wl_unmap_table(void *table, uint64_t count, uint64_t size) {
    if (table != NULL)
        (void)munmap(table, (size_t)(count * size > 0 ? count * size : 1));
}
