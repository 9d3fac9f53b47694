/* What the command needs to know of an ELF file, read from the file itself. */
#ifndef TOOL_ELF_FILE_H
#define TOOL_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* A file mapped into memory. What lies in it is not to be trusted: every function checks the
 * bounds, and takes what lies beyond them for missing. The functions below elf_same_machine are for
 * files that are of this very machine. */
typedef struct elf_file {
    const unsigned char *bytes; /* NULL if size is 0 */
    size_t size;                /* bytes */
} elf_file;

/* Maps the file at `path`, whatever it is. Returns 0, or an error as in errno. */
int elf_map(const char *path, elf_file *file);

void elf_unmap(elf_file *file);

/* Whether it begins as an ELF file does, with a header that is complete. */
bool elf_is_elf(const elf_file *file);

/* Whether both are for the same kind of processor, word size and byte order. */
bool elf_same_machine(const elf_file *one, const elf_file *other);

/* Its machine in words, such as "x86-64" or "32-bit i386"; a text that lives until the next call.
 */
const char *elf_machine(const elf_file *file);

/* Whether it has the word size and byte order of this command, whatever its processor is. */
bool elf_is_readable(const elf_file *file);

/* Whether it is something that can be started or loaded, as opposed to an object or core file. */
bool elf_is_loadable(const elf_file *file);

/* The loader that a program asks for, or NULL where it has none. The text lies in the file. */
const char *elf_interpreter(const elf_file *file);

/* The library that it asks for as number `index`, from 0 on; NULL after the last. The text lies in
 * the file. */
const char *elf_needed(const elf_file *file, size_t index);

/* The C library that a program or library is built for, such as "glibc" or "musl", by the name of
 * its loader or of the libraries that it asks for; NULL if they don't tell. */
const char *elf_c_library(const elf_file *file);

/* Whether it defines a function of this name for other objects to use. */
bool elf_exports(const elf_file *file, const char *name);

/* Whether it can't do without another object's symbol of this name. */
bool elf_imports(const elf_file *file, const char *name);

/* Whether its full symbol table, which is for debuggers, has a function of this name. */
bool elf_contains(const elf_file *file, const char *name);

#endif
