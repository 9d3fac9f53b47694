/* Which loaded object serves malloc, found at run time from what it is and exports. */
#include "wl_provider.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const wl_part_names[WL_PARTS] = {"malloc", "calloc", "realloc", "free"};

/* In a program that holds hakmem itself the linker does not export them; then this finds them. */
extern const char *hak_version(void) __attribute__((weak));
extern int hak_stats_get(const char *name, uint64_t *value) __attribute__((weak));

/* ---- the object that an address lies in --------------------------------------------------------
 */

typedef struct {
    uintptr_t address; /* looked for */
    bool found;
    bool is_program; /* the executable itself */
    const char *loaded_as;
    uintptr_t base;
    char *build_id; /* filled if not NULL */
    unsigned index; /* of the object in the linker's list; the program is the first */
} search;

static void note_build_id(const struct dl_phdr_info *object, const ElfW(Phdr) * segment,
                          char *text) {
    const unsigned char *at = (const unsigned char *)(object->dlpi_addr + segment->p_vaddr);
    const unsigned char *end = at + segment->p_memsz;
    size_t align = segment->p_align == 8 ? 8 : 4;
    while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name = (note.n_namesz + align - 1) & ~(align - 1);
        size_t body = (note.n_descsz + align - 1) & ~(align - 1);
        at += sizeof note;
        if (name > (size_t)(end - at) || note.n_descsz > (size_t)(end - at) - name)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(at, "GNU", 4) == 0) {
            for (size_t i = 0; i < note.n_descsz && i < WL_BUILD_ID_MOST; i++)
                snprintf(text + 2 * i, 3, "%02x", at[name + i]);
            return;
        }
        if (body > (size_t)(end - at) - name)
            return;
        at += name + body;
    }
}

static int look_into(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    search *wanted = data;
    bool program = wanted->index++ == 0;
    bool inside = false;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && wanted->address >= start &&
            wanted->address - start < segment->p_memsz)
            inside = true;
    }
    if (!inside)
        return 0;
    wanted->found = true;
    wanted->is_program = program;
    wanted->loaded_as = object->dlpi_name;
    wanted->base = object->dlpi_addr;
    if (wanted->build_id != NULL)
        for (int i = 0; i < object->dlpi_phnum && wanted->build_id[0] == '\0'; i++)
            if (object->dlpi_phdr[i].p_type == PT_NOTE)
                note_build_id(object, &object->dlpi_phdr[i], wanted->build_id);
    return 1;
}

static search object_of(const void *address, char *build_id) {
    search wanted = {.address = (uintptr_t)address, .build_id = build_id};
    if (address != NULL)
        dl_iterate_phdr(look_into, &wanted);
    return wanted;
}

static void resolve_path(const search *object, char *path) {
    const char *name = object->is_program ? "/proc/self/exe" : object->loaded_as;
    if (name == NULL || realpath(name, path) == NULL)
        snprintf(path, PATH_MAX, "%s", name == NULL ? "" : name); /* e.g. deleted meanwhile */
}

/* ---- which allocator it is
 * ----------------------------------------------------------------------- */

typedef union {
    void *object;
    const char *(*text)(void);
    int (*stats)(const char *name, uint64_t *value);
    int (*number)(void);
    const char *(*gperftools)(int *major, int *minor, const char **patch);
    int (*control)(const char *name, void *old, size_t *old_size, void *fresh, size_t fresh_size);
    void *(*allocate)(size_t size);
    void *(*allocate_cleared)(size_t count, size_t size);
    void *(*resize)(void *block, size_t size);
    void (*release)(void *block);
} symbol;

/* A symbol that this very object defines, not one that it needs. */
static symbol own_symbol(void *handle, const search *object, const char *name) {
    symbol found = {.object = handle == NULL ? NULL : dlsym(handle, name)};
    search where = object_of(found.object, NULL);
    if (!where.found || where.base != object->base)
        found.object = NULL;
    return found;
}

/* The same for a function that the program's own linker may have bound instead. */
static symbol own_symbol_or(void *handle, const search *object, const char *name, symbol linked) {
    symbol found = own_symbol(handle, object, name);
    if (found.object != NULL || linked.object == NULL)
        return found;
    search where = object_of(linked.object, NULL);
    return where.found && where.base == object->base ? linked : found;
}

static void set_version(wl_provider *provider, const char *text) {
    if (text == NULL || *text == '\0')
        return;
    provider->has_version = true;
    snprintf(provider->version, sizeof provider->version, "%s", text);
}

static void set_mimalloc_version(wl_provider *provider, int number) {
    char text[40];
    if (number >= 100 && number < 1000) /* 209 is 2.0.9 */
        snprintf(text, sizeof text, "%d.%d.%d", number / 100, number / 10 % 10, number % 10);
    else if (number >= 10000) /* 30403 is 3.4.3 */
        snprintf(text, sizeof text, "%d.%d.%d", number / 10000, number / 100 % 100, number % 100);
    else
        snprintf(text, sizeof text, "%d", number);
    set_version(provider, text);
}

