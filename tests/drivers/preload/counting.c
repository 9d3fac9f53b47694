/* The C library's malloc, counted: at the end it writes to the file COUNTING_OUT the number of
 * calls of malloc, free and realloc, and how often malloc was called for each size up to 4 KiB. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

static atomic_ulong mallocs, frees, reallocs;
static atomic_ulong sizes[4097];

void *malloc(size_t size) {
    atomic_fetch_add(&mallocs, 1);
    if (size <= 4096)
        atomic_fetch_add(&sizes[size], 1);
    return __libc_malloc(size);
}
void *calloc(size_t number, size_t size) {
    return __libc_calloc(number, size);
}
void *realloc(void *old, size_t size) {
    atomic_fetch_add(&reallocs, 1);
    return __libc_realloc(old, size);
}
void free(void *block) {
    if (block != NULL) /* the C library frees several null pointers when a thread ends */
        atomic_fetch_add(&frees, 1);
    __libc_free(block);
}

__attribute__((destructor)) static void tell(void) {
    unsigned long all_mallocs = mallocs, all_frees = frees, all_reallocs = reallocs;
    const char *path = getenv("COUNTING_OUT");
    FILE *out = path == NULL ? NULL : fopen(path, "w");
    if (out == NULL)
        return;
    fprintf(out, "malloc %lu\nfree %lu\nrealloc %lu\n", all_mallocs, all_frees, all_reallocs);
    for (size_t i = 0; i <= 4096; i++)
        if (sizes[i] != 0)
            fprintf(out, "%zu %lu\n", i, (unsigned long)sizes[i]);
    fclose(out);
}
