/*
 * The engine of cache_thrash and cache_scratch: threads that write small objects of their own, and
 * are slow where an allocator put objects of several threads into one cache line.
 *
 * After E. D. Berger, K. S. McKinley, R. D. Blumofe, P. R. Wilson, "Hoard: A Scalable Memory
 * Allocator for Multithreaded Applications", ASPLOS 2000, whose section on benchmarks names them
 * active-false and passive-false: each thread allocates one small object, writes on it a given
 * number of times, frees it, and begins again; in passive-false one thread allocates the first
 * objects, one for each thread, and each begins by freeing the one it was given.
 */
#ifndef FALSE_SHARING_H
#define FALSE_SHARING_H

#include <stdbool.h>

/* What tells the two drivers apart. */
typedef struct {
    const char *program; /* its name */
    const char *summary; /* for --help */
    bool handover;       /* the first thread allocates the first object of every thread */
} fs_driver;

/* The driver's main(): returns the exit status. */
int false_sharing_main(const fs_driver *driver, int argc, char **argv);

#endif
