/* Recorded timing: a call is not made before its time. */
#ifndef REPLAY_PACE_H
#define REPLAY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_SPEED_LEAST 0.001
#define REPLAY_SPEED_MOST  1000000.0

/* Of one thread. */
typedef struct {
    double speed;       /* recorded seconds in a second */
    uint64_t latest_ns; /* by which a call came after its time */
} replay_pace;

/* Returns when it is time for a call that was recorded `after_ns` after the first: begin_ns +
 * after_ns / speed, on the clock of wl_now_ns. Sleeps, and looks at the clock for the last 60 us.
 */
void replay_pace_wait(replay_pace *pace, int64_t begin_ns, uint64_t after_ns);

/* Reads a speed: digits with at most one point, in the range above. */
bool replay_pace_parse(const char *text, double *speed);

#endif
