/* The allocator behind the recorder: the functions that the program would have called without it.
 */
#ifndef TRACE_NEXT_H
#define TRACE_NEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void (*free)(void *block);
    int (*posix_memalign)(void **block, size_t alignment, size_t size);
    void *(*aligned_alloc)(size_t alignment, size_t size);
    void *(*memalign)(size_t alignment, size_t size);
    void *(*valloc)(size_t size);
    void *(*pvalloc)(size_t size);
    void *(*reallocarray)(void *block, size_t count, size_t size);
    void (*free_sized)(void *block, size_t size);                           /* NULL: has none */
    void (*free_aligned_sized)(void *block, size_t alignment, size_t size); /* NULL: has none */
} trace_next_calls;

extern trace_next_calls next;

/* Finds them, once; called by the first call of all, while the process has one thread. While it
 * looks, the loader's own calls are served by trace_early_new. False: this is such a call. */
bool trace_next_find(void);

/* Memory for the calls that the loader makes meanwhile, from a buffer that is never reused: at most
 * 64 KiB in all, then NULL. Zeros, aligned to 16. */
void *trace_early_new(size_t size);
bool trace_early_owns(const void *block);
size_t trace_early_size(const void *block);

/* The path of the object that has the next malloc, cut to `room` bytes; empty if it is not known.
 */
void trace_next_path(char *path, size_t room);

/* The next function of that name: behind this library, else in a C++ runtime that was loaded later.
 * Into `function`, a pointer to a function; NULL if there is none. Returns whether it is in the
 * object that has the next malloc. */
bool trace_next_look_up(const char *name, void *function);

#endif
