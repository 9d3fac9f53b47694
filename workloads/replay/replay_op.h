/*
 * What a thread of the player reads: one word for most calls, so that the player's own cost is
 * small beside the allocator's.
 *
 *   bits  0..3   replay_op_kind
 *   bit   4      the slot is one of those that threads share; a second word follows
 *   bits  5..10  power of two of the alignment
 *   bits 11..37  slot: the place in the thread's (or the shared) table where the block's address is
 *   bits 38..63  size in bytes; all ones: in a word of its own, which follows last
 *
 * The second word of a shared slot: bits 0..31 the turn that the slot must have reached before the
 * call, bits 32..63 its turn after the call.
 */
#ifndef REPLAY_OP_H
#define REPLAY_OP_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    REPLAY_OP_FREE,       /* of a block of 1 byte or more */
    REPLAY_OP_MALLOC,     /* 1 byte to REPLAY_SIZE_FOLLOWS - 1, touched at its ends */
    REPLAY_OP_MALLOC_ANY, /* any other */
    REPLAY_OP_CALLOC,
    REPLAY_OP_ALIGNED,
    REPLAY_OP_REALLOC,
    REPLAY_OP_REALLOC_NEW, /* of NULL */
    REPLAY_OP_REALLOC_END, /* to nothing, where the recorded allocator freed the block */
    REPLAY_OP_FREE_EMPTY,  /* of a block of 0 bytes, which has nothing that could be read */
    REPLAY_OP_FREE_NULL
} replay_op_kind;

enum {
    REPLAY_KIND_MASK = 15,
    REPLAY_SHARED = 16,
    REPLAY_ALIGN_SHIFT = 5,
    REPLAY_SLOT_SHIFT = 11,
    REPLAY_SLOT_BITS = 27,
    REPLAY_SIZE_SHIFT = 38,
    REPLAY_SIZE_FOLLOWS = (1 << 26) - 1
};

static inline unsigned replay_op_kind_of(uint64_t word) {
    return (unsigned)word & REPLAY_KIND_MASK;
}
static inline unsigned replay_op_align(uint64_t word) {
    return (unsigned)(word >> REPLAY_ALIGN_SHIFT) & 63;
}
static inline uint32_t replay_op_slot(uint64_t word) {
    return (uint32_t)(word >> REPLAY_SLOT_SHIFT) & ((UINT32_C(1) << REPLAY_SLOT_BITS) - 1);
}
static inline uint32_t replay_op_size(uint64_t word) {
    return (uint32_t)(word >> REPLAY_SIZE_SHIFT);
}

#endif
