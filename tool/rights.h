/* Whether a program would get more rights than its user has: then the loader trusts no environment.
 */
#ifndef TOOL_RIGHTS_H
#define TOOL_RIGHTS_H

/* How the program at `path` gets more rights than this process has, such as "it is setuid", or NULL
 * if it gets none. A text that lives for ever. */
const char *rights_gained(const char *path);

#endif
