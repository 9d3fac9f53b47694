/* Opens a trace file for reading, decompressed where it is compressed. */
#ifndef TRACE_INPUT_H
#define TRACE_INPUT_H

#include "trace_read.h"

/* The bytes of a file, mapped. */
typedef struct {
    const unsigned char *bytes;
    size_t size;
    int file; /* may be read again from its beginning; of decompressed contents: a file in memory */
} trace_input;

/*
 * Opens `path` ("-": standard input; a name that no file has: one of workloads/replay/traces). What
 * gzip, xz or zstd compressed is recognised by its first bytes and decompressed by the program of
 * that name into a file in memory, which belongs to no allocator. What can't be read or
 * decompressed ends the program with exit status 2 and a sentence. The main thread, before there
 * are others.
 */
trace_input trace_input_open(const char *path);
void trace_input_close(trace_input *file);

/* A reader of it; `path` is for messages. What is no trace, or is damaged, ends the program in the
 * same way. */
trace_reader *trace_input_read(const trace_input *file, const char *path);

#endif
