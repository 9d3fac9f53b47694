/* Tells, as the kernel will when it starts the program, whether it gets more rights than its user:
 * by setuid or setgid bits or by capabilities of its file. */
#include "rights.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

const char *rights_gained(const char *path) {
    struct stat status;
    struct statvfs system;
    if (getuid() != geteuid() || getgid() != getegid())
        return "this command is setuid or setgid itself";
    if (stat(path, &status) != 0 ||
        (statvfs(path, &system) == 0 && (system.f_flag & ST_NOSUID) != 0))
        return NULL;
    bool ignores_bits = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    if ((status.st_mode & S_ISUID) && status.st_uid != getuid() && !ignores_bits)
        return "it is setuid";
    /* Without the group's right to execute, the bit means locking and not rights. */
    if ((status.st_mode & S_ISGID) && (status.st_mode & S_IXGRP) && status.st_gid != getgid() &&
        !ignores_bits)
        return "it is setgid";
    /* Root has what they would bring already. */
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "its file has capabilities";
    return NULL;
}
