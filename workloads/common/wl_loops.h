/* A driver's loops, compiled once for each mode: so the hot ones ask nothing while they run. */
#ifndef WL_LOOPS_H
#define WL_LOOPS_H

#include "wl_driver.h"

#define WL_LOOP_OF(loop, mode)                                                                     \
    static void loop##_##mode(void *self, uint64_t count) {                                        \
        loop(self, count, mode, false);                                                            \
    }                                                                                              \
    static void loop##_timed_##mode(void *self, uint64_t count) {                                  \
        loop(self, count, mode, true);                                                             \
    }

#define WL_LOOPS_OF(type, steady, mode)                                                            \
    WL_LOOP_OF(steady, mode)                                                                       \
    static void fill_##mode(type *self) {                                                          \
        fill(self, mode);                                                                          \
    }                                                                                              \
    static void drain_##mode(type *self) {                                                         \
        drain(self, mode);                                                                         \
    }

#define WL_LOOPS_ROW(steady, mode)                                                                 \
    { steady##_##mode, steady##_timed_##mode, fill_##mode, drain_##mode }

/* The table `loops`, by mode, of a driver whose threads have a `type` each: the steady part, with
 * and without timing single calls, and what comes before and after it. The driver has the inline
 * functions `steady`(type *, uint64_t count, const int mode, const bool timed), and fill and
 * drain(type *, const int mode). */
#define WL_LOOPS(type, steady)                                                                     \
    WL_LOOPS_OF(type, steady, 0)                                                                   \
    WL_LOOPS_OF(type, steady, 1)                                                                   \
    WL_LOOPS_OF(type, steady, 2)                                                                   \
    WL_LOOPS_OF(type, steady, 3)                                                                   \
    static const struct {                                                                          \
        wl_loop *steady, *steady##_timed;                                                          \
        void (*fill)(type *);                                                                      \
        void (*drain)(type *);                                                                     \
    } loops[WL_MODES] = {WL_LOOPS_ROW(steady, 0), WL_LOOPS_ROW(steady, 1),                         \
                         WL_LOOPS_ROW(steady, 2), WL_LOOPS_ROW(steady, 3)}

#define WL_TWO_LOOPS_OF(one, other, mode) WL_LOOP_OF(one, mode) WL_LOOP_OF(other, mode)

#define WL_TWO_LOOPS_ROW(one, other, mode)                                                         \
    { one##_##mode, one##_timed_##mode, other##_##mode, other##_timed_##mode }

/* The same of a driver with two such functions and no more, each with and without timing. */
#define WL_TWO_LOOPS(one, other)                                                                   \
    WL_TWO_LOOPS_OF(one, other, 0)                                                                 \
    WL_TWO_LOOPS_OF(one, other, 1)                                                                 \
    WL_TWO_LOOPS_OF(one, other, 2)                                                                 \
    WL_TWO_LOOPS_OF(one, other, 3)                                                                 \
    static const struct {                                                                          \
        wl_loop *one, *one##_timed, *other, *other##_timed;                                        \
    } loops[WL_MODES] = {WL_TWO_LOOPS_ROW(one, other, 0), WL_TWO_LOOPS_ROW(one, other, 1),         \
                         WL_TWO_LOOPS_ROW(one, other, 2), WL_TWO_LOOPS_ROW(one, other, 3)}

#endif
