/* How LD_PRELOAD names the library. */
#include "preload.h"
#include "say.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The loader takes spaces and colons for ends of names, and replaces words after a dollar. */
static bool can_be_named(const char *path) {
    return strpbrk(path, " :$\t\n") == NULL;
}

/* A folder that only this user can change: else another could put a library of his own there. */
static bool is_own_folder(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Makes `link` lead to `target`, at once, as others may do the same now. */
static bool make_link(const char *target, const char *link) {
    char present[PATH_MAX];
    char fresh[PATH_MAX + 32];
    ssize_t length = readlink(link, present, sizeof present - 1);
    if (length >= 0 && (size_t)length == strlen(target) &&
        memcmp(present, target, (size_t)length) == 0)
        return true;
    snprintf(fresh, sizeof fresh, "%s.%ld", link, (long)getpid());
    unlink(fresh);
    if (symlink(target, fresh) == 0 && rename(fresh, link) == 0)
        return true;
    unlink(fresh);
    return false;
}

/* Tells libraries apart whose links lie in one folder (FNV-1a). */
static unsigned long hash_of(const char *text) {
    unsigned long hash = 14695981039346656037UL;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211UL;
    return hash;
}

void preload_name(const struct library *library, char name[PATH_MAX]) {
    if (can_be_named(library->path)) {
        memcpy(name, library->path, strlen(library->path) + 1);
        return;
    }
    const char *base = getenv("TMPDIR");
    if (!base || *base != '/' || !can_be_named(base) || strlen(base) > PATH_MAX - 100)
        base = "/tmp";
    snprintf(name, PATH_MAX, "%s/hakmem-%lu", base, (unsigned long)geteuid());
    bool made = (mkdir(name, 0700) == 0 || errno == EEXIST) && is_own_folder(name);
    size_t length = strlen(name);
    snprintf(name + length, PATH_MAX - length, "/%016lx.so", hash_of(library->path));
    if (!made || !make_link(library->path, name))
        give_up(
            STATUS_REFUSED,
            "LD_PRELOAD can't name %s, which has a space, a colon or a dollar in it, and a link to "
            "it can't be made as %s; set HAKMEM_LIBRARY to a link with a plainer path",
            library->path, name);
}

void preload_add(const struct library *library) {
    char name[PATH_MAX];
    preload_name(library, name);
    const char *others = getenv("LD_PRELOAD");
    if (!others)
        others = "";
    size_t length = strlen(name);
    /* Already the first, where hakmem runs hakmem: no longer with each. */
    if (strncmp(others, name, length) == 0 && strchr(" :", others[length]))
        return;
    size_t size = length + 1 + strlen(others) + 1;
    char *both = malloc(size);
    if (both)
        snprintf(both, size, "%s%s%s", name, *others ? ":" : "", others);
    if (!both || setenv("LD_PRELOAD", both, 1) != 0)
        give_up(STATUS_REFUSED, "there is no memory for LD_PRELOAD");
    free(both);
}
