/* Changes one byte in the middle of a block that was given out ten calls earlier. */
#include "bump.h"

static _Thread_local unsigned char *recent[10];
static _Thread_local size_t sizes[10];
static _Thread_local unsigned count;

void *malloc(size_t size) {
    unsigned place = ++count % 10;
    if (count % 1000 == 0 && recent[place] != NULL)
        recent[place][sizes[place] / 2] ^= 0x40;
    recent[place] = bump(size);
    sizes[place] = size;
    return recent[place];
}
