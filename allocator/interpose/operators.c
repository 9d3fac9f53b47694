/* C++'s operator new and delete under their mangled names, in C.
 *
 * A program may replace any of them by its own, and those that it leaves must then go through its
 * own: so the arrays' forms call the single ones, and the sized deletes the others, by their
 * symbol, which is the program's if it has one; and all are weak, for programs linked statically.
 *
 * A failing new calls the program's new-handler until it gives up, then throws std::bad_alloc. The
 * forms with std::nothrow are left to the C++ runtime: they call the others and catch what these,
 * or the program's handler, throw, which C can't. Sized deletes ignore the size: the page map
 * knows it.
 *
 * hak_ has the C names for all of them: new is hak_malloc or hak_aligned_alloc, delete hak_free. */
#include "base/diag.h"
#include "interpose/calls.h"

#include <dlfcn.h>
#include <string.h>

#ifndef HAKMEM_WRAP /* else the sanitizer's runtime has them: see interpose.c */

/* What the C++ ABI (Itanium) has for throwing, which every C++ program has, and a C program not. */
#define FROM_RUNTIME(symbol) __asm__(symbol) __attribute__((weak))
typedef void (*new_handler)(void);
extern new_handler get_new_handler(void) FROM_RUNTIME("_ZSt15get_new_handlerv");
extern void *allocate_exception(size_t size) FROM_RUNTIME("__cxa_allocate_exception");
extern _Noreturn void throw_exception(void *object, const void *type, void (*destroy)(void *))
    FROM_RUNTIME("__cxa_throw");
extern const char bad_alloc_type[] FROM_RUNTIME("_ZTISt9bad_alloc");
extern void *const bad_alloc_table[] FROM_RUNTIME("_ZTVSt9bad_alloc");
extern void bad_alloc_destroy(void *) FROM_RUNTIME("_ZNSt9bad_allocD1Ev");

/* Weak, for a program linked statically: it has no C++ runtime but its own, and needs no loader. */
#pragma weak dlsym

/* Those of the program, or of the runtime that came later. */
struct runtime {
    new_handler (*get_new_handler)(void);
    void *(*allocate_exception)(size_t size);
    void (*throw_exception)(void *object, const void *type, void (*destroy)(void *));
    const void *type;
    void *const *table;
    void (*destroy)(void *);
};

static bool is_whole(const struct runtime *r) {
    return r->get_new_handler && r->allocate_exception && r->throw_exception && r->type &&
           r->table && r->destroy;
}

/* ISO C has no way to convert void * to a function's address; POSIX says that their bytes agree. */
static void look_up(void *library, const char *name, void *pointer) {
    void *found = dlsym(library, name);
    memcpy(pointer, &found, sizeof found);
}

/* The runtime of that name if it was loaded. It stays so from now on. dlopen is looked up, too, as
 * the linker warns of its very name in programs linked statically. */
