/* Gives the same block out twice, now and then, where the second caller wants the same size. */
#include "bump.h"

static _Thread_local void *last;
static _Thread_local size_t last_size;
static _Thread_local unsigned count;

void *malloc(size_t size) {
    if (++count % 1000 == 0 && last != NULL && last_size == size)
        return last;
    last = bump(size);
    last_size = size;
    return last;
}
