/* Treiber stacks of magazines (R. K. Treiber, "Systems Programming: Coping with Parallelism", IBM
 * RJ 5118, 1986), with a tag in the head against reuse of a node in the middle of an operation. */
#include "depot/depot.h"
#include "base/counters.h"
#include "base/options.h"
#include "base/size_class.h"
#include "os/os.h"
#include "page_map/page_map.h"

_Static_assert(sizeof(struct hak_magazine) == 512, "a magazine is 512 bytes");

/* head: the magazine's address / 512 in the low bits, the tag in the others (26 of them with
 * 47-bit addresses). */
#define MAGAZINE_SHIFT 9u
#define ADDRESS_BITS   (HAK_ADDRESS_BITS - MAGAZINE_SHIFT)
#define ADDRESS_MASK   (((uint64_t)1 << ADDRESS_BITS) - 1)

struct stack {
    _Alignas(HAK_CACHE_LINE) _Atomic uint64_t head;
    _Atomic uint32_t low;   /* the least depth in this interval, about */
    _Atomic uint32_t takes; /* by those who need blocks, about */
};

static struct stack depot[HAK_CLASS_MAX + 1];
static struct stack spares; /* empty magazines */

static struct hak_magazine *top_of(uint64_t head) {
    return (struct hak_magazine *)(uintptr_t)((head & ADDRESS_MASK) << MAGAZINE_SHIFT);
}

static uint64_t head_after(uint64_t old, const struct hak_magazine *top) {
    uint64_t tag = (old >> ADDRESS_BITS) + 1;
    return tag << ADDRESS_BITS | (uint64_t)(uintptr_t)top >> MAGAZINE_SHIFT;
}

/* relaxed: the magazine was reached through an acquire of the head, which its pusher released; if
 * it has left the stack meanwhile the depth is wrong, and so is the tag: the exchange fails. */
static uint32_t depth_of(const struct hak_magazine *top) {
    return top ? atomic_load_explicit(&top->depth, memory_order_relaxed) : 0;
}

/* False if there would be more than `most`. */
static bool push(struct stack *stack, struct hak_magazine *magazine, uint32_t most) {
    /* acquire: the depth is read from the magazine on top, which another thread wrote */
    uint64_t old = atomic_load_explicit(&stack->head, memory_order_acquire);
    do {
        struct hak_magazine *top = top_of(old);
        uint32_t depth = depth_of(top);
        if (depth >= most)
            return false;
        /* relaxed: released with the head, below */
        atomic_store_explicit(&magazine->next, top, memory_order_relaxed);
        atomic_store_explicit(&magazine->depth, depth + 1, memory_order_relaxed);
        /* release: the taker sees the slots, and what was done to the blocks before. acquire, as on
         * failure: the depth of the new top is read if the loop goes on. */
    } while (!atomic_compare_exchange_weak_explicit(&stack->head, &old, head_after(old, magazine),
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

static struct hak_magazine *pop(struct stack *stack) {
    /* acquire: pairs with the push's release */
    uint64_t old = atomic_load_explicit(&stack->head, memory_order_acquire);
    struct hak_magazine *top, *next;
    do {
        top = top_of(old);
        if (!top)
            return NULL;
        /* May belong to somebody else by now; the tag makes the exchange fail then. relaxed: as
         * depth_of. */
        next = atomic_load_explicit(&top->next, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&stack->head, &old, head_after(old, next),
                                                    memory_order_acq_rel, memory_order_acquire));
    /* relaxed: `low` is a hint for trimming, which may be off by what others do at once */
    uint32_t left = atomic_load_explicit(&top->depth, memory_order_relaxed) - 1;
    if (left < atomic_load_explicit(&stack->low, memory_order_relaxed))
        atomic_store_explicit(&stack->low, left, memory_order_relaxed);
    return top;
}

struct hak_magazine *hak_magazine_new(void) {
    struct hak_magazine *magazine = pop(&spares);
    if (magazine)
        return magazine;
    /* Eight at a time: a page of them. */
    struct hak_magazine *fresh = hak_os_meta(8 * sizeof *fresh, 4096);
    if (!fresh)
        return NULL;
    for (unsigned i = 1; i < 8; i++)
        push(&spares, &fresh[i], UINT32_MAX);
    return fresh;
}

void hak_magazine_free(struct hak_magazine *magazine) {
    push(&spares, magazine, UINT32_MAX);
}

/* Magazines that `bytes` bytes of a class are. */
static uint32_t most_of(unsigned class_index, size_t bytes) {
    size_t each = (size_t)hak_class_size[class_index] * hak_magazine_batch(class_index);
    return (uint32_t)(bytes / each);
}

bool hak_depot_has_room(unsigned class_index, size_t bytes) {
    return bytes && hak_depot_magazines(class_index) < most_of(class_index, bytes);
}

bool hak_depot_put(unsigned class_index, struct hak_magazine *magazine, size_t bytes) {
    if (!push(&depot[class_index], magazine, most_of(class_index, bytes)))
        return false;
    hak_count(HAK_COUNT_DEPOT_PUTS, 1);
    return true;
}

struct hak_magazine *hak_depot_take(unsigned class_index) {
    struct stack *stack = &depot[class_index];
    /* relaxed: a look that spares the exchange when there is nothing; pop() synchronises */
    if (!top_of(atomic_load_explicit(&stack->head, memory_order_relaxed)))
        return NULL;
    struct hak_magazine *magazine = pop(stack);
    if (!magazine)
        return NULL;
    hak_count(HAK_COUNT_DEPOT_TAKES, 1);
    /* relaxed, and not in one: it only shall change */
    uint32_t takes = atomic_load_explicit(&stack->takes, memory_order_relaxed);
    atomic_store_explicit(&stack->takes, takes + 1, memory_order_relaxed);
    return magazine;
}

struct hak_magazine *hak_depot_take_idle(unsigned class_index) {
    struct stack *stack = &depot[class_index];
    /* relaxed: as in pop() */
    uint32_t low = atomic_load_explicit(&stack->low, memory_order_relaxed);
    if (!low)
        return NULL;
    struct hak_magazine *magazine = pop(stack);
    atomic_store_explicit(&stack->low, low - 1, memory_order_relaxed);
    return magazine;
}

uint32_t hak_depot_takes(unsigned class_index) {
    return atomic_load_explicit(&depot[class_index].takes,
                                memory_order_relaxed); /* relaxed: a hint */
}

unsigned hak_depot_magazines(unsigned class_index) {
    /* acquire: the depth is read from the magazine */
    return depth_of(top_of(atomic_load_explicit(&depot[class_index].head, memory_order_acquire)));
}

void hak_depot_next_interval(unsigned class_index) {
    struct stack *stack = &depot[class_index];
    /* acquire: the depth is read from the magazine; relaxed for the hint, as in pop() */
    uint64_t head = atomic_load_explicit(&stack->head, memory_order_acquire);
    atomic_store_explicit(&stack->low, depth_of(top_of(head)), memory_order_relaxed);
}
