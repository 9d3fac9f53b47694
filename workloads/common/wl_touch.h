/*
 * --touch: what a driver writes to a large block that it got. A small block is written at both ends
 * for next to nothing; with one of megabytes, how much of it the program uses decides whether the
 * page faults, the clearing by the kernel, or the allocator's own calls are what is measured.
 */
#ifndef WL_TOUCH_H
#define WL_TOUCH_H

#include <stddef.h>

typedef enum {
    WL_TOUCH_NONE,  /* nothing: only the calls */
    WL_TOUCH_FIRST, /* the first byte */
    WL_TOUCH_PAGES, /* a byte in each page, as a program that uses the whole block must at least */
    WL_TOUCH_ALL    /* every byte */
} wl_touch;

enum { WL_TOUCH_PAGE = 4096 /* bytes between two that are touched */ };

/* A row of a driver's argument table; `target` is a const char *, "pages" by default. */
#define WL_TOUCH_ARG(target_text)                                                                  \
    {                                                                                              \
        .name = "touch", .value = "none|first|pages|all",                                          \
        .help = "what is written: nothing, the first byte, one in each page (default), all",       \
        .kind = WL_ARG_TEXT, .target = &(target_text)                                              \
    }

/* Ends the program with exit status 2 for any other text than the four. */
wl_touch wl_touch_parse(const char *text);

/* Writes to the bytes from `from` up to but not including `to` of a block of the caller. */
void wl_touch_range(void *block, size_t from, size_t to, wl_touch how);

#endif
