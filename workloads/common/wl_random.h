/*
 * Random numbers of the workloads: SplitMix64, one independent stream for each thread.
 *
 * Written from the published description: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast Splittable
 * Pseudorandom Number Generators", OOPSLA 2014: a Weyl sequence (state += odd constant) whose
 * values pass through a 64-bit finalizer (D. Stafford's variant 13 of MurmurHash3's).
 * It is chosen because only one addition links a draw to the one before, so that a processor
 * computes the next choice while it is still busy in malloc.
 */
#ifndef WL_RANDOM_H
#define WL_RANDOM_H

#include <stdint.h>

typedef struct {
    uint64_t state;
} wl_random;

/* A bijection of 64-bit words in which every input bit changes half of the output bits. */
static inline uint64_t wl_mix(uint64_t word) {
    word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
    return word ^ (word >> 31);
}

/* Uniform over all 64-bit words. */
static inline uint64_t wl_random_next(wl_random *random) {
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return wl_mix(random->state);
}

/* The stream `number` of the run's seed. Streams start at unrelated places of the sequence. */
static inline wl_random wl_random_stream(uint64_t seed, uint64_t number) {
    return (wl_random){wl_mix(wl_mix(seed + UINT64_C(0x632be59bd9b4e019)) ^
                              (number * UINT64_C(0xd1342543de82ef95)))};
}

/* 0 to range-1 from 32 random bits, by a multiplication in place of a division.
 * range is 1 to 2^32; no value is more than range/2^32 likelier than another. */
static inline uint64_t wl_random_below(uint32_t bits, uint64_t range) {
    return ((uint64_t)bits * range) >> 32;
}

static inline uint32_t wl_high_bits(uint64_t word) {
    return (uint32_t)(word >> 32);
}
static inline uint32_t wl_low_bits(uint64_t word) {
    return (uint32_t)word;
}

/* Takes one choice into a checksum of a sequence; the order of the choices matters. */
static inline uint64_t wl_checksum_add(uint64_t checksum, uint64_t choice) {
    return (checksum ^ choice) * UINT64_C(0xff51afd7ed558ccd) + 1;
}

#endif
