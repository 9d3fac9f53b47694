/* A realloc that, now and then, forgets something of what the block held. The environment's FORGET
 * says what: "tail", the last byte (the default); "half", the second half; "shift", it is one byte
 * off. */
#include <stdlib.h>

#define realloc whole_realloc
#include "bump.h"
#undef realloc

static _Thread_local unsigned count;

void *malloc(size_t size) {
    return bump(size);
}

void *realloc(void *old, size_t size) {
    size_t had = 0;
    unsigned char *fresh = whole_realloc(old, size);
    if (old != NULL)
        memcpy(&had, (unsigned char *)old - 16, sizeof had);
    if (had == 0 || fresh == NULL || ++count % 100 != 0)
        return fresh;
    const char *what = getenv("FORGET");
    size_t kept = had < size ? had : size;
    if (what != NULL && strcmp(what, "half") == 0)
        memset(fresh + kept / 2, 0, kept - kept / 2);
    else if (what != NULL && strcmp(what, "shift") == 0)
        memmove(fresh + 1, fresh, kept - 1);
    else
        fresh[kept - 1] ^= 1;
    return fresh;
}
