/* The program that hakmem is to serve: where it is, and whether a preloaded library can serve it.
 */
#ifndef TOOL_PROGRAM_H
#define TOOL_PROGRAM_H

#include "library.h"

#include <limits.h>

#define PROGRAM_TEXT_MOST (2 * PATH_MAX + 400) /* bytes */

struct verdict {
    int status;                     /* 0: it works; else what the command is to end with */
    char why[PROGRAM_TEXT_MOST];    /* if it does not: a sentence that begins with the program */
    char notes[PROGRAM_TEXT_MOST];  /* what else there is to know, in lines; or "" */
    char serves[PROGRAM_TEXT_MOST]; /* what runs in the end: the program, or its interpreter */
};

/* Finds a program as a shell does, along PATH unless there is a slash in its name, and judges it.
 * Its path goes to `path` if there is a file. */
void program_judge(const char *name, const struct library *library, char path[PATH_MAX],
                   struct verdict *verdict);

#endif
