/* What the tests of threads' lives share: blocks that know their size, resident memory, starting
 * threads. Failing from any thread or child process ends the program: cmocka's own way out works on
 * the main thread alone. */
#ifndef HAK_THREAD_LIFE_H
#define HAK_THREAD_LIFE_H

#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAKMEM_SANITIZED
enum { SCALE = 4 }; /* how much less sanitizer builds do */
#else
enum { SCALE = 1 };
#endif

_Noreturn static inline void life_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    _exit(1);
}
#define REQUIRE(condition)                                                                         \
    ((condition) ? (void)0 : life_fail(__FILE__, __LINE__, "not true: " #condition))

/* Bytes; 0 in sanitizer builds, where it would be the size of the shadow memory. */
static inline size_t resident_bytes(void) {
#ifdef HAKMEM_SANITIZED
    return 0;
#endif
    long pages[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "r");
    REQUIRE(f && fscanf(f, "%ld %ld", &pages[0], &pages[1]) == 2);
    fclose(f);
    return (size_t)pages[1] * (size_t)sysconf(_SC_PAGESIZE);
}

static inline void thread_start(pthread_t *thread, void *(*function)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)256 << 10);
    int error = pthread_create(thread, &attributes, function, argument);
    if (error)
        life_fail(__FILE__, __LINE__, strerror(error));
    pthread_attr_destroy(&attributes);
}

/* A block and its size. Of a large one the ends are filled and compared. */
struct box {
    unsigned char *bytes;
    size_t size;
};
enum { BOX_END = 512 };

static inline unsigned char box_value(const struct box *box, size_t i) {
    return (unsigned char)(((uintptr_t)box->bytes >> 4 ^ box->size) + i);
}

static inline void box_fill(struct box *box, size_t size) {
    box->bytes = malloc(size);
    box->size = size;
    REQUIRE(box->bytes);
    for (size_t i = 0; i < size; i++) {
        if (i == BOX_END && size > 2 * BOX_END)
            i = size - BOX_END;
        box->bytes[i] = box_value(box, i);
    }
}

static inline void box_check(const struct box *box) {
    for (size_t i = 0; i < box->size; i++) {
        if (i == BOX_END && box->size > 2 * BOX_END)
            i = box->size - BOX_END;
        if (box->bytes[i] != box_value(box, i)) {
            fprintf(stderr, "block %p of %zu bytes changed at byte %zu\n", (void *)box->bytes,
                    box->size, i);
            _exit(1);
        }
    }
}

static inline void box_free(struct box *box) {
    if (!box->bytes)
        return;
    box_check(box);
    free(box->bytes);
    box->bytes = NULL;
}

#endif
