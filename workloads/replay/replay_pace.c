/* Recorded timing: a call is not made before its time. */
#include "replay_pace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wl_clock.h"

enum { AWAKE_NS = 60000 }; /* about what a sleeper is late */

void replay_pace_wait(replay_pace *pace, int64_t begin_ns, uint64_t after_ns) {
    const int64_t due = begin_ns + (int64_t)((double)after_ns / pace->speed);
    int64_t now = wl_now_ns();
    if (due - now > AWAKE_NS) {
        const int64_t until = due - AWAKE_NS;
        const struct timespec time = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0)
            continue; /* a signal came */
        now = wl_now_ns();
    }
    while (now < due)
        now = wl_now_ns();
    if ((uint64_t)(now - due) > pace->latest_ns)
        pace->latest_ns = (uint64_t)(now - due);
}

bool replay_pace_parse(const char *text, double *speed) {
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    if (*rest == '.') {
        const size_t decimals = strspn(rest + 1, "0123456789");
        rest += 1 + decimals;
        digits += decimals;
    }
    if (digits == 0 || digits > 30 || *rest != '\0')
        return false;
    *speed = strtod(text, NULL);
    return *speed >= REPLAY_SPEED_LEAST && *speed <= REPLAY_SPEED_MOST;
}
