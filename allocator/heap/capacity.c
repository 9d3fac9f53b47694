/* Magazines' capacities. */
#include "heap/capacity.h"
#include "base/options.h"
#include "base/size_class.h"
#include "os/os.h"

#include <string.h>

/* The first refill of a class takes no more than this, in bytes: a program that has few blocks of a
 * large class shouldn't pay for pages behind others. */
#define FIRST_REFILL_BYTES 4096u
/* No later one takes more than this from the slabs, nor more than a magazine of the depot has: of
 * large blocks few are needed at once, and they stay. */
#define REFILL_BYTES 65536u
#define FIRST_SLOTS_BYTES                                                                          \
    16384u /* of blocks in a magazine, before the class is seen to need more */

/* Blocks that a magazine has at most, however much it grew; with HAKMEM_MAGAZINE_MAX in bytes. */
#define GROWN_SLOTS 16384u
/* A magazine may grow when over so long a time so many blocks a ms went home and were asked for
 * again. One of up to 2 KiB costs some 5 ns on its way, a larger one some 40. */
#define SWING_MS    16u
#define SWING_SMALL 500u
#define SWING_LARGE 125u
/* And so many times in that time: the blocks of longer swings may serve others meanwhile. */
#define SWINGS_LEAST 8u
#define PARTLY_FROM  2048u /* bytes: of larger blocks a part of a swing is worth keeping */
#define HEADROOM     4u /* swings differ: a grown magazine has so much more than the last one took */
/* What a thread's magazines may have together beyond their usual sizes, in blocks, since they all
 * go home in one call after a sleep, and in bytes; and those of all threads. */
#define THREAD_SLOTS 16384u
#define THREAD_BYTES ((size_t)16 << 20)
#define ALL_BYTES    ((size_t)64 << 20)

/* Bytes by which magazines have grown; a bound, which threads at once may pass a little. */
static _Atomic size_t grown_by_all;

/* Room for a full magazine of the depot, and as much again. */
static unsigned usual_slots(unsigned class_index) {
    return 2 * hak_magazine_batch(class_index);
}

/* Slots that the classes before one need, and their NULLs. */
static uint16_t slots_before[HAK_CLASS_MAX + 2];

void hak_magazines_init(void) {
    for (unsigned c = 1; c <= HAK_CLASS_MAX; c++)
        slots_before[c + 1] = (uint16_t)(slots_before[c] + 1 + usual_slots(c));
}

size_t hak_magazines_slots(void) {
    return slots_before[HAK_CLASS_MAX + 1];
}

/* `slots`, or as many as the option allows. */
static unsigned allowed(unsigned class_index, unsigned slots) {
    size_t bytes = (size_t)hak_option(HAK_OPT_MAGAZINE_MAX) << 10;
    size_t most = bytes / hak_class_size[class_index] & ~(size_t)1;
    if (most < 2)
        most = 2;
    return most < slots ? (unsigned)most : slots;
}

/* The same for every heap, since a magazine of the depot must fit into any. */
unsigned hak_magazine_usual(unsigned class_index) {
    return allowed(class_index, usual_slots(class_index));
}

static uint16_t first_slots(unsigned class_index, unsigned most) {
    unsigned slots = (unsigned)hak_option(HAK_OPT_MAGAZINE_MIN);
    unsigned fitting = FIRST_SLOTS_BYTES / hak_class_size[class_index];
    if (slots > fitting)
        slots = fitting ? fitting : 1;
    return (uint16_t)(slots < most ? slots : most);
}

/* `bytes` of blocks, but no more than `most` of them. */
static uint16_t refill_of(unsigned class_index, unsigned bytes, unsigned most) {
    unsigned blocks = bytes / hak_class_size[class_index];
    if (blocks > most)
        blocks = most;
    return (uint16_t)(blocks ? blocks : 1);
}

/* For the first thread of a heap that uses the class, and where the options changed since: the
 * divisions of all classes take a microsecond, a thread may live for ten. */
static void compute_bounds(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    long from[2] = {hak_option(HAK_OPT_MAGAZINE_MAX) + 1, hak_option(HAK_OPT_MAGAZINE_MIN) + 1};
    if (HAK_UNLIKELY(memcmp(from, heap->bounds_from, sizeof from) != 0)) {
        heap->bounded = 0;
        memcpy(heap->bounds_from, from, sizeof from);
    }
    if (heap->bounded & hak_class_bit(class_index))
        return;
    class->usual = (uint16_t)hak_magazine_usual(class_index);
    class->ceiling = (uint16_t)allowed(class_index, GROWN_SLOTS);
    class->first = first_slots(class_index, class->usual);
    class->first_refill = refill_of(class_index, FIRST_REFILL_BYTES, class->first / 2u);
    class->refill_most = refill_of(class_index, REFILL_BYTES, class->usual / 2u);
    heap->bounded |= hak_class_bit(class_index);
}

