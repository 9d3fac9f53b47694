/* Runs the scenario while the process has as many mappings as it may (vm.max_map_count), or nearly:
 * mapping, unmapping in the middle, mprotect and mremap then fail. Afterwards the address space
 * must be what it was.
 *
 *   map_count SPARE
 *
 * SPARE: mappings that are left. Prints the requests refused, and bytes kept at that time. */
#include "os/os.h"
#include "scenario.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE      ((size_t)4096)
#define ROW_BYTES ((size_t)40 << 20) /* a mapping of its own; hardly touched */

static size_t pages_of_address_space(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (!file || fscanf(file, "%lu", &pages) != 1)
        give_up("/proc/self/statm can't be read");
    fclose(file);
    return pages;
}

/* Blocks that grow by mremap, over and over; the highest address space needed for it. */
static void grow_and_shrink(void) {
    for (int i = 0; i < 100; i++) {
        char *block = malloc(3 << 20), *beside = malloc(3 << 20);
        char *grown = block ? realloc(block, 20 << 20) : NULL;
        block = grown ? grown : block;
        grown = block ? realloc(block, 30 << 20) : NULL; /* the first one moved the contents */
        free(grown ? grown : block);
        free(beside);
    }
}

int main(int argc, char **argv) {
    int spare = argc == 2 ? atoi(argv[1]) : -1;
    if (spare < 0)
        give_up("usage: map_count SPARE");
    if (scenario())
        give_up("a request was refused although there was memory");
    grow_and_shrink();
    /* Side by side, so that they are one mapping; more than the cache of freed ones keeps. */
    char *row[40];
    for (size_t i = 0; i < 40; i++)
        if (!(row[i] = malloc(ROW_BYTES)))
            give_up("no memory for a row of blocks");
    size_t before = pages_of_address_space();
    /* Every other page has another protection: each is a mapping. */
    size_t size = 1 << 20;
    char *filler =
        mmap(NULL, size * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (filler == MAP_FAILED)
        give_up("no address space for the mappings");
    size_t used = 1;
    while (used < size && mprotect(filler + used * PAGE, PAGE, PROT_READ) == 0)
        used += 2;
    if (used >= size) {
        printf("skip: vm.max_map_count is too large to be reached\n");
        return 0;
    }
    for (int i = 0; i < spare / 2; i++)
        mprotect(filler + (used -= 2) * PAGE, PAGE, PROT_NONE);
    for (size_t i = 1; i < 40; i += 2)
        free(row[i]);
    size_t kept = hak_os_leftover();
    unsigned refused = scenario();
    grow_and_shrink();
    munmap(filler, size * PAGE);
    for (size_t i = 0; i < 40; i += 2)
        free(row[i]);
    if (scenario())
        give_up("a request was refused when there were mappings again");
    grow_and_shrink();
    if (hak_os_leftover())
        give_up("%zu bytes are still kept", hak_os_leftover());
    size_t after = pages_of_address_space();
    if (after > before + (8 << 20) / PAGE)
        give_up("%zu KiB of address space were lost", (after - before) * PAGE >> 10);
    printf("refused %u kept %zu\n", refused, kept);
    return 0;
}
