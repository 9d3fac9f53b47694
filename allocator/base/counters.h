/* Counters of rare events, for HAKMEM_STATS and the tests, never touched on a fast path; and, where
 * statistics are on and no fast path is taken, counts of every block that goes out and comes home.
 */
#ifndef HAK_COUNTERS_H
#define HAK_COUNTERS_H

#include "base/config.h"

#include <stdatomic.h>

/* The stages through which a slab is got, cheapest first, and what else happens rarely. */
#define HAK_COUNTERS(X)                                                                            \
    X(STAGE0_HINT, "slabs that the thread itself remembered (stage 0)")                            \
    X(REUSED_HOT, "of these, the one its heap handed out from last")                               \
    X(REUSED_BENCH, "of these, the one it gave up last")                                           \
    X(REUSED_STICKY, "of these, others that it used")                                              \
    X(STAGE05_OWN_EMPTY, "slabs of its own that became empty (stage 0.5)")                         \
    X(STAGE1_RETURNED, "returned slabs of the class (stage 1)")                                    \
    X(REUSED_MAILBOX, "of these, given up by live threads, through the mailbox")                   \
    X(STAGE2_SHARED, "unused slabs of a mapped SuperSlab (stage 2)")                               \
    X(ADOPTED_AT_GATE, "slabs adopted instead of mapping new memory (mmap gate)")                  \
    X(STAGE3_NEW, "new SuperSlabs from the page arena (stage 3)")                                  \
    X(ADOPTED, "slabs adopted in any way, left behind by exited threads")                          \
    X(CLAIMS, "slabs claimed")                                                                     \
    X(CLAIMS_FAILED, "claims of what had an owner by then")                                        \
    X(DRAINS, "remote queues drained")                                                             \
    X(DRAINED_BLOCKS, "blocks drained from remote queues")                                         \
    X(TIDIED, "freelists ordered by address")                                                      \
    X(REMOTE_PUSHES, "chains pushed onto remote queues")                                           \
    X(ABANDONED, "slabs left behind by exiting threads")                                           \
    X(RETURNED, "slabs given up by live threads")                                                  \
    X(RETIRED, "empty slabs given back")                                                           \
    X(DEPOT_PUTS, "magazines put into the depot")                                                  \
    X(DEPOT_TAKES, "magazines taken from the depot")                                               \
    X(PURGED_SLABS, "free slabs whose pages were given back")                                      \
    X(HUGE_MAPPED, "huge blocks mapped")                                                           \
    X(HUGE_REUSED, "huge blocks reused")                                                           \
    X(HUGE_UNMAPPED, "huge blocks unmapped")                                                       \
    X(ARENA_SINGLE, "SuperSlabs mapped one by one, the arena being unavailable")                   \
    X(HEAPS, "thread heaps made")                                                                  \
    X(SYSTEM_CALLS, "system calls for memory")

enum hak_counter {
#define X(name, text) HAK_COUNT_##name,
    HAK_COUNTERS(X)
#undef X
        HAK_COUNTER_COUNT
};

/* What was counted of the blocks of one kind. */
#define HAK_KIND_COUNTS(X)                                                                         \
    X(requests)   /* blocks that went out to the program */                                        \
    X(frees)      /* blocks that came home */                                                      \
    X(requested)  /* bytes that the program asked for, of all that went out */                     \
    X(bytes_out)  /* usable bytes of all that went out */                                          \
    X(bytes_home) /* usable bytes of all that came home */

struct hak_kind_set {
#define X(name) _Atomic uint64_t name;
    HAK_KIND_COUNTS(X)
#undef X
};

/* The same, added up. */
struct hak_kind_counts {
#define X(name) uint64_t name;
    HAK_KIND_COUNTS(X)
#undef X
};

/* Which row of a set is whose: size class 1 is row 0; spans and huge blocks come last. */
#define HAK_COUNTED_KINDS (HAK_CLASS_MAX + 2u)
HAK_INLINE unsigned hak_counted_row(unsigned kind) {
    return kind <= HAK_CLASS_MAX ? kind - 1 : HAK_CLASS_MAX + (kind - HAK_KIND_SPAN);
}

/* A thread's counters; they live in its heap, so that counting shares no cache line. Each is
 * written by the thread that uses the heap alone, and read by anyone. */
struct hak_counter_set {
    _Atomic uint64_t value[HAK_COUNTER_COUNT];
    struct hak_counter_set *next;                 /* among all sets there ever were */
    struct hak_kind_set kinds[HAK_COUNTED_KINDS]; /* untouched while statistics are off */
};

/* The calling thread's set, or NULL: then the set for all who have none is used. */
extern _Thread_local struct hak_counter_set *hak_counters
    __attribute__((tls_model("initial-exec")));
extern struct hak_counter_set hak_counters_of_all;

/* Makes a set known to the readers, for ever. Its values count from then on. */
void hak_counters_register(struct hak_counter_set *set);

/* Relaxed: the counters order nothing, and readers only want the sums. */
static inline void hak_count(enum hak_counter counter, uint64_t n) {
    struct hak_counter_set *set = hak_counters;
    if (!set) {
        atomic_fetch_add_explicit(&hak_counters_of_all.value[counter], n, memory_order_relaxed);
        return;
    }
    uint64_t old = atomic_load_explicit(&set->value[counter], memory_order_relaxed);
    atomic_store_explicit(&set->value[counter], old + n, memory_order_relaxed);
}

/* The sum over all threads, ended ones included; exact when none is counting. */
uint64_t hak_counter(enum hak_counter counter);

/* To be called for every block that goes out or comes home when hak_option(HAK_OPT_STATS) isn't 0,
 * else never. `kind` is the block's page-map entry (1 to HAK_CLASS_MAX, HAK_KIND_SPAN,
 * HAK_KIND_HUGE), `requested` the bytes that the program asked for, `usable` those that the block
 * has, the same both times. A large block that changes its size in place comes home with the old
 * one and goes out with the new one. Out is counted when the caller has the block, home while it
 * still has it, so that the sum is never more than what there is. */
void hak_count_out(unsigned kind, size_t requested, size_t usable);
void hak_count_home(unsigned kind, size_t usable);

/* The sums for one kind over all threads, ended ones included; exact when none is counting. Zeros
 * while statistics are off. */
struct hak_kind_counts hak_counted(unsigned kind);

/* Sums that rise and fall, and the highest that each ever was; in bytes. One word each for all
 * threads: only for what is rare, or only counted on request. */
enum hak_gauge {
    HAK_GAUGE_MAPPED,    /* address space that the allocator has of the system */
    HAK_GAUGE_COMMITTED, /* of that, what is readable and writable */
    HAK_GAUGE_LIVE,      /* usable bytes of all blocks that are out; see hak_count_out */
    HAK_GAUGE_COUNT
};
void hak_gauge_grow(enum hak_gauge gauge, size_t bytes);
void hak_gauge_shrink(enum hak_gauge gauge, size_t bytes);
uint64_t hak_gauge(enum hak_gauge gauge);
uint64_t hak_gauge_peak(enum hak_gauge gauge);

/* The counter of a name as the table prints it, or HAK_COUNTER_COUNT, also for NULL. */
enum hak_counter hak_counter_named(const char *name);

/* The name of a counter as the table prints it, and what it counts. */
struct hak_counter_name {
    char text[32];
};
struct hak_counter_name hak_counter_name(enum hak_counter counter);
const char *hak_counter_text(enum hak_counter counter);

#endif
