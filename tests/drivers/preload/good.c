/* An allocator that nobody knows, without a fault: the broken ones differ from it by their fault.
 */
#include "bump.h"

void *malloc(size_t size) {
    return bump(size);
}
