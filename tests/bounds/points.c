/* Stops a thread at every place of the allocator that it passes, and sees that the others go on.
 *
 * Every basic block of the allocator calls us here (steps.h). One thread, the victim, waits at each
 * one that it comes to for the first few times, and at random ones later, until each of the others
 * has done a whole round of everything, threads that begin and end among it. One that holds a lock
 * where it waits is found so, each time. */
#include "rounds.h"
#include "steps.h"
#include "../stress/common.h"

#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

extern const char __executable_start[]; /* of the linker: places are told relative to it */

#define HELPERS     2u
#define PLACES      8192u /* of a hash table; places are some thousands */
#define BLOCKED_MAX 64u   /* places that are told of */

static uint64_t seconds_most = 8, times = 1, wait_seconds = 5, planted;
static _Atomic bool over;
static _Atomic uint64_t rounds_done[HELPERS];
static _Atomic uintptr_t stopped_at; /* 0: the victim runs */
static sem_t stopped, resume;

/* ---- the victim ------------------------------------------------------------------------------ */

static struct {
    uintptr_t place;
    uint64_t stops;
} seen[PLACES]; /* the victim's and, while it waits for them, its children's */
static unsigned places;
static uint64_t victim_seed;

static void wait_for(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0)
        ;
}

static void stop_here(uintptr_t place) {
    stopped_at = place;
    sem_post(&stopped);
    wait_for(&resume);
}

static void at_step(uintptr_t place) {
    unsigned i = (unsigned)(place * 0x9e3779b97f4a7c15u >> 51) % PLACES;
    while (seen[i].place && seen[i].place != place)
        i = (i + 1) % PLACES;
    if (!seen[i].place) {
        seen[i].place = place;
        if (++places == PLACES - 1)
            fail("there are more places than %u", PLACES);
    }
    if (over || (seen[i].stops >= times && random_next(&victim_seed) % 20000))
        return;
    seen[i].stops++;
    stop_here(place);
}

static pthread_mutex_t planted_lock = PTHREAD_MUTEX_INITIALIZER;

/* A lock as an allocator might have one, in the victim's way and in the others': the program has to
 * find it. */
static void take_planted_lock(void) {
    if (!planted)
        return;
    pthread_mutex_lock(&planted_lock);
    if (steps_hook)
        at_step((uintptr_t)&planted_lock);
    pthread_mutex_unlock(&planted_lock);
}

/* A thread that begins, allocates a little, frees another's and ends. */
static void *short_life(void *parent) {
    steps_hook = (void (*)(uintptr_t))parent;
    struct rounds rounds = {.seed = random_state(3, 3)};
    for (unsigned i = 0; i < 2; i++)
        round_of_everything(&rounds);
    rounds_end(&rounds);
    return NULL;
}

static void one_round(struct rounds *rounds) {
    take_planted_lock();
    round_of_everything(rounds);
    void (*hook)(uintptr_t) = steps_hook;
    steps_hook =
        NULL; /* what the C library allocates for a thread may be under a lock of its own */
    pthread_t child;
    if (pthread_create(&child, NULL, short_life, (void *)hook) != 0)
        fail("no thread");
    pthread_join(child, NULL);
    steps_hook = hook;
}

static void *victim(void *ignored) {
    struct rounds rounds = {.seed = random_state(1, 1)};
    while (!over) {
        steps_hook = at_step;
        one_round(&rounds);
        steps_hook = NULL;
        if (random_next(&rounds.seed) % 8 == 0)
            rounds_end(&rounds); /* slabs become empty */
    }
    rounds_end(&rounds);
    return ignored;
}

/* ---- the others ------------------------------------------------------------------------------ */

static void *helper(void *number) {
    uintptr_t i = (uintptr_t)number;
    struct rounds rounds = {.seed = random_state(2, i)};
    while (!over) {
        one_round(&rounds);
        rounds_done[i]++;
    }
    rounds_end(&rounds);
    return NULL;
}

/* Whether each of the others does a round that begins now, before the time is over. */
static bool others_go_on(double *longest) {
    uint64_t before[HELPERS];
    for (unsigned i = 0; i < HELPERS; i++)
        before[i] = rounds_done[i];
    double start = now_seconds();
    for (unsigned i = 0; i < HELPERS; i++)
        while (rounds_done[i] < before[i] + 2) {
            if (now_seconds() - start > (double)wait_seconds)
                return false;
            sched_yield();
        }
    if (now_seconds() - start > *longest)
        *longest = now_seconds() - start;
    return true;
}

static const char usage[] =
    "usage: bounds_points [--seconds N] [--times N] [--wait-seconds N] [--planted 0|1]\n"
    "Stops a thread at each basic block of the allocator that it comes to, and sees that two "
    "others\n"
    "complete all kinds of calls meanwhile. Status 1, and the places, if they can't.\n"
    "  --seconds N       at most so long (default 8)\n"
    "  --times N         stops at each place (default 1)\n"
    "  --wait-seconds N  what the others have for a round (default 5)\n"
    "  --planted 1       with a lock in the way, to see that it is found\n";

int main(int argc, char **argv) {
    struct argument table[] = {{"seconds", 1, 100000, &seconds_most, false},
                               {"times", 1, 1000000, &times, false},
                               {"wait-seconds", 1, 1000, &wait_seconds, false},
                               {"planted", 0, 1, &planted, false}};
    arguments_read(argc, argv, table, sizeof table / sizeof *table, usage);
    repeat_announce(argv[0], table, sizeof table / sizeof *table);
    victim_seed = random_state((uint64_t)(now_seconds() * 1e6), 0);
    sem_init(&stopped, 0, 0);
    sem_init(&resume, 0, 0);
    pthread_t threads[HELPERS + 1];
    for (uintptr_t i = 0; i <= HELPERS; i++)
        if (pthread_create(&threads[i], NULL, i < HELPERS ? helper : victim, (void *)i) != 0)
            fail("no thread");
    double end = now_seconds() + (double)seconds_most, longest = 0;
    uintptr_t blocked[BLOCKED_MAX];
    uint64_t stops = 0;
    unsigned blockings = 0;
    for (; now_seconds() < end; stops++) {
        wait_for(&stopped);
        bool went_on = others_go_on(&longest);
        if (!went_on && blockings < BLOCKED_MAX)
            blocked[blockings++] = stopped_at;
        sem_post(&resume);
    }
    over = true;
    sem_post(&resume);
    for (unsigned i = 0; i <= HELPERS; i++)
        pthread_join(threads[i], NULL);
    printf("%" PRIu64 " stops at %u places; a round of the others took at most %.3f s meanwhile\n",
           stops, places, longest);
    for (unsigned i = 0; i < blockings; i++)
        printf("blocked at %#" PRIxPTR "\n", blocked[i] - (uintptr_t)__executable_start);
    puts(blockings ? "a thread that stops stops others" : "all went on");
    return blockings != 0;
}
