/* A thread's magazines: the slow ends of malloc and free, and how magazines end up empty when the
 * work does. */
#include "base/counters.h"
#include "base/events.h"
#include "base/options.h"
#include "base/size_class.h"
#include "heap/capacity.h"
#include "heap/watch.h"

#include <string.h>

#define REFILL_SHARE 4     /* of the blocks that are out */
#define ALONE_SHARE  8u    /* of the depot, for large classes of a thread that is alone */
#define ALONE_FROM   2048u /* bytes: the blocks that a lone thread keeps there at all are larger */

/* A thread drains a class when its magazine fell over so often since the thread last asked for a
 * block of it, and nobody took any from the depot. Not one whose blocks are others': those who need
 * them may be waiting for a processor. */
#define FALLS_OF_A_DRAIN 2u
/* The magazine of a class that is being drained may have this share of the blocks that are out. */
#define DRAIN_SHARE 4u
/* Blocks that go home one by one, where a class has no magazine, between two looks at who needs
 * them. */
#define ONE_BY_ONE 24u
/* So many magazines were full, of any class, since the thread last found one empty: it does nothing
 * but free. */
#define FALLS_OF_A_LONG_DRAIN 16u

/* So many looks in a row at which the thread had freed a magazine's worth and none of its own
 * blocks had come home: it drains others'. */
#define LOOKS_AT_STRANGERS 8u
/* The first blocks of a class smaller than a cache line that a thread frees before it ever asked
 * for one: they are others', may share their lines with blocks of others that are in use, and go
 * home. Handed out here again they would be written to by two threads in turn for as long as they
 * live. */
#define STRANGERS 8u

/* What a grown magazine gives back in one call, in usual ones. */
#define SHED_MOST 2u

/* ---- beginning and end ---------------------------------------------------------------------- */

/* As small as at first, and empty; without room for strangers, if the blocks are small, or while
 * the heap is asleep. */
static void begin(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    hak_capacity_begin(heap, class_index);
    heap->begun |= hak_class_bit(class_index);
    class->misses = class->falls = 0;
    class->draining = class->had_turn = false;
    class->strangers = 0;
    bool shares_lines = hak_class_size[class_index] < HAK_CACHE_LINE;
    class->one_by_one = shares_lines ? STRANGERS + 1 : 0;
    hak_capacity_set(heap, class_index, shares_lines || heap->asleep ? 0 : class->first);
}

static bool has_begun(const struct hak_heap *heap, unsigned class_index) {
    return heap->begun & hak_class_bit(class_index);
}

/* What has no magazine yet, or none any more, gets one. */
static void see_that_it_began(struct hak_heap *heap, unsigned class_index) {
    if (HAK_UNLIKELY(!has_begun(heap, class_index)))
        begin(heap, class_index);
}

void hak_magazines_open(struct hak_heap *heap) {
    heap->falls = 0;
    heap->fallen = 0;
}

void hak_magazines_end(struct hak_heap *heap) {
    for (; heap->begun; heap->begun &= heap->begun - 1) {
        unsigned c = hak_first_class(heap->begun);
        heap->magazines->top[c] = heap->magazines->end[c] = hak_no_magazine;
        hak_capacity_end(heap, c);
    }
}

/* ---- giving back --------------------------------------------------------------------------- */

/* Everything goes home: in the depot the blocks would reach another thread, and share cache lines
 * with those that stay here. */
static void empty_magazine(struct hak_heap *heap, unsigned class_index) {
    hak_capacity_join(heap, class_index);
    void **bottom = heap->classes[class_index].bottom;
    unsigned count = (unsigned)(heap->magazines->top[class_index] - bottom);
    heap->magazines->top[class_index] = bottom;
    if (count)
        hak_heap_give_blocks(heap, bottom + 1, count);
}

void hak_magazines_empty(struct hak_heap *heap) {
    hak_watch_end_all(heap);
    for (uint64_t rest = heap->begun; rest; rest &= rest - 1)
        empty_magazine(heap, hak_first_class(rest));
}

void hak_magazines_begin_again(struct hak_heap *heap) {
    hak_magazines_empty(heap);
    hak_magazines_end(heap);
}

/* What a class may have in the depot. A thread that is alone has nobody to exchange with, and what
 * lies there keeps slabs from becoming empty, a few blocks each of very many. Small ones are
 * therefore given home, which takes little more time; of large ones, of which a slab has few, some
 * magazines stay for the thread's ups and downs. */
