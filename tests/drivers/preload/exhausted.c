/* Has no memory left after 5000 blocks. */
#include "bump.h"

static atomic_uint count;

void *malloc(size_t size) {
    return atomic_fetch_add(&count, 1) < 5000 ? bump(size) : NULL;
}
