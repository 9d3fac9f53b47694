/*
 * The course of a replay: when the recording's quarters ended, and what memory did meanwhile.
 *
 * A point is passed when the last of its calls has been made, whichever thread made it; that thread
 * takes the readings. Nobody waits at a point, so that threads may be in different quarters; they
 * meet only where a loop of the recording ends, before what is left is freed, and after that.
 */
#ifndef REPLAY_COURSE_H
#define REPLAY_COURSE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replay_plan.h"
#include "wl_driver.h"

enum { REPLAY_PHASES = REPLAY_QUARTERS + 1 };

typedef struct {
    const replay_plan *plan;
    wl_run *run;
    uint64_t loops_wanted; /* 0: until the run's time is over */
    uint64_t loops;        /* that have ended */
    bool again; /* the next loop shall be played; valid between the loops' two meetings */
    pthread_barrier_t meeting;
    wl_usage last; /* at the end of the phase before */
    wl_phase phases[REPLAY_PHASES];
    atomic_uint passed[REPLAY_POINTS_MOST]; /* threads that have passed the point in this loop */
    wl_memory_point memory[REPLAY_POINTS_MOST]; /* of the first loop */
    int64_t begin_ns;                           /* of this loop */
} replay_course;

/* The plan and the run must outlive the course. */
void replay_course_init(replay_course *course, const replay_plan *plan, wl_run *run,
                        uint64_t loops_wanted);

/* One thread, once, before any of them plays. */
void replay_course_begin(replay_course *course);

/* A thread has made all its calls up to the point; in every loop, in the points' order. */
void replay_course_pass(replay_course *course, unsigned point);

/* A thread has made its calls: returns when all have. */
void replay_course_meet(replay_course *course);

/* A thread has freed what it had left: returns when all have. False after the last loop. */
bool replay_course_goes_on(replay_course *course);

/* After the run's last mark: what lies between the last loop and the mark belongs to the drain. */
void replay_course_end(replay_course *course);

#endif
