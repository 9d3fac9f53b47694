/* What the C library's manual has for looking into malloc and adjusting it: malloc_trim, mallinfo,
 * mallinfo2, malloc_info, malloc_stats, mallopt. Not in <malloc.h> of every C library, and so
 * declared here. */
#include "base/options.h"
#include "hakmem.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#ifdef HAKMEM_WRAP /* see interpose.c */
#define malloc_trim  __wrap_malloc_trim
#define mallinfo     __wrap_mallinfo
#define mallinfo2    __wrap_mallinfo2
#define malloc_info  __wrap_malloc_info
#define malloc_stats __wrap_malloc_stats
#define mallopt      __wrap_mallopt
#endif

/* The members of both structures, as the manual names them; all are bytes but the two counts. */
#define MEMBERS(X)                                                                                 \
    X(arena)    /* readable and writable memory but that of huge blocks, freed ones too */         \
    X(ordblks)  /* always 1: free chunks are not counted one by one */                             \
    X(smblks)   /* always 0, as the next but two */                                                \
    X(hblks)    /* huge blocks, a mapping each */                                                  \
    X(hblkhd)   /* bytes in these */                                                               \
    X(usmblks)  /* always 0 */                                                                     \
    X(fsmblks)  /* free blocks that threads keep, and in the depot */                              \
    X(uordblks) /* with the program */                                                             \
    X(fordblks) /* free, fsmblks included */                                                       \
    X(keepcost) /* what malloc_trim could give back of slabs and huge blocks */

struct information {
#define X(name) size_t name;
    MEMBERS(X)
#undef X
};
struct small_information {
#define X(name) int name;
    MEMBERS(X)
#undef X
};

HAKMEM_API int malloc_trim(size_t pad);
HAKMEM_API struct small_information mallinfo(void);
HAKMEM_API struct information mallinfo2(void);
HAKMEM_API int malloc_info(int options, FILE *stream);
HAKMEM_API void malloc_stats(void);
HAKMEM_API int mallopt(int parameter, int value);

int malloc_trim(size_t pad) {
    (void)pad; /* of a heap's top, and there is none */
    return hak_collect() > 0;
}

/* ---- figures ------------------------------------------------------------------------------- */

/* The huge blocks' bytes; the last kind is theirs. */
static struct hak_class_stats huge_blocks(void) {
    struct hak_class_stats kind = {.size = 0}, next;
    for (unsigned i = 1; hak_stats_read_class(i, &next, sizeof next) == 0; i++)
        kind = next;
    return kind;
}

struct information mallinfo2(void) {
    struct hak_stats all;
    hak_stats_read(&all, sizeof all);
    struct hak_class_stats huge = huge_blocks();
    struct information info = {
        .ordblks = 1,
        .hblks = huge.blocks,
        .hblkhd = huge.slabs,
        .fsmblks = all.cached_threads + all.cached_depot,
        .uordblks = all.live,
        .fordblks = all.cached + all.unused,
        .keepcost = all.cached_slabs + all.cached_huge,
    };
    uint64_t mappings = huge.slabs + all.cached_huge;
    info.arena = all.committed > mappings ? all.committed - mappings : 0;
    return info;
}

/* The old form has no room for 2 GiB and more: the most it can say stands for them. */
struct small_information mallinfo(void) {
    struct information large = mallinfo2();
    return (struct small_information){
#define X(name) .name = large.name < INT_MAX ? (int)large.name : INT_MAX,
        MEMBERS(X)
#undef X
    };
}

void malloc_stats(void) {
    hak_stats_print(STDERR_FILENO, 0);
}

/* ---- malloc_info --------------------------------------------------------------------------- */

#define U(value) ((unsigned long)(value))

/* One heap, all threads' together; of each size class the free blocks in its slabs. */
static void print_information(FILE *stream, const struct hak_stats *all) {
    fprintf(stream, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n");
    uint64_t count = 0, bytes = 0;
    struct hak_class_stats kind, huge = huge_blocks();
    for (unsigned i = 1; hak_stats_read_class(i, &kind, sizeof kind) == 0; i++) {
        uint64_t blocks = kind.size ? kind.unused / kind.size : 0;
        if (!blocks)
            continue;
        count += blocks;
        bytes += blocks * kind.size;
        fprintf(stream, "  <size from=\"%lu\" to=\"%lu\" total=\"%lu\" count=\"%lu\"/>\n",
                U(kind.size), U(kind.size), U(blocks * kind.size), U(blocks));
    }
    fprintf(stream, "</sizes>\n");
    for (unsigned of_all = 0; of_all < 2; of_all++) {
        if (of_all)
            fprintf(stream, "</heap>\n");
        fprintf(stream, "<total type=\"fast\" count=\"0\" size=\"%lu\"/>\n",
                U(all->cached_threads + all->cached_depot));
        fprintf(stream, "<total type=\"rest\" count=\"%lu\" size=\"%lu\"/>\n", U(count), U(bytes));
        if (of_all)
            fprintf(stream, "<total type=\"mmap\" count=\"%lu\" size=\"%lu\"/>\n", U(huge.blocks),
                    U(huge.slabs));
        fprintf(stream, "<system type=\"current\" size=\"%lu\"/>\n", U(all->committed));
        fprintf(stream, "<system type=\"max\" size=\"%lu\"/>\n", U(all->committed_peak));
        fprintf(stream, "<aspace type=\"total\" size=\"%lu\"/>\n", U(all->mapped));
        fprintf(stream, "<aspace type=\"mprotect\" size=\"%lu\"/>\n", U(all->committed));
    }
    fprintf(stream, "</malloc>\n");
}

int malloc_info(int options, FILE *stream) {
    if (options != 0)
        return EINVAL;
    struct hak_stats all;
    hak_stats_read(&all, sizeof all);
    print_information(stream, &all);
    return 0;
}

/* ---- mallopt ------------------------------------------------------------------------------- */

/* The parameters of <malloc.h>. */
enum parameter {
    MXFAST = 1,          /* bytes, to 160 */
    TRIM_THRESHOLD = -1, /* bytes; -1: never trim */
    TOP_PAD = -2,        /* bytes */
    MMAP_THRESHOLD = -3, /* bytes */
    MMAP_MAX = -4,       /* mappings */
    ARENA_TEST = -7,     /* arenas */
    ARENA_MAX = -8,      /* arenas */
};

/* 1 for what is done or can be left undone, 0 for what a program must not rely on: patterns in
 * blocks (M_PERTURB), what happens on a mistake (M_CHECK_ACTION), values out of range, and
 * parameters that don't exist. */
int mallopt(int parameter, int value) {
    switch (parameter) {
    case TRIM_THRESHOLD: /* "never" has an equal, the other values mean a heap's top */
        if (value == -1)
            hak_option_set("HAKMEM_PURGE_DELAY", -1);
        return value >= -1;
    case MXFAST:
        return value >= 0 && value <= (int)(80 * sizeof(size_t) / 4);
    case TOP_PAD:
    case MMAP_THRESHOLD:
    case MMAP_MAX:
        return value >= 0;
    case ARENA_TEST:
    case ARENA_MAX:
        return value > 0;
    default:
        return 0;
    }
}