static struct runtime runtime_in(const char *name) {
    struct runtime r = {.table = NULL};
    void *(*open)(const char *, int) = NULL;
    look_up(RTLD_DEFAULT, "dlopen", &open);
    void *library = open ? open(name, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (!library)
        return r;
    look_up(library, "_ZSt15get_new_handlerv", &r.get_new_handler);
    look_up(library, "__cxa_allocate_exception", &r.allocate_exception);
    look_up(library, "__cxa_throw", &r.throw_exception);
    look_up(library, "_ZTISt9bad_alloc", &r.type);
    look_up(library, "_ZTVSt9bad_alloc", &r.table);
    look_up(library, "_ZNSt9bad_allocD1Ev", &r.destroy);
    return r;
}

/* The references above are bound when the program is loaded: they don't see a runtime that a C
 * program gets with a C++ plug-in, by dlopen. What is found is not kept, as who waits here for
 * another thread might have the loader's lock, which that one needs. */
static struct runtime find_runtime(void) {
    static const char *const names[] = {"libstdc++.so.6", "libc++abi.so.1"};
    struct runtime r = {get_new_handler, allocate_exception, throw_exception,
                        bad_alloc_type,  bad_alloc_table,    bad_alloc_destroy};
    for (unsigned i = 0; i < 2 && dlsym && !is_whole(&r); i++) {
        struct runtime later = runtime_in(names[i]);
        if (is_whole(&later))
            r = later;
    }
    return r;
}

_Noreturn static void throw_bad_alloc(const struct runtime *r, size_t size) {
    if (r->allocate_exception && r->throw_exception && r->table) {
        /* An object of that class is a pointer to its functions, which begin at the third entry. */
        void *const **object = r->allocate_exception(sizeof *object);
        *object = &r->table[2];
        r->throw_exception(object, r->type, r->destroy);
    }
    hak_fatal("hakmem: operator new: no memory for %u bytes, and no C++ runtime to throw "
              "std::bad_alloc\n",
              (unsigned long)size);
}

HAK_COLD static void *new_failed(size_t alignment, size_t size) {
    struct runtime r = find_runtime();
    for (;;) {
        new_handler handler = r.get_new_handler ? r.get_new_handler() : NULL;
        if (!handler)
            throw_bad_alloc(&r, size);
        handler(); /* makes memory available, throws, or ends the program */
        void *block = hak_aligned_alloc(alignment, size);
        if (block)
            return block;
    }
}

/* Mangled names: Zn new, Zd delete, w and l single, a array, m size_t, Pv void *,
 * St11align_val_t the alignment, RKSt9nothrow_t the nothrow tag. */
#define OPERATOR HAKMEM_API __attribute__((weak))

OPERATOR HAK_MALLOC_PATH void *_Znwm(size_t size);
OPERATOR void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
OPERATOR HAK_FREE_PATH void _ZdlPv(void *block);
OPERATOR void _ZdlPvSt11align_val_t(void *block, size_t alignment);

HAK_NOINLINE static void *new_rare(size_t size) {
    void *block = hak_early() ? hak_early_new(HAK_MIN_ALIGN, size) : MALLOC(size);
    return HAK_LIKELY(block != NULL) ? block : new_failed(HAK_MIN_ALIGN, size);
}

/* Without a stack frame, as malloc. */
void *_Znwm(size_t size) {
    void *block = hak_early() ? NULL : MALLOC_HIT(size);
    return HAK_LIKELY(block != NULL) ? block : new_rare(size);
}

void *_ZnwmSt11align_val_t(size_t size, size_t alignment) {
    void *block = hak_early() ? hak_early_new(alignment, size) : hak_aligned_alloc(alignment, size);
    return HAK_LIKELY(block != NULL) ? block : new_failed(alignment, size);
}

void _ZdlPv(void *block) {
    if (!hak_early_owns(block))
        FREE(block);
}

void _ZdlPvSt11align_val_t(void *block, size_t alignment) {
    (void)alignment;
    if (!hak_early_owns(block))
        FREE(block);
}

/* The others, each one of those four by its symbol. */
extern void *any_new(size_t size) __asm__("_Znwm");
extern void *any_new_aligned(size_t size, size_t alignment) __asm__("_ZnwmSt11align_val_t");
extern void any_delete(void *block) __asm__("_ZdlPv");
extern void any_delete_array(void *block) __asm__("_ZdaPv");
extern void any_delete_aligned(void *block, size_t alignment) __asm__("_ZdlPvSt11align_val_t");
extern void any_delete_array_aligned(void *block,
                                     size_t alignment) __asm__("_ZdaPvSt11align_val_t");

#define FORWARD(result, name, parameters, call)                                                    \
    OPERATOR result name parameters;                                                               \
    result name parameters {                                                                       \
        call;                                                                                      \
    }

FORWARD(void *, _Znam, (size_t size), return any_new(size))
FORWARD(void *, _ZnamSt11align_val_t, (size_t size, size_t alignment),
        return any_new_aligned(size, alignment))

FORWARD(void, _ZdaPv, (void *block), any_delete(block))
FORWARD(void, _ZdaPvSt11align_val_t, (void *block, size_t alignment),
        any_delete_aligned(block, alignment))

FORWARD(void, _ZdlPvm, (void *block, size_t size), (void)size; any_delete(block))
FORWARD(void, _ZdaPvm, (void *block, size_t size), (void)size; any_delete_array(block))
FORWARD(void, _ZdlPvRKSt9nothrow_t, (void *block, const void *tag), (void)tag; any_delete(block))
FORWARD(void, _ZdaPvRKSt9nothrow_t, (void *block, const void *tag), (void)tag;
        any_delete_array(block))

FORWARD(void, _ZdlPvmSt11align_val_t, (void *block, size_t size, size_t alignment), (void)size;
        any_delete_aligned(block, alignment))
FORWARD(void, _ZdaPvmSt11align_val_t, (void *block, size_t size, size_t alignment), (void)size;
        any_delete_array_aligned(block, alignment))
FORWARD(void, _ZdlPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t alignment, const void *tag),
        (void)tag;
        any_delete_aligned(block, alignment))
FORWARD(void, _ZdaPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t alignment, const void *tag),
        (void)tag;
        any_delete_array_aligned(block, alignment))

#endif
