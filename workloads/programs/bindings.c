/* Reads the relocations of loaded objects: to whom the calls of malloc really go. */
#include "bindings.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *strings;
    const ElfW(Sym) * symbols;
    struct {
        const ElfW(Rela) * first;
        size_t count;
    } tables[2]; /* bound when first called; bound at once */
} object_view;

/* What is done with each reference: the object that has it, whose name, and the slot's address. */
typedef void visit_reference(const struct dl_phdr_info *object, const char *name, uintptr_t slot,
                             void *data);

typedef struct {
    visit_reference *visit;
    void *data;
} visitor;

static uintptr_t object_start(uintptr_t address) {
    Dl_info info;
    union {
        uintptr_t number;
        const void *pointer;
    } at = {.number = address};
    return address != 0 && dladdr(at.pointer, &info) != 0 ? (uintptr_t)info.dli_fbase : 0;
}

static bool is_part(const char *name) {
    return strcmp(name, "malloc") == 0 || strcmp(name, "calloc") == 0 ||
           strcmp(name, "realloc") == 0 || strcmp(name, "free") == 0;
}

/* Some linkers leave addresses in the dynamic section as they stand in the file. */
static uintptr_t address_in(const struct dl_phdr_info *object, ElfW(Addr) value) {
    return value < object->dlpi_addr ? object->dlpi_addr + value : value;
}

static bool view_object(const struct dl_phdr_info *object, object_view *view) {
    const ElfW(Dyn) *entry = NULL;
    memset(view, 0, sizeof *view);
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            entry = (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    if (entry == NULL)
        return false;
    bool with_addends = true;
    for (; entry->d_tag != DT_NULL; entry++) {
        uintptr_t address = address_in(object, entry->d_un.d_ptr);
        switch (entry->d_tag) {
        case DT_STRTAB:
            view->strings = (const char *)address;
            break;
        case DT_SYMTAB:
            view->symbols = (const ElfW(Sym) *)address;
            break;
        case DT_JMPREL:
            view->tables[0].first = (const ElfW(Rela) *)address;
            break;
        case DT_PLTRELSZ:
            view->tables[0].count = entry->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_RELA:
            view->tables[1].first = (const ElfW(Rela) *)address;
            break;
        case DT_RELASZ:
            view->tables[1].count = entry->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_PLTREL:
            with_addends = entry->d_un.d_val == DT_RELA;
            break;
        default:
            break;
        }
    }
    return with_addends && view->strings != NULL && view->symbols != NULL;
}

static int visit_object(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    const visitor *each = data;
    object_view view;
    if (sizeof(void *) != 8 || !view_object(object, &view))
        return 0;
    for (int t = 0; t < 2; t++) {
        for (size_t i = 0; view.tables[t].first != NULL && i < view.tables[t].count; i++) {
            const ElfW(Rela) *entry = &view.tables[t].first[i];
            size_t symbol = (size_t)(entry->r_info >> 32);
            if (symbol != 0 && entry->r_addend == 0) {
                const char *name = view.strings + view.symbols[symbol].st_name;
                if (is_part(name))
                    each->visit(object, name, object->dlpi_addr + entry->r_offset, each->data);
            }
        }
    }
    return 0;
}

static int note_program(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    *(uintptr_t *)data = object_start((uintptr_t)object->dlpi_phdr);
    return 1; /* it is the first in the linker's list */
}

static uintptr_t program_start(void) {
    uintptr_t start = 0;
    dl_iterate_phdr(note_program, &start);
    return start;
}

/* ---- whose references lead where ----------------------------------------------------------- */

typedef struct {
    uintptr_t provider, program; /* where these objects begin */
    wl_bindings *found;
} judgement;

static void judge(const struct dl_phdr_info *object, const char *name, uintptr_t slot, void *data) {
    (void)name;
    judgement *about = data;
    uintptr_t own = object_start(slot);
    uintptr_t target = object_start(*(const uintptr_t *)slot);
    if (own == about->provider)
        return; /* what an allocator calls inside itself is its own affair */
    if (target == about->provider) {
        about->found->bound++;
        return;
    }
    /* An address in the object itself is the stub that binds at the first call; one in the program
     * is the stub that stands for the function everywhere. */
    if (target == 0 || target == own || target == about->program)
        return;
    if (about->found->stray[0] == '\0')
        snprintf(about->found->stray, about->found->room, "%s",
                 object->dlpi_name[0] == '\0' ? "the program" : object->dlpi_name);
}

void wl_bindings_find(const void *provider, wl_bindings *bindings) {
    judgement about = {object_start((uintptr_t)provider), program_start(), bindings};
    visitor each = {judge, &about};
    bindings->bound = 0;
    bindings->stray[0] = '\0';
    if (about.provider != 0)
        dl_iterate_phdr(visit_object, &each);
}

/* ---- where calls end ----------------------------------------------------------------------- */

typedef struct {
    const char *name;
    uintptr_t program, end;
} pursuit;

static void pursue(const struct dl_phdr_info *object, const char *name, uintptr_t slot,
                   void *data) {
    (void)object;
    pursuit *after = data;
    uintptr_t target = *(const uintptr_t *)slot, start = object_start(target);
    if (after->end == 0 && strcmp(name, after->name) == 0 && start != 0 &&
        start != after->program && start != object_start(slot))
        after->end = target;
}

const void *wl_bindings_resolve(const char *name, const void *own) {
    pursuit after = {.name = name, .program = program_start()};
    visitor each = {pursue, &after};
    if (object_start((uintptr_t)own) != after.program)
        return own;
    dl_iterate_phdr(visit_object, &each);
    union {
        uintptr_t number;
        const void *pointer;
    } end = {.number = after.end};
    return after.end == 0 ? own : end.pointer;
}
