/* Reads ELF files of this machine: loader, needed libraries, symbols. Nothing in them is trusted.
 */
#include "elf_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef ElfW(Ehdr) elf_header;
typedef ElfW(Phdr) elf_segment;
typedef ElfW(Shdr) elf_section;
typedef ElfW(Sym) elf_symbol;
typedef ElfW(Dyn) elf_entry;

int elf_map(const char *path, elf_file *file) {
    *file = (elf_file){NULL, 0};
    /* What is opened may have become a pipe, which would wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    int error = 0;
    struct stat status;
    if (fstat(fd, &status) != 0)
        error = errno;
    else if (!S_ISREG(status.st_mode))
        error = S_ISDIR(status.st_mode) ? EISDIR : EACCES;
    else if (status.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            error = errno;
        else
            *file = (elf_file){bytes, (size_t)status.st_size};
    }
    close(fd);
    return error;
}

void elf_unmap(elf_file *file) {
    if (file->bytes)
        munmap((void *)(uintptr_t)file->bytes, file->size);
    *file = (elf_file){NULL, 0};
}

/* ---- pieces of the file -------------------------------------------------------------------- */

/* Copies `size` bytes at `offset`, as nothing in the file need be aligned. False beyond its end. */
static bool copy_out(const elf_file *file, uint64_t offset, void *result, size_t size) {
    if (offset > file->size || size > file->size - offset)
        return false;
    memcpy(result, file->bytes + offset, size);
    return true;
}

/* The text at `offset`, or NULL if it does not end within the file. */
static const char *text_at(const elf_file *file, uint64_t offset) {
    if (offset >= file->size || !memchr(file->bytes + offset, '\0', file->size - offset))
        return NULL;
    return (const char *)file->bytes + offset;
}

/* The offset of element `index` of an array at `start`; beyond any file where that overflows. */
static uint64_t element(uint64_t start, uint64_t index, size_t size) {
    uint64_t offset;
    if (__builtin_mul_overflow(index, size, &offset) ||
        __builtin_add_overflow(offset, start, &offset))
        return UINT64_MAX;
    return offset;
}

static bool header_of(const elf_file *file, elf_header *header) {
    return copy_out(file, 0, header, sizeof *header);
}

static bool segment_at(const elf_file *file, unsigned index, elf_segment *segment) {
    elf_header header;
    return header_of(file, &header) && index < header.e_phnum &&
           header.e_phentsize == sizeof *segment &&
           copy_out(file, element(header.e_phoff, index, sizeof *segment), segment,
                    sizeof *segment);
}

static bool find_segment(const elf_file *file, uint32_t type, elf_segment *segment) {
    for (unsigned i = 0; segment_at(file, i, segment); i++)
        if (segment->p_type == type)
            return true;
    return false;
}

/* Where the byte that will lie at `address` lies in the file; false if it lies nowhere in it. */
static bool offset_of(const elf_file *file, uint64_t address, uint64_t *offset) {
    elf_segment segment;
    for (unsigned i = 0; segment_at(file, i, &segment); i++) {
        if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_filesz) {
            *offset = element(segment.p_offset, address - segment.p_vaddr, 1);
            return true;
        }
    }
    return false;
}

/* ---- what kind of file --------------------------------------------------------------------- */

bool elf_is_elf(const elf_file *file) {
    return file->size >= sizeof(Elf32_Ehdr) && memcmp(file->bytes, ELFMAG, SELFMAG) == 0;
}

static unsigned char byte_order_here(void) {
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
}

bool elf_is_readable(const elf_file *file) {
    unsigned char word_size = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    return file->bytes[EI_CLASS] == word_size && file->bytes[EI_DATA] == byte_order_here();
}

/* At the same place in files of either word size; in the file's own byte order. */
static uint16_t machine_of(const elf_file *file) {
    uint16_t machine = EM_NONE;
    copy_out(file, offsetof(Elf32_Ehdr, e_machine), &machine, sizeof machine);
    return file->bytes[EI_DATA] == byte_order_here() ? machine
                                                     : (uint16_t)(machine << 8 | machine >> 8);
}