static size_t depot_bytes(unsigned class_index) {
    size_t bytes = (size_t)hak_option(HAK_OPT_DEPOT) << 10;
    if (hak_heaps_in_use() > 1)
        return bytes;
    return hak_class_size[class_index] > ALONE_FROM ? bytes / ALONE_SHARE : 0;
}

static unsigned smaller(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Moves the oldest `batch` blocks of a magazine to the slabs. */
static void shed_home(struct hak_heap *heap, unsigned class_index, unsigned batch) {
    struct hak_heap_class *class = &heap->classes[class_index];
    void **blocks = class->bottom + 1;
    unsigned count = (unsigned)(heap->magazines->top[class_index] - blocks + 1);
    /* Notices first: a slab whose notice waits here can't be given up to those who need it. */
    hak_heap_process_pending(heap, false);
    int32_t out = class->out;
    hak_heap_give_blocks(heap, blocks, batch);
    /* It changes with slabs that come and go meanwhile, too. */
    if (out > class->out)
        class->gone += smaller((unsigned)(out - class->out), batch);
    unsigned kept = count - batch + hak_capacity_below(class);
    if (class->swing < class->gone + kept)
        class->swing = class->gone + kept;
    memmove(blocks, blocks + batch, (count - batch) * sizeof *blocks);
    heap->magazines->top[class_index] = blocks + count - batch - 1;
}

#define OWN_LOOK 4u /* blocks */

/* Whether blocks should go home although the depot has room: they share cache lines with their
 * neighbours, and most are of own slabs. Another thread that got them from the depot would write to
 * the lines in which this thread's blocks lie, and this one to theirs, for as long as both live
 * (passive false sharing: Berger et al., "Hoard", ASPLOS 2000). Others' blocks may be put there:
 * those who allocated them find them again. */
static bool belong_here(unsigned class_index, void *const *blocks, unsigned count) {
    if (hak_class_size[class_index] % HAK_CACHE_LINE == 0)
        return false;
    unsigned own = 0;
    for (unsigned i = 0; i < OWN_LOOK; i++)
        own += hak_slab_is_own(hak_slab_meta_of(blocks[i * (count - 1) / (OWN_LOOK - 1)]));
    return 2 * own >= OWN_LOOK;
}

/* Copies blocks into a magazine of the depot. False: it has no room, or there is no memory. */
static bool put_into_depot(struct hak_heap *heap, unsigned class_index, void *const *blocks,
                           unsigned count) {
    struct hak_magazine *magazine = heap->spare ? heap->spare : hak_magazine_new();
    heap->spare = NULL;
    if (!magazine)
        return false;
    magazine->count = count;
    memcpy(magazine->slots, blocks, count * sizeof *blocks);
    if (hak_depot_put(class_index, magazine, depot_bytes(class_index)))
        return true;
    heap->spare = magazine;
    return false;
}

/* Moves the oldest blocks of a magazine, `most` of them, to the depot, or to the slabs if they
 * belong there or the depot is full. */
static void shed(struct hak_heap *heap, unsigned class_index, unsigned most) {
    struct hak_heap_class *class = &heap->classes[class_index];
    void **blocks = class->bottom + 1;
    unsigned count = (unsigned)(heap->magazines->top[class_index] - class->bottom);
    unsigned batch = class->usual / 2u, put = 0;
    if (class->falls < UINT16_MAX)
        class->falls++;
    while (put < most) {
        unsigned some = smaller(most - put, batch);
        if (belong_here(class_index, blocks + put, some) ||
            !put_into_depot(heap, class_index, blocks + put, some))
            break;
        put += some;
    }
    hak_event(put ? HAK_EVENT_DEPOT_PUT : HAK_EVENT_FLUSH, class_index, blocks[0]);
    if (put) {
        memmove(blocks, blocks + put, (count - put) * sizeof *blocks);
        heap->magazines->top[class_index] = class->bottom + count - put;
    }
    if (put < most)
        shed_home(heap, class_index, most - put);
}

/* Magazines of which the thread made no use since the last look give half of what they hold back.
 */
void hak_magazines_shrink_idle(struct hak_heap *heap) {
    hak_watch_end_all(heap);
    for (uint64_t rest = heap->begun; rest; rest &= rest - 1) {
        unsigned c = hak_first_class(rest);
        struct hak_heap_class *class = &heap->classes[c];
        unsigned misses = class->misses;
        class->misses = 0;
        unsigned least = class->first;
        if (misses)
            continue;
        if (class->capacity + hak_capacity_below(class) <= least) {
            hak_capacity_shrink(heap, c);
            continue;
        }
        hak_capacity_join(heap, c);
        unsigned capacity = class->capacity / 2u > least ? class->capacity / 2u : least;
        unsigned count = (unsigned)(heap->magazines->top[c] - class->bottom);
        if (count > capacity)
            shed(heap, c, count - capacity);
        hak_capacity_shrink(heap, c);
        hak_capacity_set(heap, c, capacity);
    }
}

/* ---- malloc -------------------------------------------------------------------------------- */

/* What a full magazine of the depot has, if there is one; 0: the slabs must serve. */
static unsigned refill_from_depot(struct hak_heap *heap, unsigned class_index) {
    struct hak_magazine *magazine = hak_depot_take(class_index);
    if (!magazine)
        return 0;
    unsigned count = magazine->count;
    void **blocks = hak_capacity_room(heap, class_index, count);
    memcpy(blocks, magazine->slots, count * sizeof *blocks);
    hak_event(HAK_EVENT_DEPOT_TAKE, class_index, blocks[0]);
    if (heap->spare)
        hak_magazine_free(magazine);
    else
        heap->spare = magazine;
    return count;
}

/* Blocks to take from the slabs: a share of what the class has out, so that a thread that needs few
 * holds few back. */
static unsigned refill_now(const struct hak_heap_class *class) {
    int32_t share = class->out / REFILL_SHARE;
    if (share <= class->first_refill)
        return class->first_refill;
    return share < class->refill_most ? (unsigned)share : class->refill_most;
}

static unsigned refill_from_slabs(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    unsigned wanted = hak_thread_ended || heap->asleep ? 1 : refill_now(class);
    void **blocks = hak_capacity_room(heap, class_index, wanted);
    unsigned count = hak_heap_take_blocks(heap, class_index, blocks, wanted);
    if (HAK_UNLIKELY(!count)) {
        hak_heap_make_room(false);
        count = hak_heap_take_blocks(heap, class_index, blocks, wanted);
    }
    hak_event(HAK_EVENT_REFILL, class_index, count ? blocks[count - 1] : NULL);
    return count;
}

/* The magazine is as large again as it was before the drain, if there was one. */
static void end_drain(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (class->draining)
        hak_capacity_set(heap, class_index, class->usual);
    else if (class->one_by_one && !heap->asleep)
        hak_capacity_set(heap, class_index, class->first);
    class->draining = false;
    class->one_by_one = 0;
    class->falls = 0;
}

void *hak_heap_refill(unsigned class_index) {
    struct hak_heap *heap = hak_heap_self();
    if (HAK_UNLIKELY(!heap) && !(heap = hak_heap_enter()))
        return NULL;
    struct hak_heap_class *class = &heap->classes[class_index];
    /* Who asks for a block after a long drain, or for the first one in a while, may have slept. */
    if (!has_begun(heap, class_index) || class->draining || !class->misses || class->parts ||
        hak_is_on_watch(heap, class_index))
        hak_heap_tick_now();
    else
        hak_heap_tick();
    see_that_it_began(heap, class_index);
    if (hak_is_on_watch(heap, class_index))
        hak_watch_end(heap, class_index);
    heap->falls = 0;
    heap->fallen = 0;
    if (class->parts && heap->magazines->top[class_index] == class->bottom) {
        class->misses++;
        class->falls = 0;
        hak_capacity_unpart(heap, class_index);
    }
    /* It was parted; or hidden; or making the heap known to the thread library has allocated, and
     * filled it.
     */
    void **top = heap->magazines->top[class_index];
    if (HAK_UNLIKELY(top != class->bottom)) {
        heap->magazines->top[class_index] = top - 1;
        return *top;
    }
    class->misses++;
    class->strangers = 0;
    end_drain(heap, class_index);
    if (class->capacity > class->usual)
        hak_capacity_set(heap, class_index, class->usual);
    if (class->gone)
        hak_capacity_adapt(heap, class_index);
    unsigned count = heap->asleep ? 0 : refill_from_depot(heap, class_index);
    if (!count)
        count = refill_from_slabs(heap, class_index);
    if (class->capacity < count && !heap->asleep)
        hak_capacity_set(heap, class_index, count);
    void *block = class->bottom[count]; /* NULL if there are none */
    heap->magazines->top[class_index] = class->bottom + (count ? count - 1 : 0);
    if (HAK_UNLIKELY(hak_thread_ended))
        hak_heap_exit();
    return block;
}

/* ---- free ---------------------------------------------------------------------------------- */

/* The thread frees and frees, and nobody has a use for the blocks. */
static bool is_drained(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (class->falls < FALLS_OF_A_DRAIN && heap->falls < FALLS_OF_A_LONG_DRAIN)
        return false;
    if (!class->draining && class->out < class->usual / 2)
        return false; /* the blocks are others' */
    if (class->strangers >= LOOKS_AT_STRANGERS)
        return false; /* so they were */
    if (class->draining) {
        class->strangers = class->out < class->out_then ? 0 : (uint8_t)(class->strangers + 1);
        class->out_then = class->out;
        if (class->strangers >= LOOKS_AT_STRANGERS) {
            end_drain(heap, class_index);
            return false;
        }
    }
    uint32_t takes = hak_depot_takes(class_index);
    if (hak_depot_has_room(class_index, depot_bytes(class_index))) {
        if (class->takes != takes) {
            class->takes = takes;
            end_drain(heap, class_index);
        } else {
            class->draining = true;
        }
    } else {
        class->draining = true;
    }
    return class->draining;
}

/* The class is being drained, and its magazine full. Everything in it goes home, and it may have
 * the fewer blocks the fewer are out: so it is empty, and pins no slab, when all are home, after
 * few more calls. With nothing out that is this heap's, blocks go home one by one. */
static void drain(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    hak_capacity_join(heap, class_index);
    unsigned count = (unsigned)(heap->magazines->top[class_index] - class->bottom);
    unsigned left = count - smaller(count, SHED_MOST * class->usual);
    if (count)
        shed_home(heap, class_index, count - left);
    if (class->out > 0 && class->out <= class->usual)
        hak_heap_leave_drained(heap, class_index);
    unsigned share = class->out > 0 ? (unsigned)class->out / DRAIN_SHARE : 0;
    if (left >= share) /* the rest with the next calls */
        share = left ? left + 1 : 0;
    class->one_by_one = share ? 0 : ONE_BY_ONE;
    hak_capacity_set(heap, class_index, share);
    hak_watch_keep(heap, class_index);
}

/* Makes room for a block in a full magazine; false: there is none, and the block should go home. */
static bool make_room(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (heap->asleep)
        return false;
    if (class->one_by_one && --class->one_by_one)
        return false;
    heap->fallen += (size_t) class->capacity * hak_class_size[class_index];
    if (!class->draining && class->capacity >= class->usual &&
        class->capacity < hak_capacity_most(class)) {
        hak_capacity_part(heap, class_index);
        hak_watch_keep(heap, class_index);
        return true;
    }
    heap->falls++;
    if (is_drained(heap, class_index))
        drain(heap, class_index);
    else if (heap->magazines->top[class_index] != heap->magazines->end[class_index])
        return true; /* a drain ended, and it grew */
    else if (class->capacity < hak_capacity_most(class))
        hak_capacity_set(heap, class_index, class->capacity ? 2u * class->capacity : 1);
    else
        shed(heap, class_index, smaller((class->capacity + 1u) / 2u, SHED_MOST * class->usual));
    return class->capacity > 0;
}

void hak_heap_overflow(void *block, unsigned class_index) {
    struct hak_heap *heap = hak_heap_self();
    if (HAK_UNLIKELY(!heap) && !(heap = hak_heap_enter())) {
        hak_heap_give_blocks(NULL, &block, 1);
        return;
    }
    bool fits = true;
    if (heap->magazines->top[class_index] == heap->magazines->end[class_index]) {
        hak_heap_tick();
        see_that_it_began(heap, class_index);
        if (hak_is_on_watch(heap, class_index) && hak_watch_takes(heap, class_index, block))
            return; /* a heap that is borrowed for one call has no watch, and isn't left here */
    }
    if (heap->magazines->top[class_index] == heap->magazines->end[class_index]) {
        heap->classes[class_index].misses++;
        fits = make_room(heap, class_index);
    }
    if (HAK_UNLIKELY(fits && hak_is_on_watch(heap, class_index))) /* since just now */
        fits = hak_watch_takes(heap, class_index, block);
    else if (HAK_LIKELY(fits))
        *++heap->magazines->top[class_index] = block;
    if (HAK_UNLIKELY(!fits))
        hak_heap_give_block(heap, block);
    if (HAK_UNLIKELY(hak_thread_ended))
        hak_heap_exit();
}
