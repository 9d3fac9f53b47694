/* Watches. */
#include "heap/watch.h"

/* Frees that a class on watch serves before another is. */
#define WATCH_BLOCKS 24u
/* With so many bytes freed into full magazines since one was empty a watch is worth it. */
#define BYTES_OF_A_WATCH ((size_t)1 << 20)

/* Of the neighbours of a class, but for `without`, the one that has blocks out and is in least
 * demand, but in some: the others may never be asked for again. 0: there is none. */
static unsigned calmest_near(const struct hak_heap *heap, unsigned class_index, unsigned without) {
    unsigned calmest = 0, c = class_index / HAK_WATCHED * HAK_WATCHED;
    unsigned end = c + HAK_WATCHED <= HAK_CLASS_MAX ? c + HAK_WATCHED : HAK_CLASS_MAX + 1;
    for (c += !c; c < end; c++) {
        const struct hak_heap_class *class = &heap->classes[c];
        if (c != without && (heap->begun & hak_class_bit(c)) && class->out > 0 && class->misses &&
            (!calmest || class->misses < heap->classes[calmest].misses))
            calmest = c;
    }
    return calmest;
}

static void begin_watch(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    heap->watch[class_index / HAK_WATCHED] = (uint8_t)class_index;
    class->watch_left = WATCH_BLOCKS;
    class->hidden = heap->magazines->top[class_index];
    heap->magazines->top[class_index] = heap->magazines->end[class_index] = hak_no_magazine;
}

void hak_watch_keep(struct hak_heap *heap, unsigned class_index) {
    if (heap->fallen < BYTES_OF_A_WATCH || heap->watch[class_index / HAK_WATCHED])
        return;
    unsigned calmest = calmest_near(heap, class_index, class_index);
    struct hak_heap_class *class = &heap->classes[class_index];
    if (!calmest && class->had_turn) /* its frees would be slow all the time */
        class->had_turn = false;
    else
        begin_watch(heap, calmest ? calmest : class_index);
}

void hak_watch_end(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    heap->watch[class_index / HAK_WATCHED] = 0;
    heap->magazines->top[class_index] = class->hidden;
    heap->magazines->end[class_index] = class->bottom + class->capacity;
    class->hidden = NULL;
}

void hak_watch_end_all(struct hak_heap *heap) {
    for (unsigned i = 0; i < HAK_KIND_COUNT / HAK_WATCHED; i++)
        if (heap->watch[i])
            hak_watch_end(heap, heap->watch[i]);
}

bool hak_watch_takes(struct hak_heap *heap, unsigned class_index, void *block) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (class->watch_left && class->hidden < class->bottom + class->capacity) {
        class->watch_left--;
        *++class->hidden = block;
        return true;
    }
    unsigned next = calmest_near(heap, class_index, class_index);
    hak_watch_end(heap, class_index);
    class->had_turn = true;
    if (next)
        begin_watch(heap, next);
    return false;
}
