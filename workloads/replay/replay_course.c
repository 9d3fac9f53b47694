/* The course of a replay: when the recording's quarters ended, and what memory did meanwhile. */
#include "replay_course.h"

#include <string.h>

#include "wl_clock.h"
#include "wl_fail.h"

static const char *const names[REPLAY_PHASES] = {"quarter1", "quarter2", "quarter3", "quarter4",
                                                 "drain"};

void replay_course_init(replay_course *course, const replay_plan *plan, wl_run *run,
                        uint64_t loops_wanted) {
    course->plan = plan;
    course->run = run;
    course->loops_wanted = loops_wanted;
    for (unsigned i = 0; i < REPLAY_PHASES; i++)
        course->phases[i].name = names[i];
    if (pthread_barrier_init(&course->meeting, NULL, plan->threads) != 0)
        wl_fail(WL_EXIT_RUN, "pthread_barrier_init failed");
}

void replay_course_begin(replay_course *course) {
    course->last = course->run->marks[WL_MARK_START];
    course->begin_ns = wl_now_ns();
}

/* The time from the end of the phase before to now belongs to `phase`. */
static void end_phase(replay_course *course, unsigned which, uint64_t operations, wl_usage now) {
    wl_phase *phase = &course->phases[which];
    const wl_usage *before = &course->last;
    phase->operations += operations;
    phase->wall_seconds += (double)(now.wall_ns - before->wall_ns) / 1e9;
    phase->cpu_seconds += (double)(now.cpu_user_ns - before->cpu_user_ns + now.cpu_system_ns -
                                   before->cpu_system_ns) /
                          1e9;
    phase->minor_faults += now.minor_faults - before->minor_faults;
    phase->rss_bytes = now.rss_bytes;
    course->last = now;
}

void replay_course_pass(replay_course *course, unsigned point) {
    const replay_plan *plan = course->plan;
    const unsigned per_quarter = plan->point_count / REPLAY_QUARTERS;
    const bool ends_quarter = (point + 1) % per_quarter == 0;
    if (course->loops > 0 && !ends_quarter)
        return;
    /* acquire and release: the last one sees what those before it wrote, and follows them */
    if (atomic_fetch_add_explicit(&course->passed[point], 1, memory_order_acq_rel) + 1 !=
        plan->threads)
        return;
    atomic_store_explicit(&course->passed[point], 0, memory_order_relaxed);
    if (course->loops == 0)
        course->memory[point] = (wl_memory_point){
            .operations = plan->points[point].calls,
            .seconds = (double)(wl_now_ns() - course->begin_ns) / 1e9,
            .live_bytes = plan->points[point].live_bytes,
            .rss_bytes = wl_process_status().resident_bytes,
        };
    if (ends_quarter) {
        const uint64_t before =
            point + 1 > per_quarter ? plan->points[point - per_quarter].calls : 0;
        end_phase(course, point / per_quarter, plan->points[point].calls - before, wl_usage_now());
    }
}

void replay_course_meet(replay_course *course) {
    (void)pthread_barrier_wait(&course->meeting);
}

bool replay_course_goes_on(replay_course *course) {
    if (pthread_barrier_wait(&course->meeting) == PTHREAD_BARRIER_SERIAL_THREAD) {
        end_phase(course, REPLAY_QUARTERS, course->plan->drain_calls, wl_usage_now());
        course->begin_ns = course->last.wall_ns;
        course->loops++;
        course->again = course->loops_wanted > 0
                            ? course->loops < course->loops_wanted
                            : !wl_run_over(course->run) && wl_now_ns() < course->run->deadline_ns;
    }
    (void)pthread_barrier_wait(&course->meeting);
    return course->again;
}

void replay_course_end(replay_course *course) {
    end_phase(course, REPLAY_QUARTERS, 0, course->run->marks[WL_MARK_DRAINED]);
}
