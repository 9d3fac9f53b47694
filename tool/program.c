/* Judges whether a library that is preloaded can serve a program, before the program is started. */
#include "program.h"
#include "rights.h"
#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the verdict --------------------------------------------------------------------------- */

/* "NAME is a script, and its interpreter PATH is ...": what is said of the file that is looked at.
 */
typedef struct judgement {
    struct verdict *verdict;
    const struct library *library;
    const char *name; /* of the program, as it was given */
    const char *path; /* of the file that is looked at: the program, then its interpreters */
    unsigned depth;   /* of interpreters */
} judgement;

/* What comes out of files may hold anything, but nothing that a terminal would obey. */
static void make_printable(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
}

__attribute__((format(printf, 3, 4))) static void refuse(judgement *j, int status,
                                                         const char *format, ...) {
    char *why = j->verdict->why;
    size_t size = sizeof j->verdict->why;
    int length = j->depth == 0 ? snprintf(why, size, "%s ", j->name)
                               : snprintf(why, size, "%s is a script, and its interpreter %s ",
                                          j->name, j->path);
    va_list arguments;
    va_start(arguments, format);
    if (length > 0 && (size_t)length < size)
        vsnprintf(why + length, size - (size_t)length, format, arguments);
    va_end(arguments);
    make_printable(why);
    j->verdict->status = status;
}

__attribute__((format(printf, 2, 3))) static void note(judgement *j, const char *format, ...) {
    char *notes = j->verdict->notes;
    size_t length = strlen(notes), size = sizeof j->verdict->notes;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(notes + length, size - length, format, arguments);
    va_end(arguments);
    make_printable(notes + length);
    length = strlen(notes);
    if (length + 1 < size) {
        notes[length] = '\n';
        notes[length + 1] = '\0';
    }
}

/* ---- ELF programs -------------------------------------------------------------------------- */

static bool begins_with_one_of(const char *name, const char *const *beginnings) {
    for (; *beginnings; beginnings++)
        if (strncmp(name, *beginnings, strlen(*beginnings)) == 0)
            return true;
    return false;
}

/* What a program is linked with: nothing that stands before the library, except a sanitizer's
 * runtime, which refuses to start if anything does. Another allocator comes after it and serves
 * nobody. */
static bool judge_needed(judgement *j, const elf_file *file) {
    static const char *const sanitizers[] = {"libasan.", "libtsan.", "libhwasan.", "libclang_rt.",
                                             NULL};
    static const char *const allocators[] = {
        "libjemalloc", "libmimalloc", "libtcmalloc", "libtbbmalloc",
        "libsnmalloc", "librpmalloc", NULL};
    /* jemalloc's calls for blocks under names of its own. */
    static const char *const own[] = {"mallocx", "rallocx", "dallocx", "sdallocx", NULL};
    const char *needed;
    for (size_t i = 0; (needed = elf_needed(file, i)) != NULL; i++) {
        if (begins_with_one_of(needed, sanitizers)) {
            refuse(j, STATUS_REFUSED,
                   "is linked with %s, a sanitizer's runtime, which has to be malloc itself; build "
                   "it without the sanitizer",
                   needed);
            return false;
        }
        if (begins_with_one_of(needed, allocators))
            note(j,
                 "it is linked with %s, too, which comes after a preloaded library and is left "
                 "without work",
                 needed);
    }
    for (size_t i = 0; own[i]; i++)
        if (elf_imports(file, own[i]))
            note(j, "it calls %s, which hakmem hasn't: blocks from there have to be freed there",
                 own[i]);
    return true;
}

/* A malloc in the program itself comes before every library's. */
static bool judge_own_malloc(judgement *j, const elf_file *file) {
    static const char *const names[] = {"malloc", "free", "calloc", "realloc"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (elf_exports(file, names[i])) {
            refuse(j, STATUS_REFUSED,
                   "has another allocator linked in: its own %s comes before any library's; build "
                   "it without that",
                   names[i]);
            return false;
        }
    }
    if (elf_contains(file, "malloc"))
        note(
            j,
            "it has a malloc of its own that it shows no library: what calls that is not served by "
            "hakmem");
    return true;
}

static void judge_elf(judgement *j, const elf_file *file) {
    const elf_file *library = &j->library->file;
    if (!elf_same_machine(file, library)) {
        char machine[60];
        snprintf(machine, sizeof machine, "%s", elf_machine(file));
        refuse(j, STATUS_REFUSED, "is for another machine (%s) than the library (%s); %s", machine,
               elf_machine(library),
               elf_is_readable(file) ? "build hakmem for that, too, and name it in HAKMEM_LIBRARY"
                                     : "there is no hakmem for that");
        return;
    }
    if (!elf_is_loadable(file)) {
        refuse(j, STATUS_REFUSED, "is no program: an object or core file, or a damaged one");
        return;
    }
    const char *loader = elf_interpreter(file);
    if (!loader) {
        refuse(j, STATUS_REFUSED,
               "is statically linked: there is no loader that would preload anything; link it "
               "dynamically, or with libhakmem.a");
        return;
    }
    if (access(loader, X_OK) != 0) {
        refuse(j, STATUS_REFUSED, "needs the loader %s, which can't be run: %s", loader,
               strerror(errno));
        return;
    }
    const char *theirs = elf_c_library(file), *ours = elf_c_library(library);
    if (theirs && ours && strcmp(theirs, ours) != 0) {
        refuse(
            j, STATUS_REFUSED,
            "is built for %s (its loader is %s) and the library for %s; build hakmem with that C "
            "library's compiler and name it in HAKMEM_LIBRARY, or link with libhakmem.a",
            theirs, loader, ours);
        return;
    }
    const char *rights = rights_gained(j->path);
    if (rights) {
        refuse(j, STATUS_REFUSED,
               "runs with more rights than its user (%s), where the loader preloads nothing from a "
               "path; run it as who has those rights, or link it with libhakmem.a",
               rights);
        return;
    }
    if (judge_own_malloc(j, file))
        judge_needed(j, file);
}