bool elf_same_machine(const elf_file *one, const elf_file *other) {
    return one->bytes[EI_CLASS] == other->bytes[EI_CLASS] &&
           one->bytes[EI_DATA] == other->bytes[EI_DATA] && machine_of(one) == machine_of(other);
}

const char *elf_machine(const elf_file *file) {
    static const struct {
        uint16_t machine;
        const char *name;
    } names[] = {{EM_X86_64, "x86-64"}, {EM_386, "i386"},    {EM_AARCH64, "aarch64"},
                 {EM_ARM, "arm"},       {EM_RISCV, "riscv"}, {EM_PPC64, "ppc64"},
                 {EM_S390, "s390"},     {EM_MIPS, "mips"}};
    static char text[60];
    const char *bits = file->bytes[EI_CLASS] == ELFCLASS32 ? "32-bit " : "";
    uint16_t machine = machine_of(file);
    snprintf(text, sizeof text, "%smachine %u", bits, machine);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].machine == machine)
            snprintf(text, sizeof text, "%s%s", bits, names[i].name);
    return text;
}

bool elf_is_loadable(const elf_file *file) {
    elf_header header;
    elf_segment segment;
    return header_of(file, &header) && (header.e_type == ET_EXEC || header.e_type == ET_DYN) &&
           find_segment(file, PT_LOAD, &segment);
}

const char *elf_interpreter(const elf_file *file) {
    elf_segment segment;
    return find_segment(file, PT_INTERP, &segment) ? text_at(file, segment.p_offset) : NULL;
}

/* ---- the dynamic section ------------------------------------------------------------------- */

static bool entry_at(const elf_file *file, uint64_t index, elf_entry *entry) {
    elf_segment segment;
    return find_segment(file, PT_DYNAMIC, &segment) && index < segment.p_filesz / sizeof *entry &&
           copy_out(file, element(segment.p_offset, index, sizeof *entry), entry, sizeof *entry) &&
           entry->d_tag != DT_NULL;
}

/* Where in the file what the dynamic section's entry `tag` points to lies. */
static bool find_table(const elf_file *file, int64_t tag, uint64_t *offset) {
    elf_entry entry;
    for (uint64_t i = 0; entry_at(file, i, &entry); i++)
        if (entry.d_tag == tag)
            return offset_of(file, entry.d_un.d_ptr, offset);
    return false;
}

const char *elf_needed(const elf_file *file, size_t index) {
    uint64_t strings;
    elf_entry entry;
    if (!find_table(file, DT_STRTAB, &strings))
        return NULL;
    for (uint64_t i = 0; entry_at(file, i, &entry); i++)
        if (entry.d_tag == DT_NEEDED && index-- == 0)
            return text_at(file, element(strings, entry.d_un.d_val, 1));
    return NULL;
}

