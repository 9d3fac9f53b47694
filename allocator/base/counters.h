/* Counters of rare events, for HAKMEM_STATS and the tests. Never touched on a fast path. */
#ifndef HAK_COUNTERS_H
#define HAK_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

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

/* A thread's counters; they live in its heap, so that counting shares no cache line. Each is
 * written by the thread that uses the heap alone, and read by anyone. */
struct hak_counter_set {
    _Atomic uint64_t value[HAK_COUNTER_COUNT];
    struct hak_counter_set *next; /* among all sets there ever were */
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

/* The counter of a name as the table prints it, or HAK_COUNTER_COUNT. */
enum hak_counter hak_counter_named(const char *name);

/* Prints all counters to standard error. */
void hak_counters_print(void);

#endif
