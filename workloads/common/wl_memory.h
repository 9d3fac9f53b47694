/* Memory of the drivers themselves: mapped from the kernel, never from the malloc under test. */
#ifndef WL_MEMORY_H
#define WL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/*
 * A zeroed, page-aligned table of count * size bytes. With `touch` its pages are made resident
 * now, so that they cost every allocator the same and no page fault of theirs falls into the run.
 * Where it can't be had the program ends with exit status 2 and a sentence that names `what`
 * (e.g. "a table of --slots 10 for --threads 2"). Never returns NULL. Free with wl_unmap_table.
 */
void *wl_map_table(uint64_t count, uint64_t size, int touch, const char *what);
void wl_unmap_table(void *table, uint64_t count, uint64_t size);

/* Ends the program with exit status 2 if the blocks of a run (bytes in all, at one time) exceed
 * the machine's physical memory. `what` names the arguments that ask for them. */
void wl_refuse_beyond_memory(double bytes, const char *what);

#endif
