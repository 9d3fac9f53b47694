/* Finds the library and makes sure that it is one. */
#include "library.h"
#include "say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The Makefile knows these: LIBRARY_SONAME, such as libhakmem.so.0, LIBRARY_MULTIARCH, such as
 * x86_64-linux-gnu, which may be empty, and LIBRARY_FOLDER, where it is to be installed. */

/* ---- where it lies ------------------------------------------------------------------------- */

static bool is_readable(const char *path) {
    return access(path, R_OK) == 0;
}

/* Sets the path to FOLDER/SONAME, without links in the folder; false if it is not there. */
static bool try_folder(struct library *library, const char *folder) {
    char real[PATH_MAX];
    if (!realpath(folder, real))
        return false;
    int length = snprintf(library->path, sizeof library->path, "%s/" LIBRARY_SONAME,
                          strcmp(real, "/") == 0 ? "" : real);
    return length > 0 && (size_t)length < sizeof library->path && is_readable(library->path);
}

static bool try_beside_command(struct library *library) {
    static const char *const folders[] = {"", "/../lib", "/../lib64",
                                          ("/../lib/" LIBRARY_MULTIARCH)};
    char command[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", command, sizeof command - 1);
    if (length <= 0)
        return false;
    command[length] = '\0';
    *strrchr(command, '/') = '\0';
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char folder[PATH_MAX + 64];
        snprintf(folder, sizeof folder, "%s%s", command, folders[i]);
        if (try_folder(library, *folder ? folder : "/"))
            return true;
    }
    return false;
}

/* HAKMEM_LIBRARY may be a relative path, which the program's children would look up elsewhere. */
static void take_named(struct library *library, const char *name) {
    char folder[PATH_MAX] = ".";
    char real[PATH_MAX];
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    size_t length = slash ? (size_t)(slash - name) + 1 : 0;
    if (length >= sizeof folder)
        give_up(STATUS_REFUSED, "HAKMEM_LIBRARY: the path is too long");
    if (length > 0) {
        memcpy(folder, name, length);
        folder[length] = '\0';
    }
    errno = *base ? ENAMETOOLONG : EISDIR;
    if (!*base || !realpath(folder, real) ||
        snprintf(library->path, sizeof library->path, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
                 base) >= (int)sizeof library->path ||
        !is_readable(library->path))
        give_up(STATUS_REFUSED,
                "HAKMEM_LIBRARY=%s can't be read (%s); name hakmem's library, or leave it unset",
                name, strerror(errno));
}

void library_find(struct library *library) {
    const char *name = getenv("HAKMEM_LIBRARY");
    if (name && *name)
        take_named(library, name);
    else if (!try_beside_command(library) && !try_folder(library, LIBRARY_FOLDER))
        give_up(STATUS_REFUSED,
                "the library " LIBRARY_SONAME " is neither beside this command nor in the folder "
                "for libraries beside it nor in " LIBRARY_FOLDER
                "; install hakmem again, or set HAKMEM_LIBRARY to the library's path");
    int error = elf_map(library->path, &library->file);
    if (error)
        give_up(STATUS_REFUSED, "the library %s can't be read: %s", library->path, strerror(error));
    if (!elf_is_elf(&library->file))
        give_up(STATUS_REFUSED,
                "%s is no library; set HAKMEM_LIBRARY to hakmem's, or leave it unset",
                library->path);
    if (!elf_is_readable(&library->file) || !elf_is_loadable(&library->file) ||
        !elf_exports(&library->file, "hak_version") || !elf_exports(&library->file, "malloc"))
        give_up(STATUS_REFUSED,
                "%s is not hakmem's library; set HAKMEM_LIBRARY to that, or leave it unset",
                library->path);
}
