/* Preloaded beside an allocator: notes, for each process, its program and the object its malloc
 * lies in.
 *
 * One line a process, "PROGRAM<tab>OBJECT", appended to the file that HAKMEM_REAL_JOURNAL names.
 * The global symbol is what the program and its libraries call, so a program that brings a malloc
 * of its own shows as served by itself.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The object whose malloc the program calls. A program that isn't position-independent and takes
 * malloc's address has an undefined symbol with a stub's address, which leads to the next object
 * that defines it. */
static const char *witness_object(void) {
    Dl_info info;
    void *extra = NULL;
    void *found = dlsym(RTLD_DEFAULT, "malloc");
    if (!found || !dladdr1(found, &info, &extra, RTLD_DL_SYMENT))
        return "?";
    const ElfW(Sym) *symbol = extra;
    if (symbol && symbol->st_shndx == SHN_UNDEF) {
        found = dlsym(RTLD_NEXT, "malloc"); /* this library is preloaded before the allocator */
        if (!found || !dladdr(found, &info))
            return "?";
    }
    return info.dli_fname;
}

__attribute__((constructor)) static void witness_note(void) {
    const int saved = errno;
    const char *journal = getenv("HAKMEM_REAL_JOURNAL");
    const int file = journal ? open(journal, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (file >= 0) {
        char program[PATH_MAX];
        char line[2 * PATH_MAX];
        const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
        program[length < 0 ? 0 : length] = '\0';
        const int size = snprintf(line, sizeof line, "%s\t%s\n", program, witness_object());
        /* One write, so that lines of processes that start together don't mix. */
        if (size < 0 || write(file, line, (size_t)size) != size)
            abort();
        close(file);
    }
    errno = saved;
}
