/* Calls of the allocator, measured. */
#include "worst.h"
#include "../stress/common.h"
#include "base/counters.h"
#include "hakmem.h"
#include "heap/heap.h"

#include <pthread.h>

const char *const kind_names[KINDS] = {"malloc", "free", "realloc", "thread start", "thread end"};
_Thread_local struct worst worst_here;

static void raise_to(uint64_t *most, uint64_t value) {
    if (value > *most)
        *most = value;
}

void worst_add(struct worst *sum, const struct worst *one) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    for (int k = 0; k < KINDS; k++) {
        raise_to(&sum->steps[k], one->steps[k]);
        raise_to(&sum->calls[k], one->calls[k]);
        sum->done[k] += one->done[k];
    }
    pthread_mutex_unlock(&lock);
}

struct mark {
    uint64_t steps, calls;
};

/* The thread's own count: nobody else's calls are in it. */
static uint64_t calls_now(void) {
    struct hak_counter_set *set = hak_counters ? hak_counters : &hak_counters_of_all;
    return atomic_load_explicit(&set->value[HAK_COUNT_SYSTEM_CALLS], memory_order_relaxed);
}

static struct mark begin(void) {
    uint64_t calls = calls_now();
    return (struct mark){.steps = steps_done, .calls = calls};
}

static void end(enum kind kind, struct mark mark) {
    raise_to(&worst_here.steps[kind], steps_done - mark.steps);
    raise_to(&worst_here.calls[kind], calls_now() - mark.calls);
    worst_here.done[kind]++;
}

static void *checked(void *block, size_t size) {
    if (!block)
        fail("no memory for %zu bytes", size);
    return block;
}

void *measured_malloc(size_t size) {
    struct mark mark = begin();
    void *block = hak_malloc(size);
    end(MALLOC, mark);
    return checked(block, size);
}

void measured_free(void *block) {
    struct mark mark = begin();
    hak_free(block);
    end(FREE, mark);
}

void *measured_realloc(void *block, size_t size) {
    struct mark mark = begin();
    block = hak_realloc(block, size);
    end(REALLOC, mark);
    return checked(block, size);
}

/* Before the call the thread has no counters of its own, and after it those of a heap that may have
 * served others: so the system calls of all are counted. Only exact while no other thread runs. */
void *measured_start(size_t size) {
    uint64_t calls = hak_counter(HAK_COUNT_SYSTEM_CALLS), steps = steps_done;
    void *block = hak_malloc(size);
    steps = steps_done - steps;
    raise_to(&worst_here.steps[START], steps);
    raise_to(&worst_here.calls[START], hak_counter(HAK_COUNT_SYSTEM_CALLS) - calls);
    worst_here.done[START]++;
    return checked(block, size);
}

void measured_end(void) {
    uint64_t calls = hak_counter(HAK_COUNT_SYSTEM_CALLS), steps = steps_done;
    hak_heap_exit();
    steps = steps_done - steps;
    raise_to(&worst_here.steps[END], steps);
    raise_to(&worst_here.calls[END], hak_counter(HAK_COUNT_SYSTEM_CALLS) - calls);
    worst_here.done[END]++;
}