/* ---- scripts ------------------------------------------------------------------------------- */

static void judge_file(judgement *j);
static int find_along_path(const char *name, char path[PATH_MAX]);

/* The interpreter is /usr/bin/env: the program that that will look for is what counts. */
static void judge_env(judgement *j, char *words) {
    for (char *word = strtok(words, " \t"); word; word = strtok(NULL, " \t")) {
        char path[PATH_MAX];
        if (*word == '-' || strchr(word, '='))
            continue;
        if (find_along_path(word, path) != 0)
            return; /* env will say so */
        j->path = path;
        judge_file(j);
        return;
    }
}

/* The kernel looks at the first 256 bytes: "#!", the interpreter, and at most one argument. */
static void judge_script(judgement *j, const elf_file *file) {
    enum { LINE_MOST = 256, DEPTH_MOST = 5 };
    char line[LINE_MOST] = "";
    memcpy(line, file->bytes, file->size < LINE_MOST - 1 ? file->size : LINE_MOST - 1);
    line[strcspn(line, "\n")] = '\0';
    char *interpreter = line + 2 + strspn(line + 2, " \t");
    char *rest = interpreter + strcspn(interpreter, " \t");
    if (*rest)
        *rest++ = '\0';
    if (!*interpreter || access(interpreter, X_OK) != 0) {
        refuse(j, STATUS_REFUSED, "is a script for %s, which can't be run: %s",
               *interpreter ? interpreter : "no interpreter",
               strerror(*interpreter ? errno : ENOENT));
        return;
    }
    if (++j->depth > DEPTH_MOST) {
        refuse(j, STATUS_REFUSED, "is a script, too, for one more: the kernel runs no more than %d",
               DEPTH_MOST);
        return;
    }
    const char *script = j->path;
    const char *slash = strrchr(interpreter, '/');
    j->path = interpreter;
    judge_file(j);
    if (j->verdict->status == 0 && strcmp(slash ? slash + 1 : interpreter, "env") == 0)
        judge_env(j, rest);
    j->path = script;
}

static void judge_file(judgement *j) {
    elf_file file;
    struct stat status;
    int error = elf_map(j->path, &file);
    snprintf(j->verdict->serves, sizeof j->verdict->serves, "%s", j->path);
    if (error == EACCES && stat(j->path, &status) == 0 && S_ISREG(status.st_mode)) {
        note(j, "%s may be run but not read, so nobody knows whether the library can serve it",
             j->path);
        return;
    }
    if (error) {
        refuse(j, STATUS_REFUSED, "can't be read: %s", strerror(error));
        return;
    }
    if (elf_is_elf(&file))
        judge_elf(j, &file);
    else if (file.size > 2 && memcmp(file.bytes, "#!", 2) == 0)
        judge_script(j, &file);
    else
        refuse(j, STATUS_REFUSED,
               "is neither an ELF program nor a script that begins with #! and its interpreter");
    elf_unmap(&file);
}

/* ---- finding ------------------------------------------------------------------------------- */

/* 0, EACCES or EISDIR for what can't be run, else why it is not there. */
static int can_run(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0)
        return errno;
    if (S_ISDIR(status.st_mode))
        return EISDIR;
    return S_ISREG(status.st_mode) && access(path, X_OK) == 0 ? 0 : EACCES;
}

static int find_along_path(const char *name, char path[PATH_MAX]) {
    if (strchr(name, '/')) {
        if (strlen(name) >= PATH_MAX)
            return ENAMETOOLONG;
        memcpy(path, name, strlen(name) + 1);
        return can_run(path);
    }
    const char *folders = getenv("PATH");
    if (!folders)
        folders = "/bin:/usr/bin";
    int error = ENOENT;
    for (const char *folder = folders;; folder++) {
        int length = (int)strcspn(folder, ":");
        char candidate[PATH_MAX];
        int written = snprintf(candidate, sizeof candidate, "%.*s%s%s", length, folder,
                               length > 0 ? "/" : "./", name);
        if (written > 0 && (size_t)written < sizeof candidate) {
            int problem = can_run(candidate);
            if (problem == 0 || problem == EACCES) {
                if (problem == 0 || error != EACCES)
                    memcpy(path, candidate, sizeof candidate);
                error = problem;
            }
            if (problem == 0)
                return 0;
        }
        folder += length;
        if (!*folder)
            return error;
    }
}

void program_judge(const char *name, const struct library *library, char path[PATH_MAX],
                   struct verdict *verdict) {
    judgement j = {
        .verdict = verdict, .library = library, .name = *name ? name : "''", .path = path};
    *verdict = (struct verdict){.status = 0};
    int error = *name ? find_along_path(name, path) : ENOENT;
    if (error == ENOENT && !strchr(name, '/'))
        refuse(&j, STATUS_NOT_FOUND, "is in no folder of PATH; check its name, or give its path");
    else if (error == EACCES || error == EISDIR)
        refuse(&j, STATUS_REFUSED, "can't be run: %s",
               error == EISDIR ? "it is a folder" : "it is no file that you may execute");
    else if (error)
        refuse(&j, STATUS_NOT_FOUND, "can't be found: %s", strerror(error));
    else
        judge_file(&j);
}
