/* The loops of mstress: objects are allocated, exchanged through shared slots, and freed. */
#include "mstress.h"

#include <sched.h>

typedef mstress_place place;

/* ---- holders ------------------------------------------------------------------------------------
 */

WL_INLINE bool is_held(const void *block, const int mode) {
    return (mode & WL_MODE_NONE) != 0 ? ((uintptr_t)block & 1) == 0 : block != NULL;
}

/* What a holder has when the object in it was freed. */
WL_INLINE void *emptied(void *block, const int mode) {
    return (mode & WL_MODE_NONE) != 0 ? (void *)((uintptr_t)block | 1) : NULL;
}

/* The block that stands for the next object of an empty holder. */
WL_INLINE void *set_aside(void *block) {
    return (void *)((uintptr_t)block & ~(uintptr_t)1);
}

/* With --none all blocks are as large as objects are on average, and larger objects are cut to
 * that. */
WL_INLINE uint32_t size_within(const mstress *test, uint32_t size, const int mode) {
    const uint32_t most = test->aside_bytes;
    return (mode & WL_MODE_NONE) != 0 && size > most ? most : size;
}

/* Puts `given` into the slot and returns what lay there. Acquire and release, so that what one
 * thread wrote into an object is seen by the one that gets it. */
WL_INLINE void *swap(shared_slot *slot, void *given, wl_tag *tag, const int mode) {
    static _Alignas(16) char claimed;
    void *taken;
    if ((mode & WL_MODE_CHECK) == 0)
        return atomic_exchange_explicit(&slot->block, given, memory_order_acq_rel);
    while ((taken = atomic_exchange_explicit(&slot->block, &claimed, memory_order_acq_rel)) ==
           &claimed)
        sched_yield();
    wl_tag taken_tag = slot->tag;
    slot->tag = *tag;
    *tag = taken_tag;
    atomic_store_explicit(&slot->block, given, memory_order_release);
    return taken;
}

/* ---- the loops ----------------------------------------------------------------------------------
 */

WL_INLINE void work(place *self, uint64_t count, const int mode, const bool timed) {
    mstress *test = self->test;
    void **objects = self->objects;
    wl_random random = self->random;
    uint64_t checksum = self->checksum, kept = self->kept;
    const uint64_t table = test->table, slots = test->options.slots;
    const uint64_t keep = test->options.keep, stay = 100 - test->options.exchange;
    for (; count > 0; count--) {
        uint32_t size = wl_sizes_draw(&test->sizes, &random);
        uint64_t choice = wl_random_next(&random);
        uint64_t percent = wl_random_below(wl_low_bits(choice), 100);
        uint64_t index = wl_random_below(wl_high_bits(choice), table);
        if (percent < keep)
            index = table + kept++;
        checksum = wl_checksum_add(checksum, index << 32 | size);
        wl_tag *tag = (mode & WL_MODE_CHECK) != 0 ? &self->tags[index] : NULL;
        void *old = objects[index];
        if (is_held(old, mode)) {
            wl_block_release(old, tag, &self->user, mode, timed);
            self->freed++;
        }
        objects[index] = wl_block_get(size_within(test, size, mode), set_aside(old), tag,
                                      &self->user, mode, timed);
        if (percent >= stay) {
            uint64_t where = wl_random_next(&random);
            uint64_t mine = wl_random_below(wl_high_bits(where), table);
            uint64_t slot = wl_random_below(wl_low_bits(where), slots);
            checksum = wl_checksum_add(checksum, mine << 32 | slot);
            objects[mine] = swap(&test->slots[slot], objects[mine],
                                 (mode & WL_MODE_CHECK) != 0 ? &self->tags[mine] : NULL, mode);
            self->received += is_held(objects[mine], mode);
        }
    }
    self->random = random;
    self->checksum = checksum;
    self->kept = kept;
}

WL_INLINE void finish(place *self, uint64_t count, const int mode, const bool timed) {
    uint64_t i = self->position;
    for (const uint64_t end = i + count; i < end; i++) {
        void *block = self->objects[i];
        if (!is_held(block, mode))
            continue;
        wl_block_release(block, (mode & WL_MODE_CHECK) != 0 ? &self->tags[i] : NULL, &self->user,
                         mode, timed);
        self->objects[i] = emptied(block, mode);
        self->freed++;
    }
    self->position = i;
}

WL_INLINE void collect(place *self, uint64_t count, const bool half, const int mode,
                       const bool timed) {
    uint64_t i = self->position;
    for (const uint64_t end = i + count; i < end; i++) {
        shared_slot *slot = &self->test->slots[i];
        void *block = atomic_load_explicit(&slot->block, memory_order_relaxed);
        if (half && (wl_random_next(&self->random) & 1) != 0)
            continue;
        if (!is_held(block, mode))
            continue;
        wl_block_release(block, &slot->tag, &self->user, mode, timed);
        atomic_store_explicit(&slot->block, emptied(block, mode), memory_order_relaxed);
        self->freed++;
    }
    self->position = i;
}

WL_INLINE void fill(place *self, const int mode) {
    mstress *test = self->test;
    for (uint64_t i = 0; i < test->options.slots; i++) {
        shared_slot *slot = &test->slots[i];
        uint32_t size = wl_sizes_draw(&test->sizes, &self->random);
        if ((wl_random_next(&self->random) & 1) != 0)
            continue;
        self->checksum = wl_checksum_add(self->checksum, i << 32 | size);
        void *aside = set_aside(atomic_load_explicit(&slot->block, memory_order_relaxed));
        void *block = wl_block_get(size_within(test, size, mode), aside, &slot->tag, &self->user,
                                   mode, false);
        atomic_store_explicit(&slot->block, block, memory_order_relaxed);
        self->allocated++;
    }
}

#define LOOPS(mode)                                                                                \
    static void work_##mode(void *self, uint64_t count) {                                          \
        work(self, count, mode, false);                                                            \
    }                                                                                              \
    static void work_timed_##mode(void *self, uint64_t count) {                                    \
        work(self, count, mode, true);                                                             \
    }                                                                                              \
    static void finish_##mode(void *self, uint64_t count) {                                        \
        finish(self, count, mode, false);                                                          \
    }                                                                                              \
    static void finish_timed_##mode(void *self, uint64_t count) {                                  \
        finish(self, count, mode, true);                                                           \
    }                                                                                              \
    static void collect_##mode(void *self, uint64_t count) {                                       \
        collect(self, count, true, mode, false);                                                   \
    }                                                                                              \
    static void collect_timed_##mode(void *self, uint64_t count) {                                 \
        collect(self, count, true, mode, true);                                                    \
    }                                                                                              \
    static void collect_all_##mode(void *self, uint64_t count) {                                   \
        collect(self, count, false, mode, false);                                                  \
    }                                                                                              \
    static void fill_##mode(place *self) {                                                         \
        fill(self, mode);                                                                          \
    }
LOOPS(0)
LOOPS(1)
LOOPS(2)
LOOPS(3)

#define LOOPS_OF(mode)                                                                             \
    {                                                                                              \
        work_##mode, work_timed_##mode, finish_##mode, finish_timed_##mode, collect_##mode,        \
            collect_timed_##mode, collect_all_##mode, fill_##mode                                  \
    }
const mstress_loops mstress_loops_of[WL_MODES] = {LOOPS_OF(0), LOOPS_OF(1), LOOPS_OF(2),
                                                  LOOPS_OF(3)};
