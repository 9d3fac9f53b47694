/* --touch: what a driver writes to a large block that it got. */
#include "wl_touch.h"

#include <stdint.h>
#include <string.h>

#include "wl_fail.h"

wl_touch wl_touch_parse(const char *text) {
    static const char *const names[] = {"none", "first", "pages", "all"};
    for (int i = WL_TOUCH_NONE; i <= WL_TOUCH_ALL; i++)
        if (strcmp(text, names[i]) == 0)
            return (wl_touch)i;
    wl_fail(WL_EXIT_USAGE, "--touch takes none, first, pages or all, not '%.200s'", text);
}

void wl_touch_range(void *block, size_t from, size_t to, wl_touch how) {
    volatile unsigned char *bytes = block;
    if (how == WL_TOUCH_NONE || from >= to)
        return;
    if (how == WL_TOUCH_ALL) {
        memset((unsigned char *)block + from, (int)(to & 0xff), to - from);
        return;
    }
    bytes[from] = (unsigned char)to;
    if (how == WL_TOUCH_FIRST)
        return;
    size_t next = WL_TOUCH_PAGE - (((uintptr_t)block + from) & (WL_TOUCH_PAGE - 1));
    for (size_t at = from + next; at < to; at += WL_TOUCH_PAGE)
        bytes[at] = (unsigned char)to;
}
