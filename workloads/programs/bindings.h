/* Where the loaded objects' own references to malloc and its kin lead. */
#ifndef WL_BINDINGS_H
#define WL_BINDINGS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t bound; /* references that lead into the object with `provider` */
    char *stray;    /* path of an object with one that leads elsewhere; empty: none */
    size_t room;    /* bytes at `stray` */
} wl_bindings;

/*
 * Looks at every relocation of every loaded object that names malloc, calloc, realloc or free, and
 * at the address that the dynamic linker put there. `provider` is an address inside the object that
 * is to serve them. What was never called, and so not bound yet, is left out. The caller's thread
 * alone; no allocation. Only 64-bit objects are looked at; on others nothing is found.
 */
void wl_bindings_find(const void *provider, wl_bindings *bindings);

/*
 * Where calls of `name` end. `own` is the address of that function as the caller knows it: in a
 * program that is not position-independent that can be a stub of the program, which the linker
 * gives to all as the function's address so that they compare equal; then what the program's own
 * calls or another object's are bound to is returned, and `own` where nobody has called it.
 */
const void *wl_bindings_resolve(const char *name, const void *own);

#endif