static bool begins_with(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

const char *elf_c_library(const elf_file *file) {
    static const struct {
        const char *beginning, *name;
    } loaders[] = {{"ld-musl", "musl"},   {"ld-uClibc", "uClibc"}, {"linker", "bionic"},
                   {"ld-linux", "glibc"}, {"ld64", "glibc"},       {"ld.so", "glibc"}},
      libraries[] = {{"libc.so.6", "glibc"}, {"libc.musl", "musl"}, {"libc.so", "musl"}};
    const char *loader = elf_interpreter(file);
    if (loader) {
        const char *slash = strrchr(loader, '/');
        for (size_t i = 0; i < sizeof loaders / sizeof loaders[0]; i++)
            if (begins_with(slash ? slash + 1 : loader, loaders[i].beginning))
                return loaders[i].name;
    }
    const char *needed;
    for (size_t n = 0; (needed = elf_needed(file, n)) != NULL; n++)
        for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
            if (begins_with(needed, libraries[i].beginning))
                return libraries[i].name;
    return NULL;
}

/* ---- symbols ------------------------------------------------------------------------------- */

/* The GNU hash table tells no count: the last symbol ends the chain that begins last. */
static uint64_t count_by_gnu_hash(const elf_file *file, uint64_t table) {
    uint32_t head[4]; /* buckets, the first symbol in them, words of the filter, its shift */
    if (!copy_out(file, table, head, sizeof head))
        return 0;
    uint64_t buckets = table + sizeof head + (uint64_t)head[2] * sizeof(ElfW(Addr));
    uint64_t chains = buckets + (uint64_t)head[0] * sizeof(uint32_t);
    uint64_t last = 0;
    for (uint32_t i = 0; i < head[0]; i++) {
        uint32_t first;
        if (!copy_out(file, element(buckets, i, sizeof first), &first, sizeof first))
            return 0;
        if (first > last)
            last = first;
    }
    if (last < head[1])
        return head[1];
    for (uint32_t hash = 0; !(hash & 1); last++)
        if (!copy_out(file, element(chains, last - head[1], sizeof hash), &hash, sizeof hash))
            return 0;
    return last;
}

typedef struct symbol_table {
    uint64_t symbols, strings; /* offsets in the file */
    uint64_t count;
} symbol_table;

static bool dynamic_symbols(const elf_file *file, symbol_table *table) {
    uint64_t hash;
    uint32_t head[2]; /* of the older hash table: buckets, symbols */
    table->count = 0;
    if (!find_table(file, DT_SYMTAB, &table->symbols) ||
        !find_table(file, DT_STRTAB, &table->strings))
        return false;
    if (find_table(file, DT_GNU_HASH, &hash))
        table->count = count_by_gnu_hash(file, hash);
    else if (find_table(file, DT_HASH, &hash) && copy_out(file, hash, head, sizeof head))
        table->count = head[1];
    return true;
}

static bool section_at(const elf_file *file, unsigned index, elf_section *section) {
    elf_header header;
    return header_of(file, &header) && index < header.e_shnum &&
           header.e_shentsize == sizeof *section &&
           copy_out(file, element(header.e_shoff, index, sizeof *section), section,
                    sizeof *section);
}

static bool full_symbols(const elf_file *file, symbol_table *table) {
    elf_section section, strings;
    for (unsigned i = 0; section_at(file, i, &section); i++) {
        if (section.sh_type == SHT_SYMTAB && section_at(file, section.sh_link, &strings)) {
            *table = (symbol_table){section.sh_offset, strings.sh_offset,
                                    section.sh_size / sizeof(elf_symbol)};
            return true;
        }
    }
    return false;
}

static bool is_function(const elf_symbol *symbol) {
    unsigned type = symbol->st_info & 15;
    return symbol->st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_GNU_IFUNC);
}

static bool is_visible_function(const elf_symbol *symbol) {
    unsigned visibility = symbol->st_other & 3;
    return is_function(symbol) && symbol->st_info >> 4 != STB_LOCAL &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

static bool is_missing(const elf_symbol *symbol) {
    return symbol->st_shndx == SHN_UNDEF && symbol->st_info >> 4 == STB_GLOBAL;
}

static bool has_symbol(const elf_file *file, const symbol_table *table, const char *name,
                       bool (*wanted)(const elf_symbol *)) {
    size_t length = strlen(name) + 1;
    elf_symbol symbol;
    for (uint64_t i = 0; i < table->count; i++) {
        if (!copy_out(file, element(table->symbols, i, sizeof symbol), &symbol, sizeof symbol))
            return false;
        uint64_t text = element(table->strings, symbol.st_name, 1);
        if (wanted(&symbol) && text <= file->size && length <= file->size - text &&
            memcmp(file->bytes + text, name, length) == 0)
            return true;
    }
    return false;
}

bool elf_exports(const elf_file *file, const char *name) {
    symbol_table table;
    return dynamic_symbols(file, &table) && has_symbol(file, &table, name, is_visible_function);
}

bool elf_imports(const elf_file *file, const char *name) {
    symbol_table table;
    return dynamic_symbols(file, &table) && has_symbol(file, &table, name, is_missing);
}

bool elf_contains(const elf_file *file, const char *name) {
    symbol_table table;
    return full_symbols(file, &table) && has_symbol(file, &table, name, is_function);
}