void hak_capacity_begin(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    compute_bounds(heap, class_index);
    class->most = class->usual;
    class->gone = class->swing = 0;
    class->swings = false;
    class->parts = 0;
    class->gone_since = class->swings_since = 0;
    class->bottom = class->beside;
    heap->magazines->top[class_index] = class->bottom;
    hak_capacity_set(heap, class_index, 0);
}

/* A magazine begins in a few slots beside what else the heap knows of the class, so that a thread
 * that has little of each needs few pages; when it needs more it moves to slots of its own. */
void **hak_capacity_room(struct hak_heap *heap, unsigned class_index, unsigned blocks) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (blocks > HAK_SLOTS_BESIDE && class->bottom == class->beside) {
        if (!class->own) /* zero, as all memory of the system is */
            class->own = heap->slots + slots_before[class_index];
        unsigned count = (unsigned)(heap->magazines->top[class_index] - class->bottom);
        memcpy(class->own + 1, class->bottom + 1, count * sizeof *class->own);
        class->bottom = class->own;
        heap->magazines->top[class_index] = class->bottom + count;
        heap->magazines->end[class_index] = class->bottom + class->capacity;
    }
    return class->bottom + 1;
}

void hak_capacity_set(struct hak_heap *heap, unsigned class_index, unsigned capacity) {
    struct hak_heap_class *class = &heap->classes[class_index];
    unsigned count = (unsigned)(heap->magazines->top[class_index] - class->bottom);
    unsigned most = hak_capacity_most(class);
    if (capacity > most)
        capacity = most;
    class->capacity = (uint16_t)(capacity > count ? capacity : count);
    hak_capacity_room(heap, class_index, class->capacity);
    heap->magazines->end[class_index] = class->bottom + class->capacity;
}

/* ---- growth -------------------------------------------------------------------------------- */

/* Slots for as much as the class's magazine may ever have, its NULL, and the parts'. */
static size_t ceiling_slots(const struct hak_heap_class *class) {
    return 2 + (size_t) class->ceiling + class->ceiling / class->usual;
}

/* They stay the class's own. False: no memory. */
static bool find_slots(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (class->has_ceiling)
        return true;
    void **own = hak_os_meta(ceiling_slots(class) * sizeof *own, HAK_CACHE_LINE);
    if (!own)
        return false;
    class->has_ceiling = true;
    class->own = class->bottom = own;
    heap->magazines->top[class_index] = own;
    heap->magazines->end[class_index] = own + class->capacity;
    return true;
}

/* Of so many further slots those for which there is an allowance. */
static unsigned granted(const struct hak_heap *heap, unsigned class_index, unsigned slots) {
    /* relaxed: see grown_by_all */
    size_t all = atomic_load_explicit(&grown_by_all, memory_order_relaxed);
    size_t bytes = THREAD_BYTES > heap->grown_bytes ? THREAD_BYTES - heap->grown_bytes : 0;
    if (all + bytes > ALL_BYTES)
        bytes = ALL_BYTES > all ? ALL_BYTES - all : 0;
    size_t most = bytes / hak_class_size[class_index];
    if (most > THREAD_SLOTS - heap->grown_slots)
        most = THREAD_SLOTS - heap->grown_slots;
    return most < slots ? (unsigned)most : slots;
}

static void set_most(struct hak_heap *heap, unsigned class_index, unsigned most) {
    struct hak_heap_class *class = &heap->classes[class_index];
    size_t size = hak_class_size[class_index];
    /* may be below 0, which goes round, and comes out right */
    size_t more = ((size_t)most - class->most) * size;
    heap->grown_slots += most - class->most;
    heap->grown_bytes += more;
    /* relaxed: see grown_by_all */
    atomic_fetch_add_explicit(&grown_by_all, more, memory_order_relaxed);
    class->most = (uint16_t)most;
}

/* Whether so many blocks go home, to be asked for again, that it is a good part of the work. Where
 * some are replaced by others at random magazines fall over, too, but seldom. */
