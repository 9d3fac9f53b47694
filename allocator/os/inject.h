/* Test builds with HAKMEM_INJECT=1: the system calls of os.c can be made to fail, and the size of a
 * page be another than the machine's. Nothing in other builds.
 *
 * HAKMEM_INJECT_PAGE=16384 or 65536 in the environment sets the size: what is mapped then lies at
 * multiples of it, and a call that such a kernel would refuse or round ends the program. */
#ifndef HAK_INJECT_H
#define HAK_INJECT_H

#ifdef HAKMEM_INJECT
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Which calls count and may fail. */
enum hak_inject_call {
    HAK_INJECT_MMAP = 1,
    HAK_INJECT_MUNMAP = 2,
    HAK_INJECT_MPROTECT = 4,
    HAK_INJECT_MADVISE = 8,
    HAK_INJECT_MREMAP = 16,
    HAK_INJECT_ALL = 31,
};

/* From now on the nth call (1: the next) of those in `calls` fails with ENOMEM and does nothing;
 * with `on`, all that follow it too. 0: none. Any thread; counting starts anew. */
void hak_inject_fail(uint64_t nth, bool on, unsigned calls);

/* Calls since then, the failed ones included. */
uint64_t hak_inject_calls(void);

/* Bytes of a page, as set or as the machine has it. */
size_t hak_inject_page_size(void);

void *hak_inject_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int hak_inject_munmap(void *address, size_t size);
int hak_inject_mprotect(void *address, size_t size, int protection);
int hak_inject_madvise(void *address, size_t size, int advice);
void *hak_inject_mremap(void *address, size_t old_size, size_t new_size, int flags, void *target);
#endif

#endif
