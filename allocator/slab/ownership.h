/* Who owns a slab, and the check of a build with HAKMEM_DEBUG_OWNERSHIP=1 that only the owner
 * touches it. */
#ifndef HAK_OWNERSHIP_H
#define HAK_OWNERSHIP_H

#include "superslab/superslab.h"

/* The calling thread's owner word: its heap's address, 0 while it has none. */
extern _Thread_local uintptr_t hak_self __attribute__((tls_model("initial-exec")));

/* Ends the program with a message that names thread, slab, owner and the function where, unless
 * the calling thread owns the slab. Nothing in other builds. */
#ifdef HAKMEM_DEBUG_OWNERSHIP
void hak_slab_check_owner(const TinySlabMeta *slab, const char *where);
#else
HAK_INLINE void hak_slab_check_owner(const TinySlabMeta *slab, const char *where) {
    (void)slab, (void)where;
}
#endif

/* Whether the calling thread owns a slab.
 *
 * relaxed: the answer is yes only if this thread wrote the word itself, and a thread sees its own
 * writes; what another thread's value is doesn't matter, nor how old it is. */
HAK_INLINE bool hak_slab_is_own(const TinySlabMeta *slab) {
    return hak_self && atomic_load_explicit(&slab->owner, memory_order_relaxed) == hak_self;
}

#endif
