/* How many free blocks of each size class a thread may keep: its magazines' capacities.
 *
 * A magazine's capacity rises with overflows and falls when it is idle, between 0 and its `most`.
 * That is twice a magazine of the depot at first, 32 KiB of blocks for most classes. It grows where
 * the thread gives back more blocks than that and then wants them again, over and over: such a
 * swing costs a visit to each block on its way home and another when it comes out again, and a
 * magazine as large as the swing spares both. What has grown shrinks while it is idle.
 *
 * A grown magazine that has more than is usual is parted: a NULL lies above each `usual` blocks,
 * and the last one is its bottom for the time being. So a thread takes a slow path once in so many
 * calls, up and down, and looks at the clock, and knows how much it has freed, however well the
 * magazine serves it. */
#ifndef HAK_CAPACITY_H
#define HAK_CAPACITY_H

#include "heap/heap.h"

/* Lets a class have an empty magazine, as small as at first, without room for anything. */
void hak_capacity_begin(struct hak_heap *heap, unsigned class_index);

/* Gives a magazine, which isn't on watch, room for so many blocks, but for no more than its most,
 * and no fewer than it has. */
void hak_capacity_set(struct hak_heap *heap, unsigned class_index, unsigned capacity);

/* The first slot of a magazine that may have so many blocks. */
void **hak_capacity_room(struct hak_heap *heap, unsigned class_index, unsigned blocks);

/* The magazine is empty, and some of this heap's blocks went home from it since it last was: lets
 * it have more if that is often so, and if the thread may keep so much. */
void hak_capacity_adapt(struct hak_heap *heap, unsigned class_index);

/* Parts a grown magazine, which has no room for more than the `usual` blocks or more in it. */
void hak_capacity_part(struct hak_heap *heap, unsigned class_index);

/* The magazine, which isn't on watch, has nothing above its last part: that is its top again. */
void hak_capacity_unpart(struct hak_heap *heap, unsigned class_index);

/* Makes one of all parts of a magazine, which isn't on watch. */
void hak_capacity_join(struct hak_heap *heap, unsigned class_index);

/* Blocks below a magazine's bottom. */
HAK_INLINE unsigned hak_capacity_below(const struct hak_heap_class *class) {
    return (unsigned)class->parts * class->usual;
}

/* Blocks for which a magazine's part above its bottom may have room at most. */
HAK_INLINE unsigned hak_capacity_most(const struct hak_heap_class *class) {
    return class->most - hak_capacity_below(class);
}

/* Lets an idle magazine have at most half of what it has grown to; it must not have more blocks. */
void hak_capacity_shrink(struct hak_heap *heap, unsigned class_index);

/* The magazine, which is empty, may have no more than the usual blocks. */
void hak_capacity_end(struct hak_heap *heap, unsigned class_index);

#endif
