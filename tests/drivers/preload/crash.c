/* The C library's malloc, whose free ends in a fault after 4000 calls: the environment's
 * CRASH_KIND says which. With CRASH_HANDLER it brings a handler of its own, as a library may. */
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void __libc_free(void *);

static atomic_uint calls;
static const char *kind = "";

static void own_handler(int number) {
    static const char text[] = "the library's own handler\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)number;
    (void)written;
    _exit(77);
}

__attribute__((constructor)) static void start(void) {
    if (getenv("CRASH_KIND") != NULL)
        kind = getenv("CRASH_KIND");
    if (getenv("CRASH_HANDLER") != NULL)
        signal(SIGSEGV, own_handler);
}

static void crash(void) {
    static volatile int zero;
    if (strcmp(kind, "address") == 0) {
        *(volatile int *)0x6261 = 1;
    } else if (strcmp(kind, "wild") == 0) {
        *(volatile int *)0x6261626162616261 = 1; /* no pointer has such bits */
    } else if (strcmp(kind, "division") == 0) {
        raise(SIGFPE); /* not every processor traps it */
        zero = 1 / zero;
    } else if (strcmp(kind, "instruction") == 0) {
        __builtin_trap();
    } else if (strcmp(kind, "file") == 0) { /* a page beyond the end of its file */
        volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memfd_create("empty", 0), 0);
        zero = page[0];
    }
}

void free(void *block) {
    if (block != NULL && atomic_fetch_add(&calls, 1) >= 4000)
        crash();
    __libc_free(block);
}
