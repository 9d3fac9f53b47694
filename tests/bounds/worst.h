/* The most work that any one call took, by kind of call. */
#ifndef BOUNDS_WORST_H
#define BOUNDS_WORST_H

#include "steps.h"

#include <stddef.h>

enum kind { MALLOC, FREE, REALLOC, START, END, KINDS };
extern const char *const kind_names[KINDS];

struct worst {
    uint64_t steps[KINDS]; /* of one call: basic blocks, */
    uint64_t calls[KINDS]; /* and system calls for memory */
    uint64_t done[KINDS];  /* calls that were measured */
};

/* Adds the greater of each, and what was done; into `sum`, which several threads may add to. */
void worst_add(struct worst *sum, const struct worst *one);

/* As malloc, free and realloc; the call's work is noted in the calling thread's `worst_here`. They
 * end the program where there is no memory. */
void *measured_malloc(size_t size);
void measured_free(void *block);
void *measured_realloc(void *block, size_t size);
/* The calling thread's first call, and its last: after that it asks for nothing. */
void *measured_start(size_t size);
void measured_end(void);
extern _Thread_local struct worst worst_here;

#endif
