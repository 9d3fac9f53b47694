/* Finds the allocator behind the recorder by the loader's order of libraries. */
#include "next.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#define EARLY_BYTES ((size_t)1 << 16)

trace_next_calls next;

static _Alignas(16) unsigned char early[EARLY_BYTES];
/* The process has one thread then. volatile: the loader's functions are declared to call nothing in
 * this file, but they do call malloc. */
static volatile size_t early_used; /* bytes */
static volatile bool looking;

/* The size lies in the 16 bytes before a block. */
void *trace_early_new(size_t size) {
    if (size > EARLY_BYTES - 32 || early_used + 32 + size > EARLY_BYTES)
        return NULL;
    unsigned char *block = early + early_used + 16;
    memcpy(block - 16, &size, sizeof size);
    early_used += 16 + ((size + 15) & ~(size_t)15);
    return block;
}

bool trace_early_owns(const void *block) {
    return (uintptr_t)block - (uintptr_t)early < EARLY_BYTES;
}

size_t trace_early_size(const void *block) {
    size_t size;
    memcpy(&size, (const unsigned char *)block - 16, sizeof size);
    return size;
}

/* ISO C has no way to convert void * to a function's address; POSIX says that their bytes agree. */
static void look_in(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
}

static const void *object_of(const void *function) {
    Dl_info object;
    void *address;
    memcpy(&address, function, sizeof address);
    return address && dladdr(address, &object) ? object.dli_fbase : NULL;
}

bool trace_next_look_up(const char *name, void *function) {
    static const char *const runtimes[] = {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"};
    const void *object = NULL;
    look_in(RTLD_NEXT, name, function);
    for (unsigned i = 0; !(object = object_of(function)) && i < 3; i++) {
        void *library = dlopen(runtimes[i], RTLD_LAZY | RTLD_NOLOAD);
        if (library)
            look_in(library, name, function);
    }
    return object && object == object_of(&next.malloc);
}

bool trace_next_find(void) {
    if (looking)
        return false;
    looking = true;
#define FIND(name) look_in(RTLD_NEXT, #name, &next.name);
    FIND(calloc)
    FIND(realloc)
    FIND(free)
    FIND(posix_memalign)
    FIND(aligned_alloc)
    FIND(memalign)
    FIND(valloc)
    FIND(pvalloc)
    FIND(reallocarray)
    FIND(free_sized)
    FIND(free_aligned_sized)
    FIND(malloc) /* last: it tells that all are found */
    looking = false;
    return true;
}

void trace_next_path(char *path, size_t room) {
    Dl_info object;
    void *address;
    memcpy(&address, &next.malloc, sizeof address);
    bool known = dladdr(address, &object) && object.dli_fname;
    size_t length = known ? strnlen(object.dli_fname, room - 1) : 0;
    if (length)
        memcpy(path, object.dli_fname, length);
    path[length] = '\0';
}
