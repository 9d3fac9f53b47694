/* C23's forms of free. */
#include "hakmem.h"
#include "api/fast_path.h"

void hak_free_sized(void *block, size_t size) {
    (void)size; /* the page map knows it */
    hak_free_fast(block);
}

void hak_free_aligned_sized(void *block, size_t alignment, size_t size) {
    (void)alignment, (void)size;
    hak_free_fast(block);
}
