/* The recorder's file: its name, its beginning, and the space in it. One thread at a time. */
#ifndef TRACE_FILE_H
#define TRACE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "settings.h"
#include "trace_format.h"

/* A process's recording, as its children find it in their copy. */
typedef struct {
    int fd; /* -1: there is none */
    uint64_t device, inode;
    uint64_t id;
    int32_t pid;
    char path[TRACE_PATH];
    /* Of the fork that is going on or made this process; 0 and UINT32_MAX: unknown. */
    uint64_t fork_before, fork_after;
    uint32_t fork_thread;
} trace_recording;

typedef struct {
    trace_header *header; /* mapped; NULL: there is no file */
    uint64_t bytes;       /* that have space in the file */
    bool ended;           /* the process has: no more space than is asked for */
} trace_file;

/*
 * Makes this process's file by the settings and maps its beginning, all but its magic and its
 * clock. `recording` is the parent's, or has fd -1; the parent's descriptor is closed, the new
 * file's takes its place. False, with a sentence said if `aloud`, if it can't be.
 */
bool trace_file_begin(trace_file *file, trace_recording *recording, const trace_settings *settings,
                      bool aloud);

/* Sees to it that the file has space for its first `bytes`, and for some more up to `max`. If not,
 * says why in errno's terms. */
trace_stop trace_file_extend(trace_file *file, const trace_recording *recording, uint64_t bytes,
                             uint64_t max, int *error);

/* Maps a part of the file that has space, units of it; NULL and errno if it can't be mapped. It is
 * not in the memory of children. */
void *trace_file_map(const trace_recording *recording, uint64_t at, uint64_t bytes);

/* Cuts the file to `bytes`, at least what is mapped of it. */
void trace_file_cut(trace_file *file, const trace_recording *recording, uint64_t bytes);

#endif
