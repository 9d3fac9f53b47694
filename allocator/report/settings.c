/* What a running program may ask for: other values of its options, and its memory back. */
#include "base/options.h"
#include "hakmem.h"
#include "heap/heap.h"

#include <errno.h>

int hak_option_get(const char *name, long *value) {
    enum hak_option option = name ? hak_option_named(name) : HAK_OPT_COUNT;
    if (option == HAK_OPT_COUNT)
        return ENOENT;
    if (!value || option == HAK_OPT_STATS_FILE)
        return EINVAL;
    hak_init();
    *value = hak_option(option);
    return 0;
}

int hak_option_set(const char *name, long value) {
    enum hak_option option = name ? hak_option_named(name) : HAK_OPT_COUNT;
    if (option == HAK_OPT_COUNT)
        return ENOENT;
    hak_init();
    return hak_option_change(option, value);
}

size_t hak_collect(void) {
    return hak_heap_collect();
}
