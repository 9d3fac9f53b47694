/* Reports what a process is charged for where overcommit is strict, and holds much memory for a
 * while.
 *
 *   stages accounted   prints, for each stage, MiB live and MiB accounted: private mappings that
 * are, or were, writable, reservations without access not stages churn MIB   fills, frees and fills
 * again, other sizes each time, with MIB live at most stages high        asks for a mapping above
 * 47 bits and frees into it, if there are such addresses
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A mapping's first line has its permissions, its last one its flags: wr and ac are charged for. */
static size_t accounted(void) {
    FILE *file = fopen("/proc/self/smaps", "r");
    if (!file)
        exit(2);
    char line[512];
    size_t kib = 0, sum = 0;
    bool is_private = false;
    while (fgets(line, sizeof line, file)) {
        char permissions[8];
        unsigned long low, high;
        if (sscanf(line, "%lx-%lx %7s", &low, &high, permissions) == 3) {
            kib = (high - low) >> 10;
            is_private = permissions[3] == 'p';
        } else if (strncmp(line, "VmFlags:", 8) == 0 && is_private &&
                   (strstr(line, " wr") || strstr(line, " ac"))) {
            sum += kib;
        }
    }
    fclose(file);
    return sum >> 10;
}

struct block {
    struct block *next;
};

static struct block *fill(size_t bytes, size_t low, size_t high) {
    struct block *all = NULL;
    size_t size = low;
    while (bytes >= size) {
        struct block *b = malloc(size);
        if (!b)
            exit(3);
        memset(b, 1, size);
        b->next = all;
        all = b;
        bytes -= size;
        size = size + size / 8 + 16 <= high ? size + size / 8 + 16 : low;
    }
    return all;
}

static void empty(struct block *all) {
    while (all) {
        struct block *next = all->next;
        free(all);
        all = next;
    }
}

static const size_t ranges[][2] = {{16, 500}, {2000, 30000}, {40000, 900000}, {2 << 20, 6 << 20}};
enum { RANGES = sizeof ranges / sizeof *ranges };

static int high_addresses(void) {
    char *p = mmap((void *)((uintptr_t)1 << 52), 1 << 20, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || (uintptr_t)p >> 47 == 0) {
        printf("none\n");
        return 0;
    }
    printf("there are\n");
    fflush(stdout);
    free(p + 4096); /* ends the program with a message */
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "high") == 0)
        return high_addresses();
    if (argc == 3 && strcmp(argv[1], "churn") == 0) {
        for (int i = 0; i < 3 * RANGES; i++)
            empty(fill((size_t)atoi(argv[2]) << 20, ranges[i % RANGES][0], ranges[i % RANGES][1]));
        return 0;
    }
    printf("0 %zu\n", accounted());
    for (int i = 0; i < RANGES; i++) {
        struct block *all = fill((size_t)100 << 20, ranges[i][0], ranges[i][1]);
        printf("100 %zu\n", accounted());
        empty(all);
    }
    return 0;
}
