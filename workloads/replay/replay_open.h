/* Opens a trace file for reading, decompressed where it is compressed. */
#ifndef REPLAY_OPEN_H
#define REPLAY_OPEN_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of a file, mapped. */
typedef struct {
    const unsigned char *bytes;
    size_t size;
    int file; /* may be read again from its beginning; of decompressed contents: a file in memory */
} replay_file;

/*
 * Opens `path` ("-": standard input; a name that no file has: one of workloads/replay/traces). What
 * gzip, xz or zstd compressed is recognised by its first bytes and decompressed by the program of
 * that name into a file in memory, which belongs to no allocator. What can't be read or
 * decompressed ends the program with exit status 2 and a sentence. The main thread, before there
 * are others.
 */
replay_file replay_open(const char *path);
void replay_close(replay_file *file);

#endif
