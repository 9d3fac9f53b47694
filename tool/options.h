/* The library's options, as the library itself tells them. */
#ifndef TOOL_OPTIONS_H
#define TOOL_OPTIONS_H

#include "library.h"

#include <stdbool.h>

/* Prints the list of options on standard output: for reading, or as a table whose columns, name,
 * default, range and text, are separated by tabs. */
void options_print(const struct library *library, bool table);

/* Puts an option into the environment, for the program that is started next. `setting` is
 * NAME=VALUE, NAME as in the environment or, shorter, purge_delay for HAKMEM_PURGE_DELAY. Where the
 * library knows no such option or takes no such value, ends the command with STATUS_USAGE. */
void options_set(const struct library *library, const char *setting);

/* The command word with which the command starts itself to ask the library. */
#define OPTIONS_PROBE "--probe"

/* What that process does: enters the library, which then reads its options, and ends at once. */
_Noreturn void options_probe(void);

#endif
