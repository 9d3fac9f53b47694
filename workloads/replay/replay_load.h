/* Reads a recorded trace into the list of its calls. */
#ifndef REPLAY_LOAD_H
#define REPLAY_LOAD_H

#include "replay_event.h"

/*
 * The calls of the trace in `path`, compressed or not (trace_input.h), in the order in which they
 * were made. A file that can't be read, is no trace or is damaged ends the program with exit status
 * 2 and a sentence. The main thread, before there are others. Free with replay_unload.
 */
replay_events replay_load(const char *path);
void replay_unload(replay_events *events);

#endif
