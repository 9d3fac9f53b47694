/* An allocator that nobody knows, without a fault: the broken ones differ from it by their fault.
 */
#include "bump.h"

void *malloc(size_t size) {
    return bump(size);
}
void *calloc(size_t count, size_t size) {
    return bump_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    return bump_realloc(old, size);
}
void free(void *block) {
    (void)block;
}
