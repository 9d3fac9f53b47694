/* Thread heaps: each thread's magazines and the slabs it owns.
 *
 *   thread-local block (1 KiB)         thread heap (one mapping, reused by later threads)
 *   +---------------------------+      +----------------------------------------------------+
 *   | top[0..63] -> last block  |----->| per class: capacity, slabs with blocks, exhausted, |
 *   | end[0..63] -> last slot   |----->|   first slots: NULL | b | b | b | . | . | . |      |
 *   +---------------------------+      |                       top ^          end ^         |
 *                                      | more slots of each class: NULL | ...               |
 *                                      | slabs with a remote queue (pushed by others)       |
 *                                      +----------------------------------------------------+
 *
 * A magazine is an array of blocks of one class, last in first out. Below its first slot lies a
 * NULL, so that an empty one and a class without a magazine look alike to malloc: *top is NULL.
 * To free, a full one and a kind that has none look alike: top == end. A thread without a heap
 * has all its tops and ends at one shared empty magazine, from the first instruction on, and so has
 * every thread those of classes that it hasn't used yet, or not since it slept: what a heap has for
 * them isn't touched. */
#ifndef HAK_HEAP_H
#define HAK_HEAP_H

#include "base/config.h"
#include "base/counters.h"
#include "depot/depot.h"
#include "heap/trace.h"
#include "large/span_cache.h"
#include "slab/slab.h"

struct hak_thread {
    void **top[HAK_KIND_COUNT]; /* the last block, or the NULL below the first slot */
    void **end[HAK_KIND_COUNT]; /* the last slot */
};
extern HAK_HIDDEN _Thread_local struct hak_thread hak_thread
    __attribute__((tls_model("initial-exec")));

/* Every call takes its slow path: blocks are checked, or counted by size class. A thread's
 * magazines are then in its heap, and hak_thread shows the hit paths empty ones, so that they cost
 * nothing while this is off. Written once, by hak_init. */
extern HAK_HIDDEN bool hak_instrumented;

/* The magazine of whoever has none: its NULL makes it empty, top == end makes it full. */
extern HAK_HIDDEN void *hak_no_magazine[1];

#define HAK_SLOTS_BESIDE 32u

/* A class's part of a heap. */
struct hak_heap_class {
    void **bottom;           /* the slot with the NULL: `beside`, or in `own` */
    void **hidden;           /* its top while it is on watch, else NULL; see watch.h */
    void **own;              /* of `usual` slots, or of `ceiling`; NULL: not needed so far */
    uint16_t capacity;       /* slots in use now; end - bottom */
    uint16_t most;           /* slots that it may have now: `usual`, or more if it has grown */
    uint16_t usual;          /* twice what a magazine of the depot has */
    uint16_t ceiling;        /* slots that it may grow to */
    uint16_t first;          /* slots in use at first, */
    uint16_t first_refill;   /* and blocks to take from a slab the first time, */
    uint16_t refill_most;    /* and at most */
    uint16_t misses;         /* refills and overflows since the last look at idle magazines */
    TinySlabMeta *partial;   /* own slabs that have blocks to give out; the first is in use */
    TinySlabMeta *exhausted; /* own slabs that had none when last looked at */
    TinySlabMeta *tidied;    /* the first of them when blocks were last taken; only compared */
    uint32_t partials;       /* slabs in the first list */
    uint32_t exhausteds;     /* slabs in the second */
    int32_t out;             /* blocks of the slabs in both that are not at home */
    uint32_t takes;          /* from the depot by anyone, when last looked at */
    uint16_t falls;          /* times that the magazine was full since the last refill */
    bool draining;           /* the thread frees only: its magazine shrinks */
    bool has_ceiling;        /* `own` is of `ceiling` slots */
    bool had_turn;           /* it was on watch just now */
    uint16_t parts;          /* of `usual` blocks, that lie below the bottom: see capacity.h */
    uint8_t one_by_one;      /* blocks to go home directly before one looks again */
    uint8_t watch_left;      /* frees that it serves while it is on watch */
    uint8_t strangers;       /* looks in a row at which none of this heap's blocks had come home */
    uint8_t untidy;          /* changes of slab for which no freelist is ordered after a failure, */
    uint8_t untidied;        /* and those since */
    uint32_t gone;           /* own blocks that went home from the magazine since it was empty, */
    uint32_t swing;          /* and the most of these, and of blocks in it, at a time */
    uint32_t gone_since;     /* what has gone home since the time below, */
    uint16_t swings_since;   /* and how often it was empty after some had, */
    uint32_t since;          /* ms; it goes round */
    bool swings;             /* both were much for the time that it took */
    int32_t out_then;        /* `out` at the last look while it was drained */
    /* Slabs that this heap owned and may claim again; any of them may be another's by now. */
    TinySlabMeta *hot;   /* in use when the heap's last thread ended, or NULL */
    TinySlabMeta *bench; /* the last that a live thread gave up, or NULL */
    /* The magazine as long as it is a small one. */
    void *beside[1 + HAK_SLOTS_BESIDE];
};

