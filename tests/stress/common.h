/* What the programs of this folder share: arguments, a clock, resident memory, and failing with the
 * command that repeats the run. Nothing here allocates once the run has begun. */
#ifndef STRESS_COMMON_H
#define STRESS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An argument of the form --name VALUE, a whole number from `low` to `high`. */
struct argument {
    const char *name;
    uint64_t low, high;
    uint64_t *value; /* the default before, what was given after */
    bool given;
};

/* Reads the command line. --help prints `usage` and ends the program with status 0; anything that
 * is no argument of the table, or out of its range, ends it with one sentence and status 2. */
void arguments_read(int argc, char **argv, struct argument *table, size_t count, const char *usage);

/* Ends the program with status 2 after one sentence about its arguments. */
_Noreturn void arguments_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Composes the command that repeats this run: the environment that matters, the program, and the
 * arguments in `table` with their present values, those whose `given` is set. Prints it, and makes
 * a fatal signal or a sanitizer's report print it again. To be called once, by the main thread. */
void repeat_announce(const char *program, const struct argument *table, size_t count);

/* Ends the program with status 1 after the message and the command that repeats the run. Any thread
 * may call it; nothing is allocated. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes of this process in memory, by the system's account. */
size_t resident_bytes(void);

/* Seconds since some point in the past; never goes back. */
double now_seconds(void);

void sleep_ms(unsigned milliseconds);

/* `size` bytes of zeros, resident from the start, that no allocator knows of. */
void *own_memory(size_t size);

/* A generator for each thread (Marsaglia, "Xorshift RNGs", 2003; the multiplier is Vigna's, "An
 * experimental exploration of Marsaglia's xorshift generators, scrambled", 2016). */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1du;
}

/* A state for the generator, from a seed of any value; never 0. */
uint64_t random_state(uint64_t seed, uint64_t stream);

#endif
