/* The C library's names for hakmem's functions. */
#include "hakmem.h"
#include "api/fast_path.h"

HAKMEM_API void *malloc(size_t size);
HAKMEM_API void free(void *block);
HAKMEM_API void *calloc(size_t count, size_t size);
HAKMEM_API void *realloc(void *block, size_t size);
HAKMEM_API void *reallocarray(void *block, size_t count, size_t size);
HAKMEM_API void *aligned_alloc(size_t alignment, size_t size);
HAKMEM_API void *memalign(size_t alignment, size_t size);
HAKMEM_API int posix_memalign(void **result, size_t alignment, size_t size);
HAKMEM_API void *valloc(size_t size);
HAKMEM_API void *pvalloc(size_t size);
HAKMEM_API size_t malloc_usable_size(void *block);

void *malloc(size_t size) { return hak_malloc_fast(size); }
void free(void *block) { hak_free_fast(block); }
void *calloc(size_t count, size_t size) { return hak_calloc(count, size); }
void *realloc(void *block, size_t size) { return hak_realloc(block, size); }
void *reallocarray(void *block, size_t count, size_t size) { return hak_reallocarray(block, count, size); }
void *aligned_alloc(size_t alignment, size_t size) { return hak_aligned_alloc(alignment, size); }
void *memalign(size_t alignment, size_t size) { return hak_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
    return hak_posix_memalign(result, alignment, size);
}
void *valloc(size_t size) { return hak_valloc(size); }
void *pvalloc(size_t size) { return hak_pvalloc(size); }
size_t malloc_usable_size(void *block) { return hak_malloc_usable_size(block); }
