/* Naming what is wrong with a pointer. */
#include "inspect/fatal.h"
#include "inspect/describe.h"
#include "base/diag.h"

#include <stdlib.h>

_Thread_local const void *hak_wrong_pointer;

_Noreturn void hak_inspect_fatal_pointer(const char *function, const void *pointer) {
    struct hak_place place = hak_describe(pointer);
    hak_wrong_pointer = pointer;
    unsigned long size = place.size;
    if (!place.in_use || place.offset)
        hak_place_tell(&place, function, "(): invalid pointer ", " (double free)");
    else if (place.kind == HAK_PLACE_HUGE)
        hak_fatal("hakmem: %s(): invalid pointer %p: a block of %u bytes begins there, but what "
                  "lies before it was overwritten\n",
                  function, pointer, size);
    else
        hak_fatal("hakmem: %s(): invalid pointer %p: another thread used the block of %u bytes "
                  "that begins there at the same time (double free)\n",
                  function, pointer, size);
    abort();
}
