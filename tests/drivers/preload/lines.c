/* Puts small objects into cache lines in a way that the environment chooses, for drivers that look
 * for false sharing. LINES_SPACING: bytes from one object to the next, 64 where it is not set.
 * LINES_OUT: a file that gets the first eight bytes of the first row, as they are at the end.
 * LINES:
 * - packed: all threads' objects in one row, each new one in the first free place
 * - keep: a row for each thread; what a thread frees it uses again, wherever it came from
 * - home: a row for each thread; what comes from another's row is not used again */
#define free bump_free
#include "bump.h"
#undef free
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, ROW_BYTES = 65536, SMALL = 8 };

static _Alignas(4096) unsigned char rows[ROWS][ROW_BYTES];
static atomic_bool taken[ROW_BYTES];
static atomic_size_t threads;

static _Thread_local size_t row, fresh; /* row: one's own, counted from 1 */
static _Thread_local void *kept[ROW_BYTES / SMALL];
static _Thread_local size_t kept_count;

static size_t spacing(void) {
    const char *text = getenv("LINES_SPACING");
    return text == NULL ? 64 : strtoul(text, NULL, 10);
}

static bool is(const char *way) {
    const char *text = getenv("LINES");
    return text != NULL && strcmp(text, way) == 0;
}

static void *first_free_place(void) {
    for (size_t i = 0;; i++)
        if (!atomic_exchange(&taken[i], true))
            return &rows[0][i * spacing()];
}

void *malloc(size_t size) {
    if (size > SMALL)
        return bump(size);
    if (is("packed"))
        return first_free_place();
    if (row == 0)
        row = 1 + atomic_fetch_add(&threads, 1);
    return kept_count > 0 ? kept[--kept_count] : &rows[row - 1][fresh++ * spacing()];
}

void free(void *block) {
    const uintptr_t at = (uintptr_t)block - (uintptr_t)rows;
    if (at >= sizeof rows)
        return;
    if (is("packed"))
        atomic_store(&taken[at / spacing()], false);
    else if (is("keep") || at / ROW_BYTES == row - 1)
        kept[kept_count++] = block;
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("LINES_OUT");
    FILE *out = path == NULL ? NULL : fopen(path, "w");
    if (out == NULL)
        return;
    for (size_t i = 0; i < SMALL; i++)
        fprintf(out, "%d ", rows[0][i]);
    fclose(out);
}
