/* Writing and checking the trailers of checked blocks. */
#include "base/guard.h"
#include "base/diag.h"
#include "base/mark.h"
#include "base/options.h"
#include "base/size_class.h"

#include <string.h>

#define CANARY 0xCAu /* from the end of what was asked for to the trailer */
#define FREED  0xDFu /* all of a block that is home, but for its first two words: link and mark */
#define HEAD   ((size_t)16)

/* States are mixed with the address: a copied trailer is no valid one. */
#define STATE_OUT  0x6f75746f75746f75u
#define STATE_HOME 0x686f6d65686f6d65u

/* The state comes first: a write beyond the end breaks it before it breaks the size, by which the
 * byte is named. */
struct trailer {
    uint64_t state, size;
};

size_t hak_guard_bytes;

void hak_guard_init(void) {
#ifdef HAKMEM_GUARD
    hak_guard_bytes = HAK_GUARD_BYTES;
#else
    hak_guard_bytes = hak_option(HAK_OPT_CHECK) ? HAK_GUARD_BYTES : 0;
#endif
}

static struct trailer *trailer_of(const void *block, unsigned class_index) {
    return (struct trailer *)((uintptr_t)block + hak_class_size[class_index] -
                              sizeof(struct trailer));
}

static size_t room_of(unsigned class_index) {
    return hak_class_size[class_index] - sizeof(struct trailer);
}

/* The first of bytes[from] to bytes[to - 1] that isn't `value`; `to` if there is none. */
static size_t first_other(const unsigned char *bytes, size_t from, size_t to, unsigned value) {
    while (from < to && bytes[from] == value)
        from++;
    return from;
}

void hak_guard_out(void *block, size_t size, unsigned class_index) {
    struct trailer *trailer = trailer_of(block, class_index);
    unsigned char *bytes = block;
    size_t room = room_of(class_index);
    uint64_t mix = (uintptr_t)block;
    if (trailer->state == (STATE_OUT ^ mix))
        hak_fatal("hakmem: block %p of %u bytes is handed out twice\n", block,
                  (unsigned long)(trailer->size ^ mix));
    if (trailer->state == (STATE_HOME ^ mix)) {
        size_t at = hak_is_marked(block) ? first_other(bytes, HEAD, room, FREED) : sizeof(void *);
        if (at < room)
            hak_fatal("hakmem: block %p was written to after it was freed, at byte %u\n", block,
                      (unsigned long)at);
    } else if (trailer->state) {
        hak_fatal("hakmem: free block %p of class %u has lost its trailer: something was written "
                  "beyond the end of its neighbour, or after it was freed\n",
                  block, (unsigned long)hak_class_size[class_index]);
    }
    hak_unmark(block);
    memset(bytes + size, CANARY, room - size);
    trailer->size = size ^ mix;
    trailer->state = STATE_OUT ^ mix;
}

void hak_guard_home(void *block, unsigned class_index) {
    struct trailer *trailer = trailer_of(block, class_index);
    unsigned char *bytes = block;
    size_t room = room_of(class_index);
    uint64_t mix = (uintptr_t)block;
    size_t size = trailer->size ^ mix;
    if (trailer->state == (STATE_HOME ^ mix))
        hak_fatal("hakmem: free(): double free of block %p of %u bytes\n", block,
                  (unsigned long)size);
    if (trailer->state == 0)
        hak_fatal("hakmem: free(): invalid pointer: block %p was never handed out\n", block);
    size_t end = trailer->state == (STATE_OUT ^ mix) && size <= room
                     ? first_other(bytes, size, room, CANARY)
                     : room;
    if (trailer->state != (STATE_OUT ^ mix) || size > room || end < room)
        hak_fatal("hakmem: free(): block %p was written to beyond its end, at byte %u\n", block,
                  (unsigned long)end);
    memset(bytes + HEAD, FREED, room - HEAD);
    trailer->state = STATE_HOME ^ mix;
}

size_t hak_guard_size(const void *block, unsigned class_index) {
    if (trailer_of(block, class_index)->state != (STATE_OUT ^ (uint64_t)(uintptr_t)block))
        hak_fatal("hakmem: malloc_usable_size() or realloc(): block %p was freed, or written to "
                  "beyond its end\n",
                  block);
    return trailer_of(block, class_index)->size ^ (uintptr_t)block;
}

#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread"))) /* the answer of some moment will do */
#endif
bool hak_guard_look(const void *block, unsigned class_index, size_t *size) {
    struct trailer trailer = *trailer_of(block, class_index);
    *size = trailer.size ^ (uintptr_t)block;
    return trailer.state == (STATE_OUT ^ (uint64_t)(uintptr_t)block) &&
           *size <= room_of(class_index);
}

void hak_guard_new_slab(char *base) {
    memset(base, 0, HAK_SLAB_SIZE);
}
