/* The functions of an allocator that is included next under other names, so that complete.h can put
 * its own before them. */
#ifndef RENAME_H
#define RENAME_H

#define malloc  partial_malloc
#define calloc  partial_calloc
#define realloc partial_realloc

#endif
