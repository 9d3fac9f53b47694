/* What lies at a place, in words. */
#include "inspect/describe.h"
#include "inspect/mapping.h"
#include "base/diag.h"
#include "base/size_class.h"

#define SAY(format, ...)                                                                           \
    hak_message("hakmem: %s%s%p: " format "\n", what, problem, place->address, __VA_ARGS__)

/* In two pieces: should the program not be allowed to look at the list of mappings, and be killed
 * for it, the first has been said. */
static void tell_foreign(const struct hak_place *place, const char *what, const char *problem) {
    hak_message("hakmem: %s%s%p: it is not a block of this allocator", what, problem,
                place->address);
    struct hak_mapping mapping;
    bool known;
    if (hak_mapping_find(place->address, &mapping, &known))
        hak_message("; it lies in %s\n", mapping.name[0] ? mapping.name : "anonymous memory");
    else
        hak_message("%s\n", known ? ", and no memory is mapped there" : "");
}

static void tell_block(const struct hak_place *place, const char *what, const char *problem,
                       const char *again) {
    unsigned long size = place->size;
    if (place->never_used)
        SAY("it points into a slab of blocks of %u bytes, beyond those that were handed out", size);
    else if (place->offset < 0)
        SAY("it points %u bytes before a block of %u bytes that begins at %p and %s",
            (unsigned long)-place->offset, size, place->block,
            place->in_use ? "is in use" : "was freed");
    else if (place->offset > 0)
        SAY("it points %u bytes into a block of %u bytes that begins at %p and %s",
            (unsigned long)place->offset, size, place->block,
            place->in_use ? "is in use" : "was freed");
    else if (place->in_use)
        SAY("it is the beginning of a block of %u bytes that is in use", size);
    else
        SAY("it is the beginning of a block of %u bytes that was already freed%s", size, again);
}

void hak_place_tell(const struct hak_place *place, const char *what, const char *problem,
                    const char *again) {
    switch (place->kind) {
    case HAK_PLACE_FOREIGN:
        tell_foreign(place, what, problem);
        return;
    case HAK_PLACE_OWN:
        SAY("it points into the allocator's own memory%s", "");
        return;
    case HAK_PLACE_SLAB_END:
        SAY("it points behind the last block of a slab of blocks of %u bytes",
            (unsigned long)hak_class_size[place->class_index]);
        return;
    case HAK_PLACE_BEHIND:
        SAY("it points %u bytes behind the end of the block of %u bytes that begins at %p",
            (unsigned long)place->offset - (unsigned long)place->size, (unsigned long)place->size,
            place->block);
        return;
    case HAK_PLACE_FREE_SLAB:
        if (!place->block) {
            SAY("it points into free memory of the allocator%s", "");
            return;
        }
        /* fall through */
    case HAK_PLACE_SMALL:
    case HAK_PLACE_SPAN:
    case HAK_PLACE_HUGE:
        tell_block(place, what, problem, again);
        return;
    }
}
