/* How LD_PRELOAD names the library. */
#ifndef TOOL_PRELOAD_H
#define TOOL_PRELOAD_H

#include "library.h"

#include <limits.h>

/* The library's path, or, where LD_PRELOAD can't name that since a space or a colon would end it,
 * the path of a symbolic link in a folder of the user's own below the one for temporary files. The
 * link stays there: the program's children need it, too. Ends the command with STATUS_REFUSED where
 * the link can't be made. */
void preload_name(const struct library *library, char name[PATH_MAX]);

/* Puts the library before whatever the environment's LD_PRELOAD holds. */
void preload_add(const struct library *library);

#endif