#define HAK_STICKY 32u /* entries of a heap's ring */

#define HAK_WATCHED 16u /* neighbouring classes of which one keeps watch: see watch.h */

struct hak_heap {
    /* Own slabs onto whose remote queue others have pushed; a stack that only the owner takes,
     * whole. HAK_PENDING_CLOSED while no thread uses the heap. */
    _Alignas(HAK_CACHE_LINE) _Atomic uintptr_t pending;
    _Alignas(HAK_CACHE_LINE) struct hak_superslab *hint;
    struct hak_thread *magazines; /* its thread's hak_thread; in instrumented mode a hidden one */
    struct hak_magazine *spare;   /* an empty one, or NULL */
    TinySlabMeta *kept;           /* an own slab that became empty, or NULL */
    uint32_t ticks;               /* slow paths taken */
    uint32_t falls;               /* times that a magazine was full since one was last empty, */
    size_t fallen;                /* and bytes of blocks in these */
    size_t grown_bytes;           /* that magazines may have beyond what is usual, */
    uint32_t grown_slots;         /* and blocks */
    bool ending;                  /* its thread is giving everything back */
    bool unfinished;              /* giving back what is due goes on in the next slow path */
    bool untrimmed;               /* the depot's part of it isn't done */
    bool asleep;                  /* the program slept: until that is done no magazine is used */
    uint8_t watch[HAK_KIND_COUNT / HAK_WATCHED]; /* the class that keeps it; 0: none */
    uint64_t looked_at;   /* ms: when the clock was last looked at; 0: never */
    uint64_t woke_at;     /* ms: when `asleep` was last set */
    uint32_t sticky_next; /* the ring's oldest entry */
    /* Further slabs that this heap owned, the class in the low bits of their address; 0: none. */
    uintptr_t sticky[HAK_STICKY];
    uint64_t sticky_classes; /* bit c: there may be some of class c among them */
    uint64_t begun;          /* bit c: class c has a magazine */
    uint64_t bounded;        /* bit c: its bounds were computed, from the options' values below */
    uint64_t owning;         /* bit c: there may be own slabs of class c */
    long bounds_from[2]; /* the options from which the classes' bounds were computed, plus one */
    /* Taken from the pending stack, and not yet looked at. */
    TinySlabMeta *told;
    /* Among the heaps that no thread uses. */
    struct hak_heap *_Atomic next;
    struct hak_span_cache spans;
    struct hak_span_cache *untrimmed_spans; /* where giving back goes on with them */
    struct hak_trace trace;                 /* for the crash log */
    struct hak_counter_set counters;
    struct hak_heap_class classes[HAK_CLASS_MAX + 1];
    void *slots[]; /* each class's own */
};
#define HAK_PENDING_CLOSED ((uintptr_t)1)

/* Sets of classes: that of one, and the lowest of a set that isn't empty. */
HAK_INLINE uint64_t hak_class_bit(unsigned class_index) {
    return (uint64_t)1 << class_index;
}
HAK_INLINE unsigned hak_first_class(uint64_t classes) {
    return (unsigned)__builtin_ctzll(classes);
}

/* The slow end of malloc for a size class: a block, from wherever one is to be had. NULL, ENOMEM.
 */
void *hak_heap_refill(unsigned class_index);

/* The slow end of free: the magazine of the block's class is full, or the thread has none. */
void hak_heap_overflow(void *block, unsigned class_index);

/* The free slabs that the calling thread keeps for its spans; NULL for a thread without a heap. */
struct hak_span_cache *hak_heap_spans(void);

/* To be called now and then, from slow paths: purges when its time has come. Leaves errno alone. */
void hak_heap_tick(void);
/* The same, and looks at the clock for certain; by a thread with a heap. */
void hak_heap_tick_now(void);

/* Gives everything of the calling thread back. Called when a thread ends. */
void hak_heap_exit(void);

/* Gives back all that can be: the calling thread's magazines, the depot's, and the pages behind
 * what is free then, cached huge blocks too. Bytes of pages that went back. */
size_t hak_heap_collect(void);

/* There is no memory for a request: gives back everything that is kept for reuse, so that it may
 * serve otherwise; with `huge` also the address space of SuperSlabs without a block. Once, then the
 * request is tried again. */
void hak_heap_make_room(bool huge) HAK_COLD;

/* Sets the whole allocator up, once, whichever thread comes first. */
void hak_init(void);

/* ---- inside this layer --------------------------------------------------------------------- */

/* The calling thread's heap; NULL if it has none yet. */
HAK_INLINE struct hak_heap *hak_heap_self(void) {
    return (struct hak_heap *)hak_self;
}

/* Heaps that no thread uses (unused.c): those that the next threads may have, and those whose
 * thread ended with so many slabs that others give up the rest. */
