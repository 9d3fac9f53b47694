/* Two clocks: nanoseconds for phases, and processor ticks for the time of a single call. */
#ifndef WL_CLOCK_H
#define WL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Nanoseconds of a clock that is never set back. */
static inline int64_t wl_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Processor time of the calling thread, in nanoseconds. */
static inline int64_t wl_thread_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* True where ticks are those of the processor's own counter (x86-64: an invariant TSC, aarch64:
 * the virtual counter); otherwise a tick is a nanosecond of wl_now_ns. Set by wl_ticks_start. */
extern bool wl_ticks_from_processor;

/* The time before and after the call that is measured. The fences keep the call's instructions
 * between the two readings; what they cost is reported as the clock's own time. */
static inline uint64_t wl_ticks_before(void) {
#if defined(__x86_64__)
    if (wl_ticks_from_processor) {
        _mm_lfence();
        uint64_t ticks = __rdtsc();
        _mm_lfence();
        return ticks;
    }
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks)::"memory");
    return ticks;
#endif
    return (uint64_t)wl_now_ns();
}

static inline uint64_t wl_ticks_after(void) {
#if defined(__x86_64__)
    if (wl_ticks_from_processor) {
        unsigned processor;
        uint64_t ticks = __rdtscp(&processor);
        _mm_lfence();
        return ticks;
    }
#elif defined(__aarch64__)
    return wl_ticks_before();
#endif
    return (uint64_t)wl_now_ns();
}

/* Chooses the tick source and notes the start of its calibration. Call once, early. */
void wl_ticks_start(void);

/* Nanoseconds of a tick, measured against wl_now_ns over the time since wl_ticks_start; waits
 * until that is 20 ms at least, so that the ratio is good to better than 0.01%. */
double wl_ticks_ns(void);

/* Ticks that wl_ticks_before and wl_ticks_after show around nothing: the median of many. */
uint64_t wl_ticks_own_cost(void);

#endif
