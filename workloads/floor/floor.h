/* What libfloor.so exports beside the C library's malloc interface; see floor.c for what it is. */
#ifndef FLOOR_H
#define FLOOR_H

#include <malloc.h>
#include <stddef.h>

#define FLOOR_API __attribute__((visibility("default")))

/* The floor's version, by which the drivers recognise it. Static text, for any thread. */
FLOOR_API const char *floor_allocator_version(void);

/* Not every C library declares these two: blocks on a page of their own, NULL with errno ENOMEM. */
FLOOR_API void *valloc(size_t size);
FLOOR_API void *pvalloc(size_t size);

#endif
