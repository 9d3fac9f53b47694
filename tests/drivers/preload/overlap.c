/* Gives out, now and then, a block that begins within the one before it. */
#include "bump.h"

static _Thread_local unsigned char *last;
static _Thread_local size_t last_size;
static _Thread_local unsigned count;

void *malloc(size_t size) {
    if (++count % 100 == 0 && last != NULL && last_size > 32)
        return last + 16;
    last = bump(size);
    last_size = size;
    return last;
}