enum hak_heap_stack { HAK_HEAPS_FREE, HAK_HEAPS_LEAVING, HAK_HEAP_STACKS };
/* Takes one, NULL if there is none; puts one. Any thread; no lock. */
struct hak_heap *hak_heaps_take(enum hak_heap_stack stack);
void hak_heaps_put(struct hak_heap *heap, enum hak_heap_stack stack);

/* Makes a heap the calling thread's: one that an ended thread left, or a new one. NULL, ENOMEM. */
struct hak_heap *hak_heap_enter(void);

/* This thread's heap was given back at its end; what it still asks for is served by a heap that is
 * borrowed for one call. */
extern HAK_HIDDEN _Thread_local bool hak_thread_ended __attribute__((tls_model("initial-exec")));

/* Magazines (magazines.c, capacity.c). Sets them up; once, before all else. */
void hak_magazines_init(void);
/* Slots that the own ones of all classes need. */
size_t hak_magazines_slots(void);
/* Blocks that a class's magazine has at most before it grows; twice as many as one in the depot. */
unsigned hak_magazine_usual(unsigned class_index);
/* In the child: the other threads' magazines are gone. */
void hak_magazines_fork_child(void);
/* Lets a thread begin without any: a class's begins when the class is first used. */
void hak_magazines_open(struct hak_heap *heap);
/* Gives all blocks home. */
void hak_magazines_empty(struct hak_heap *heap);
/* There are none any more, which must be empty. */
void hak_magazines_end(struct hak_heap *heap);
/* Gives all blocks home, and each begins as at first when its class is next used. While the heap is
 * asleep none holds anything: each call takes its slow path. */
void hak_magazines_begin_again(struct hak_heap *heap);
/* Of those without a use since the last call half goes back. */
void hak_magazines_shrink_idle(struct hak_heap *heap);

/* Own slabs (slabs.c). Each takes or gives blocks of one class between slots and slabs. */
unsigned hak_heap_take_blocks(struct hak_heap *heap, unsigned class_index, void **slots,
                              unsigned most);
void hak_heap_give_blocks(struct hak_heap *heap, void *const *blocks, unsigned count);
/* The same for one. */
void hak_heap_give_block(struct hak_heap *heap, void *block);
/* Drains the own slabs that others have pushed onto, a bounded number of them; `closing` refuses
 * further notices, and drains all. */
void hak_heap_process_pending(struct hak_heap *heap, bool closing);
/* Gives the empty slab that the heap keeps back to the pool, if it has one. */
void hak_heap_retire_kept(struct hak_heap *heap);
/* Gives back or offers the slabs of a heap whose thread ends, a bounded number of them. False: some
 * are left; the heap then is one of HAK_HEAPS_LEAVING, and owns them, until hak_heap_help_leaving
 * has given up the last. Others may push onto them and tell the heap as if its thread were there.
 */
bool hak_heap_abandon_slabs(struct hak_heap *heap);
/* Gives up some more slabs of a heap whose thread ended, if there is one. By any thread, from slow
 * paths. True: there was. */
bool hak_heap_help_leaving(void);

/* A thread that drains a class and has few blocks of it left gives up its slabs, if there are other
 * threads: when the last of these blocks come home, from wherever they are then, nobody need wait
 * for this thread, which may sleep. */
void hak_heap_leave_drained(struct hak_heap *heap, unsigned class_index);

/* Takes an own slab out of the list that it is in. */
void hak_heap_unlink(struct hak_heap *heap, TinySlabMeta *slab);

/* An own slab has all its blocks, and nobody else knows it any more: it may begin another life. */
HAK_INLINE bool hak_heap_slab_is_free(const TinySlabMeta *slab) {
    return hak_slab_used(slab) == 0 && slab_remote_is_quiet(slab);
}

/* Ways to reuse a slab (reuse.c), the last one before new memory is mapped: each NULL or a slab of
 * the class that is now the heap's, drained, has blocks to give, and is in none of its lists. */
TinySlabMeta *hak_reuse_remembered(struct hak_heap *heap, unsigned class_index); /* stage 0 */
TinySlabMeta *hak_reuse_returned(struct hak_heap *heap, unsigned class_index);   /* stage 1 */
TinySlabMeta *hak_reuse_at_mmap_gate(struct hak_heap *heap, unsigned class_index);

/* Remembers a slab that the heap is about to leave: as the hot one of its class, or in the ring. */
void hak_remember_hot(struct hak_heap *heap, TinySlabMeta *slab);
void hak_remember_sticky(struct hak_heap *heap, TinySlabMeta *slab);

/* Gives up a slab, which is in none of the heap's lists, with blocks out. `left_behind` as for
 * hak_slab_abandon. */
void hak_heap_leave_slab(struct hak_heap *heap, TinySlabMeta *slab, bool left_behind);

/* Heaps that a thread uses now; a hint. */
unsigned hak_heaps_in_use(void);

#endif
