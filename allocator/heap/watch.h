/* Watches: how a thread that has only freed for a while notices that it allocates again.
 *
 * A malloc that finds a block in its magazine looks at no clock. A program whose work ends with
 * many blocks in its magazines might so go on for long without a look, and keep them. While a
 * thread does nothing but free, one of HAK_WATCHED neighbouring classes therefore keeps watch: its
 * magazine is hidden from the hit paths, and the first malloc of it takes the slow one. So do its
 * frees: it is the one with the least to do, and is relieved after a few. */
#ifndef HAK_WATCH_H
#define HAK_WATCH_H

#include "heap/heap.h"

/* A class is on watch: its top and end are those of no magazine. */
HAK_INLINE bool hak_is_on_watch(const struct hak_heap *heap, unsigned class_index) {
    return heap->classes[class_index].hidden != NULL;
}

/* Sees that a class near this one keeps watch, or else this one, if the thread has freed enough for
 * it. */
void hak_watch_keep(struct hak_heap *heap, unsigned class_index);

/* The hit paths see the magazine of a class on watch again. */
void hak_watch_end(struct hak_heap *heap, unsigned class_index);
void hak_watch_end_all(struct hak_heap *heap);

/* A free of a class on watch: true if the block could be put onto its magazine. False: the watch
 * is another's now. */
bool hak_watch_takes(struct hak_heap *heap, unsigned class_index, void *block);

#endif