static bool swings_often(struct hak_heap_class *class, unsigned class_index) {
    uint32_t now = (uint32_t)hak_os_now_ms(), passed = now - class->since;
    class->gone_since += class->gone;
    if (class->swings_since < UINT16_MAX)
        class->swings_since++;
    if (passed >= SWING_MS) {
        unsigned rate = hak_class_size[class_index] <= PARTLY_FROM ? SWING_SMALL : SWING_LARGE;
        class->swings = class->gone_since / rate >= passed &&
                        class->swings_since / SWINGS_LEAST >= passed / SWING_MS;
        class->since = now;
        class->gone_since = 0;
        class->swings_since = 0;
    }
    return class->swings;
}

/* Lets a magazine have as many blocks as `swing`, and some. */
static void grow(struct hak_heap *heap, unsigned class_index, unsigned swing) {
    struct hak_heap_class *class = &heap->classes[class_index];
    unsigned most = class->most;
    unsigned wanted = swing + swing / HEADROOM;
    if (wanted > class->ceiling)
        wanted = class->ceiling;
    if (wanted > most)
        wanted = most + granted(heap, class_index, wanted - most);
    /* Small blocks that come back from their slabs come in the order of their addresses, those of a
     * magazine don't: to keep only a part of the swing would cost more than it spares. */
    if (wanted < swing && hak_class_size[class_index] <= PARTLY_FROM) {
        set_most(heap, class_index, class->usual);
        return;
    }
    if (wanted > most && find_slots(heap, class_index))
        set_most(heap, class_index, wanted);
}

void hak_capacity_adapt(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (swings_often(class, class_index) && class->swing > class->most && !heap->asleep)
        grow(heap, class_index, class->swing);
    class->gone = class->swing = 0;
}

void hak_capacity_part(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    hak_capacity_room(heap, class_index, HAK_SLOTS_BESIDE + 1);
    unsigned count = (unsigned)(heap->magazines->top[class_index] - class->bottom) - class->usual;
    class->bottom += class->usual + 1;
    memmove(class->bottom + 1, class->bottom, count * sizeof *class->bottom);
    *class->bottom = NULL;
    class->parts++;
    heap->magazines->top[class_index] = class->bottom + count;
    hak_capacity_set(heap, class_index, class->usual + count);
}

void hak_capacity_unpart(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    class->bottom -= class->usual + 1;
    class->parts--;
    heap->magazines->top[class_index] = class->bottom + class->usual;
    /* Some more, so that a thread that stays near here isn't parted and joined all the time. */
    hak_capacity_set(heap, class_index, class->usual + class->usual / 2u);
}

void hak_capacity_join(struct hak_heap *heap, unsigned class_index) {
    struct hak_heap_class *class = &heap->classes[class_index];
    if (!class->parts)
        return;
    size_t usual = class->usual,
           count = (size_t)(heap->magazines->top[class_index] - class->bottom);
    void **first = class->own + 1;
    for (size_t i = 1; i <= class->parts; i++)
        memmove(first + i * usual, first + i * (usual + 1),
                (i < class->parts ? usual : count) * sizeof *first);
    unsigned below = hak_capacity_below(class);
    class->bottom = class->own;
    class->parts = 0;
    class->capacity = (uint16_t)(class->capacity + below);
    heap->magazines->top[class_index] = class->bottom + below + count;
    heap->magazines->end[class_index] = class->bottom + class->capacity;
}

/* Gives the pages back of slots that a magazine of no more than the usual blocks doesn't use. */
static void purge_slots(const struct hak_heap_class *class) {
    size_t page = hak_os_page_size();
    uintptr_t from = hak_round_up((uintptr_t)(class->own + 1 + class->usual), page);
    uintptr_t end = (uintptr_t)(class->own + ceiling_slots(class)) & ~(uintptr_t)(page - 1);
    if (from < end)
        hak_os_purge((void *)from, end - from); /* refused: they stay */
}

/* Lets a magazine that has grown have no more than `most` blocks, or the usual ones. */
static void lower_most(struct hak_heap *heap, unsigned class_index, unsigned most) {
    const struct hak_heap_class *class = &heap->classes[class_index];
    if (HAK_LIKELY(class->most == class->usual))
        return;
    set_most(heap, class_index, most > class->usual ? most : class->usual);
    if (class->most == class->usual)
        purge_slots(class);
}

void hak_capacity_shrink(struct hak_heap *heap, unsigned class_index) {
    lower_most(heap, class_index, heap->classes[class_index].most / 2u);
}

void hak_capacity_end(struct hak_heap *heap, unsigned class_index) {
    lower_most(heap, class_index, 0);
}

void hak_magazines_fork_child(void) {
    const struct hak_heap *heap = hak_heap_self();
    /* relaxed: there is no other thread */
    atomic_store_explicit(&grown_by_all, heap ? heap->grown_bytes : 0, memory_order_relaxed);
}
