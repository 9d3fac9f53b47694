/* The recorder's options: HAKMEM_TRACE, HAKMEM_TRACE_MAX, HAKMEM_TRACE_TIMES. */
#ifndef TRACE_SETTINGS_H
#define TRACE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRACE_PATH = 4096 };

typedef struct {
    char pattern[TRACE_PATH]; /* absolute; %p the process, %n the program, %% a percent sign */
    uint64_t max;             /* bytes of one file; UINT64_MAX: no bound */
    bool times;
} trace_settings;

/* Reads them from the environment that the program was started with; it need not be ready for
 * getenv. False, with a sentence said, if one is unsuitable; false and silent in a program that
 * runs with rights of another user. */
bool trace_settings_read(trace_settings *settings);

/* The file's name for a process, into TRACE_PATH bytes; false if it is too long. */
bool trace_settings_name(const trace_settings *settings, int pid, char *path);
/* Whether %p is in the pattern. */
bool trace_settings_each(const trace_settings *settings);

/* Reads the file `path` into `text`, at most room - 1 bytes, and ends it with a zero byte. Returns
 * the bytes read, 0 if it can't be. */
size_t trace_read_text(const char *path, char *text, size_t room);

#endif