static void set_tcmalloc_version(wl_provider *provider, symbol version) {
    int major = 0, minor = 0;
    const char *patch = NULL;
    char text[60];
    version.gperftools(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d%.20s", major, minor, patch == NULL ? "" : patch);
    set_version(provider, text);
}

static void set_jemalloc_version(wl_provider *provider, symbol control) {
    const char *text = NULL;
    size_t size = sizeof text;
    if (control.control("version", &text, &size, NULL, 0) == 0)
        set_version(provider, text);
}

static bool exports_any(void *handle, const search *object, const char *const *names) {
    for (; *names != NULL; names++)
        if (own_symbol(handle, object, *names).object != NULL)
            return true;
    return false;
}

static const char *recognise(wl_provider *provider, void *handle, const search *object) {
    static const char *const google[] = {"tc_malloc", "MallocExtension_GetNumericProperty",
                                         "MallocExtension_Internal_GetNumericProperty",
                                         "TCMalloc_Internal_GetStats", NULL};
    static const char *const sanitizers[] = {"__asan_init", "__tsan_init",   "__msan_init",
                                             "__lsan_init", "__hwasan_init", NULL};
    symbol is = own_symbol_or(handle, object, "hak_version", (symbol){.text = hak_version});
    if (is.object != NULL) {
        set_version(provider, is.text());
        return "hakmem";
    }
    if ((is = own_symbol(handle, object, "floor_allocator_version")).object != NULL) {
        set_version(provider, is.text());
        return "floor";
    }
    if ((is = own_symbol(handle, object, "mi_version")).object != NULL) {
        set_mimalloc_version(provider, is.number());
        return "mimalloc";
    }
    if ((is = own_symbol(handle, object, "mallctl")).object != NULL ||
        (is = own_symbol(handle, object, "je_mallctl")).object != NULL) {
        set_jemalloc_version(provider, is);
        return "jemalloc";
    }
    if ((is = own_symbol(handle, object, "tc_version")).object != NULL) {
        set_tcmalloc_version(provider, is);
        return "tcmalloc";
    }
    if (exports_any(handle, object, google))
        return "tcmalloc";
    if (own_symbol(handle, object, "__TBB_malloc_proxy").object != NULL)
        return "tbbmalloc"; /* it tells its version nobody */
    if (exports_any(handle, object, sanitizers))
        return "sanitizer";
    if ((is = own_symbol(handle, object, "gnu_get_libc_version")).object != NULL) {
        set_version(provider, is.text());
        return "system";
    }
    if (own_symbol(handle, object, "__libc_start_main").object != NULL)
        return "system"; /* another C library, e.g. musl */
    return "unknown";
}

/* The addresses that this program's own calls go to, as the linkers bound them: these files are
 * compiled as position-independent code, in which they are read from the same table as for a call.
 */
const void *wl_provider_bound(wl_part part) {
    symbol bound = {NULL};
    switch (part) {
    case WL_PART_MALLOC:
        bound.allocate = malloc;
        break;
    case WL_PART_CALLOC:
        bound.allocate_cleared = calloc;
        break;
    case WL_PART_REALLOC:
        bound.resize = realloc;
        break;
    default:
        bound.release = free;
        break;
    }
    return bound.object;
}

static void *open_object(const search *object) {
    return dlopen(object->is_program ? NULL : object->loaded_as, RTLD_LAZY | RTLD_NOLOAD);
}

int (*wl_provider_stats(void))(const char *name, uint64_t *value) {
    search object = object_of(wl_provider_bound(WL_PART_MALLOC), NULL);
    if (!object.found)
        return NULL;
    void *handle = open_object(&object);
    symbol found =
        own_symbol_or(handle, &object, "hak_stats_get", (symbol){.stats = hak_stats_get});
    if (handle != NULL)
        dlclose(handle); /* the object that serves malloc stays */
    return found.stats;
}

const wl_provider *wl_provider_find(void) {
    const void *addresses[WL_PARTS];
    for (int part = 0; part < WL_PARTS; part++)
        addresses[part] = wl_provider_bound((wl_part)part);
    return wl_provider_find_at(addresses);
}

const wl_provider *wl_provider_find_at(const void *const addresses[WL_PARTS]) {
    static wl_provider provider;
    search first = {0};
    provider.name = "unknown";
    provider.complete = true;
    for (int part = 0; part < WL_PARTS; part++) {
        const void *address = addresses[part];
        search object = object_of(address, part == WL_PART_MALLOC ? provider.build_id : NULL);
        if (!object.found) {
            provider.complete = false;
            continue;
        }
        resolve_path(&object, provider.parts[part]);
        if (part == WL_PART_MALLOC)
            first = object;
        else if (!first.found || object.base != first.base)
            provider.complete = false;
    }
    if (first.found) {
        void *handle = open_object(&first);
        provider.name = recognise(&provider, handle, &first);
        if (handle != NULL)
            dlclose(handle);
    }
    return &provider;
}
