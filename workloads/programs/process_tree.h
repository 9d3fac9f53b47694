/* Runs a program with an allocator preloaded, and whatever it starts, to the end of the last. */
#ifndef WL_PROCESS_TREE_H
#define WL_PROCESS_TREE_H

#include <stdint.h>

#include "wl_process.h"

typedef struct {
    char **program; /* NULL at the end */
    char **client;  /* talks to the program; not measured, not preloaded; NULL: none */
    const char *preload, *witness;
    const char *input, *output; /* the program's standard streams; NULL: nothing */
    int witness_file;
} wl_tree;

/*
 * Starts the program, then the client, and waits for all processes that come of the program. What
 * it returns is their processor time and page faults together, and the wall time; resident memory
 * is left 0. The processor time of the client is not in it.
 * Ends the caller with exit status 1 and a sentence where something can't be started, where the
 * client fails, or where the program ends with another status than 0; where a signal ended it, the
 * caller ends by the same signal. Call once; the caller adopts orphans of the program.
 */
wl_usage wl_tree_run(const wl_tree *tree);

#endif
