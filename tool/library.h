/* The library that is preloaded, and where it lies. */
#ifndef TOOL_LIBRARY_H
#define TOOL_LIBRARY_H

#include "elf_file.h"

#include <limits.h>

struct library {
    char path[PATH_MAX]; /* absolute */
    elf_file file;       /* mapped until the command ends */
};

/* Finds the library: what the environment's HAKMEM_LIBRARY names, else beside this command (in the
 * tree it was built in), else in the folder for libraries beside this command's. Where there is
 * none, or it can't be read or is no hakmem, ends the command with STATUS_REFUSED and says so. */
void library_find(struct library *library);

#endif
