/* Two clocks: nanoseconds for phases, and processor ticks for the time of a single call. */
#include "wl_clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { CALIBRATION_NS = 20000000, COST_READINGS = 501 };

bool wl_ticks_from_processor;
static int64_t start_ns;
static uint64_t start_ticks;

static bool processor_counter_is_steady(void) {
#if defined(__x86_64__)
    /* Invariant TSC: one rate whatever the core's frequency and sleep state. */
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007U, &a, &b, &c, &d) != 0 && (d & (1U << 8)) != 0;
#elif defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

void wl_ticks_start(void) {
    wl_ticks_from_processor = processor_counter_is_steady();
    start_ns = wl_now_ns();
    start_ticks = wl_ticks_before();
}

double wl_ticks_ns(void) {
    if (!wl_ticks_from_processor)
        return 1.0;
    int64_t ns;
    uint64_t ticks;
    do {
        ns = wl_now_ns() - start_ns;
        ticks = wl_ticks_before() - start_ticks;
    } while (ns < CALIBRATION_NS || ticks == 0);
    return (double)ns / (double)ticks;
}

uint64_t wl_ticks_own_cost(void) {
    static uint64_t costs[COST_READINGS]; /* kept in order; qsort() might call malloc */
    for (int count = 0; count < COST_READINGS; count++) {
        uint64_t before = wl_ticks_before();
        uint64_t cost = wl_ticks_after() - before;
        int place = count;
        for (; place > 0 && costs[place - 1] > cost; place--)
            costs[place] = costs[place - 1];
        costs[place] = cost;
    }
    return costs[COST_READINGS / 2];
}
