/* What lies at an address: asked about pointers that a program got wrong, and about the address at
 * which it crashed. */
#ifndef HAK_DESCRIBE_H
#define HAK_DESCRIBE_H

#include "base/config.h"

enum hak_place_kind {
    HAK_PLACE_FOREIGN,   /* nothing of this allocator */
    HAK_PLACE_OWN,       /* its own memory: headers, heaps, tables */
    HAK_PLACE_SMALL,     /* a block of a slab */
    HAK_PLACE_SLAB_END,  /* what is left over behind a slab's last block */
    HAK_PLACE_FREE_SLAB, /* 64 KiB that are free, or just being taken or given back */
    HAK_PLACE_SPAN,      /* a block of whole slabs */
    HAK_PLACE_HUGE,      /* a block with a mapping of its own, or what lies before it there */
    HAK_PLACE_BEHIND     /* up to 64 KiB behind the end of a huge block's mapping */
};

struct hak_place {
    enum hak_place_kind kind;
    const void *address;  /* that was asked about */
    const void *block;    /* where the block begins, or began; NULL: it lies in none */
    size_t size;          /* of the block, in bytes that the program may use */
    ptrdiff_t offset;     /* of the address from the block's beginning */
    unsigned class_index; /* of the slab, or of what was one; 0: none */
    bool in_use;          /* the block is with the program */
    bool never_used;      /* a place for a block that was never handed out */
    const void *owner;    /* the thread heap that owns the slab; NULL: none */
    bool abandoned;       /* the slab has blocks out, and no owner */
    int owner_thread;     /* the system's id of the thread that uses that heap; 0: not known */
};

/* What lies at any address at all. Async-signal-safe: takes no lock, allocates nothing, touches no
 * memory that need not be there. While other threads use what lies there, the answer is that of
 * some moment, or, where several things changed at once, a mixture. Costs up to a few microseconds
 * for each GiB of the allocator's memory. */
struct hak_place hak_describe(const void *address);

/* Says on standard error, in one line, what lies at a place. The line begins with "hakmem: ",
 * `what`, `problem` and the address; `again` is added where a block begins that was freed. */
void hak_place_tell(const struct hak_place *place, const char *what, const char *problem,
                    const char *again);

/* Whether a place for a block of a slab was ever handed to a magazine. Any thread: the answer of a
 * moment. */
struct TinySlabMeta;
bool hak_was_carved(const struct TinySlabMeta *slab, const void *block);

/* Whether 8 bytes at a multiple of 8 can be read; what the program does with protections of its
 * blocks' pages is its own affair. One system call. */
bool hak_is_readable(const void *address);

#endif
