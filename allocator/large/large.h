/* Blocks larger than a slab's: spans of whole slabs, and beyond 1 MiB huge blocks. */
#ifndef HAK_LARGE_H
#define HAK_LARGE_H

#include "large/span_cache.h"

#define HAK_ZEROED 1u /* all bytes of a new block are zero */
#define HAK_GROWS  2u /* it will probably become larger: it was made larger just now */

/* A block of `size` bytes, 1 to HAK_SPAN_MAX, from a span of the same length that the thread freed
 * before; NULL if its cache has none. */
void *hak_large_again(size_t size, struct hak_span_cache *cache);

/* Frees a block that is a span for hak_large_again. False, and nothing was done, where the cache
 * has no room. */
bool hak_large_keep(void *block, struct hak_span_cache *cache);

/* `size` bytes (HAK_SMALL_MAX < size, or any size with a larger alignment than slabs give) at a
 * multiple of `alignment`, a power of two; `how` is a sum of the above. `cache`, here and below, is
 * the calling thread's, or NULL. NULL with errno ENOMEM. */
void *hak_large_new(size_t size, size_t alignment, unsigned how, struct hak_span_cache *cache);

/* The kind of what is in use at an address, any value at all: the page map's entry, but
 * HAK_KIND_NONE for a span that a thread keeps for hak_large_again. Any thread. */
HAK_INLINE unsigned hak_kind_at(const void *address) {
    unsigned kind = hak_page_map_get(address);
    /* relaxed: to whom the block belongs it is said by the hand-over of the block; others are told
     * what was so at some moment */
    if (kind == HAK_KIND_SPAN && atomic_load_explicit(&hak_slab_meta_of(address)->owner,
                                                      memory_order_relaxed) == HAK_OWNER_KEPT)
        return HAK_KIND_NONE;
    return kind;
}

/* Whether a block begins at an address whose hak_kind_at is `kind`, HAK_KIND_SPAN or
 * HAK_KIND_HUGE. The functions below end the program where it doesn't; who can say more asks first.
 */
bool hak_large_begins(const void *block, unsigned kind);

/* Frees a block whose hak_kind_at is `kind`, HAK_KIND_SPAN or HAK_KIND_HUGE. Ends the program
 * if the pointer is not the block's start. */
void hak_large_free(void *block, unsigned kind, struct hak_span_cache *cache);

/* Bytes that may be used in such a block. */
size_t hak_large_usable(const void *block, unsigned kind);

/* The block with at least `size` usable bytes, in place or, a huge one, moved with its pages;
 * NULL when that is not possible (the block is as it was). Shrinks what has become much too large.
 */
void *hak_large_resize(void *block, unsigned kind, size_t size, struct hak_span_cache *cache);

/* Gives freed huge blocks that were kept for `delay` ms back to the system, `most` of them.
 * Returns their bytes. */
size_t hak_huge_purge(uint64_t now, uint64_t delay, unsigned most);

/* Bytes of such blocks that are kept now. Any thread, signal handlers too. */
size_t hak_huge_cached(void);

/* In the child: what the other threads were doing with kept blocks is gone with them. */
void hak_huge_fork_child(void);

#endif
