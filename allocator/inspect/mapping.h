/* What the system has mapped at an address, from /proc/self/maps. */
#ifndef HAK_MAPPING_H
#define HAK_MAPPING_H

#include "base/config.h"

struct hak_mapping {
    uintptr_t start, end;
    uintptr_t file_offset; /* bytes; of `start` in the file */
    char access[5];        /* as in "r-xp" */
    char name[192];        /* a path, maybe cut, or as in "[stack]"; "" for anonymous memory */
};

/* The mapping in which an address lies; false if there is none. *known tells whether the system
 * said so, or could not be asked (no /proc, no file descriptor left). Async-signal-safe. */
bool hak_mapping_find(const void *address, struct hak_mapping *mapping, bool *known);

#endif
