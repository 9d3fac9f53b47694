/* A thread's cache of free slabs, for its spans: what it frees serves it again without a visit to
 * the pool.
 *
 * It holds free slabs of a few SuperSlabs, as a word each of the SuperSlab and a bit for each slab.
 * So neighbours that are freed one by one make one run, and a long run serves short spans. Before
 * them stand the last few short spans of each length as they are, for requests of that length. Its
 * thread is the only one to use it, with plain loads and stores, but others may take everything out
 * when it hasn't been used for a while, so that a thread that sleeps keeps nothing: then they say
 * so, have a barrier put into all threads (os/barrier.h), and leave it alone if its thread is in
 * the middle of using it. */
#ifndef HAK_SPAN_CACHE_H
#define HAK_SPAN_CACHE_H

#include "os/barrier.h"
#include "page_map/page_map.h"
#include "superslab/superslab.h"

#define HAK_SPAN_PLACES 8u
#define HAK_SPAN_SLABS  8u  /* of the longest span of which the last ones are kept as they are */
#define HAK_SPAN_DEPTH  16u /* so many of each length */

#define HAK_SPANS_FEW         64u /* slabs that may be kept, however few are out */
#define HAK_SPANS_OUT_OF_KEPT 4   /* of so many slabs that are out one is kept */

struct hak_span_cache {
    _Atomic bool busy;   /* its thread is at it */
    _Atomic bool wanted; /* another thread wants what is in it, or is taking it out */
    _Atomic uint8_t depth[HAK_SPAN_SLABS + 1]; /* spans of each length in `spans` */
    uint32_t kept; /* slabs in all; theirs who may use the cache, as are the spans and places */
    /* The number of the region (address / 2 MiB) in the upper half, its slabs that are kept here in
     * the lower; 0: nothing. */
    _Atomic uint64_t places[HAK_SPAN_PLACES];
    struct hak_superslab *hint; /* for hak_pool_take */
    int64_t out;                /* slabs that the program got from this thread and didn't bring back
                                   to it; may be below 0 */
    _Atomic uint32_t allowed;   /* slabs that may be kept: grows as the cache has none to serve;
                                   theirs who may use the cache */
    uint32_t victim;            /* the place that makes room next */
    _Atomic uint32_t uses;      /* by its thread; wraps */
    _Atomic uint32_t seen;      /* `uses`, when others last looked; theirs */
    _Atomic uint32_t least;     /* `kept` at its lowest since then */
    struct hak_span_cache *next;
    /* Spans whose owner word still says so. */
    char *spans[HAK_SPAN_SLABS + 1][HAK_SPAN_DEPTH];
};

/* What the first slab of a span says: HAK_OWNER_SPAN, _KEPT or _NONE. By who holds the span.
 * relaxed: see span_new */
HAK_INLINE void hak_span_set_owner(const void *span, uintptr_t owner) {
    atomic_store_explicit(&hak_slab_meta_of(span)->owner, owner, memory_order_relaxed);
}
/* It is none any more. */
HAK_INLINE void hak_span_end(const void *span) {
    hak_page_map_change(span, HAK_KIND_NONE);
    hak_span_set_owner(span, HAK_OWNER_NONE);
}

/* Makes a cache, zeroed memory that stays for ever, known to hak_span_caches_trim. Any thread. */
void hak_span_cache_register(struct hak_span_cache *cache);

/* By the cache's thread, before and after it uses the cache; inside the functions below, and in
 * span_cache.c. False: another thread wants what is there; it has to be left alone then, as if it
 * were empty and full. */
HAK_INLINE bool hak_span_cache_enter(struct hak_span_cache *cache) {
    if (HAK_LIKELY(hak_os_one_sided)) {
        /* relaxed: the barrier of who wants it comes after this store, and it sees it; or before
         * the load below, which then sees that it is wanted */
        atomic_store_explicit(&cache->busy, true, memory_order_relaxed);
        /* seq_cst: for the compiler only, which may not move the load up */
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        /* seq_cst: this and the load below, and the exchange in claim and the load in is_claimed,
         * have one order for all threads, so that one of both sides sees the other */
        atomic_exchange_explicit(&cache->busy, true, memory_order_seq_cst);
    }
    /* seq_cst: as above; and acquire: what another thread did to the cache lies before. A plain
     * load on x86-64. */
    if (HAK_LIKELY(!atomic_load_explicit(&cache->wanted, memory_order_seq_cst)))
        return true;
    /* relaxed: nothing was done */
    atomic_store_explicit(&cache->busy, false, memory_order_relaxed);
    return false;
}
HAK_INLINE void hak_span_cache_leave(struct hak_span_cache *cache) {
    /* release: who finds it at rest sees all that was done */
    atomic_store_explicit(&cache->busy, false, memory_order_release);
}

/* Notes that it was used; after slabs were taken out. relaxed, all: hints for others. */
HAK_INLINE void hak_span_cache_used(struct hak_span_cache *cache) {
    atomic_store_explicit(&cache->uses,
                          atomic_load_explicit(&cache->uses, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (cache->kept < atomic_load_explicit(&cache->least, memory_order_relaxed))
        atomic_store_explicit(&cache->least, cache->kept, memory_order_relaxed);
}

/* Slabs that may be kept now. relaxed: others only want to know whether there are any */
HAK_INLINE uint32_t hak_span_cache_allowed(const struct hak_span_cache *cache) {
    return atomic_load_explicit(&cache->allowed, memory_order_relaxed);
}

/* By its thread: the slabs that are in proportion to what it has out, `few` at least. */
HAK_INLINE uint32_t hak_span_cache_share(const struct hak_span_cache *cache, uint32_t few) {
    uint32_t part = cache->out > 0 ? (uint32_t)(cache->out / HAK_SPANS_OUT_OF_KEPT) : 0;
    return part > few ? part : few;
}

/* By its thread: what may be kept, but no more than its share. */
HAK_INLINE uint32_t hak_span_cache_most(const struct hak_span_cache *cache) {
    uint32_t most = hak_span_cache_share(cache, HAK_SPANS_FEW);
    uint32_t allowed = hak_span_cache_allowed(cache);
    return allowed < most ? allowed : most;
}

/* By the cache's thread. The program got `count` slabs, from the functions below or the pool. */
HAK_INLINE void hak_span_cache_count(struct hak_span_cache *cache, unsigned count) {
    cache->out += count;
}

/* Spans of `count` slabs that are kept as they are, and that so many are. relaxed, both: others
 * read it only to count. */
HAK_INLINE unsigned hak_span_cache_depth(const struct hak_span_cache *cache, unsigned count) {
    return atomic_load_explicit(&cache->depth[count], memory_order_relaxed);
}
HAK_INLINE void hak_span_cache_set_depth(struct hak_span_cache *cache, unsigned count,
                                         unsigned depth) {
    atomic_store_explicit(&cache->depth[count], (uint8_t)depth, memory_order_relaxed);
}

/* By its thread. Takes out the span of `count` slabs that came last, whose metadata is as it was;
 * NULL if there is none. */
HAK_INLINE char *hak_span_cache_pop(struct hak_span_cache *cache, unsigned count) {
    if (HAK_UNLIKELY(count > HAK_SPAN_SLABS) || HAK_UNLIKELY(!hak_span_cache_enter(cache)))
        return NULL;
    char *span = NULL;
    unsigned depth = hak_span_cache_depth(cache, count);
    if (depth) {
        span = cache->spans[count][--depth];
        hak_span_cache_set_depth(cache, count, depth);
        cache->kept -= count;
        hak_span_cache_count(cache, count);
        hak_span_cache_used(cache);
    }
    hak_span_cache_leave(cache);
    return span;
}

/* By its thread. Puts a span, whose page-map entry says so until it leaves the cache for the places
 * or the pool, in for hak_span_cache_pop; false when there is no room. */
HAK_INLINE bool hak_span_cache_push(struct hak_span_cache *cache, char *span, unsigned count) {
    if (HAK_UNLIKELY(count > HAK_SPAN_SLABS) || HAK_UNLIKELY(!hak_span_cache_enter(cache)))
        return false;
    unsigned depth = hak_span_cache_depth(cache, count);
    bool put = depth < HAK_SPAN_DEPTH && cache->kept + count <= hak_span_cache_most(cache);
    if (put) {
        cache->spans[count][depth] = span;
        hak_span_cache_set_depth(cache, count, depth + 1);
        cache->kept += count;
        cache->out -= count;
        hak_span_cache_used(cache);
    }
    hak_span_cache_leave(cache);
    return put;
}

/* By its thread. Takes `count` neighbouring slabs out, whose contents are anything; NULL if
 * there are none. Looks at the spans of all lengths and at 8 words, twice. */
char *hak_span_cache_take(struct hak_span_cache *cache, unsigned count);

/* By its thread. Takes the slabs behind a run of `count` at `base`, up to `wanted` in all; false
 * when they aren't all here. */
bool hak_span_cache_extend(struct hak_span_cache *cache, const char *base, unsigned count,
                           unsigned wanted);

/* By its thread. Puts slabs in, which come to the pool in the end; what is too much goes there at
 * once. At most a quarter of the slabs that the thread has out is kept, or 4 MiB, and besides
 * the spans before the places of no more than 8 SuperSlabs; at first, and after the cache was
 * emptied, less. All caches together keep 64 MiB at most. */
void hak_span_cache_put(struct hak_span_cache *cache, char *base, unsigned count);

/* By its thread. Gives everything to the pool, unless another thread is just doing so. */
void hak_span_cache_empty(struct hak_span_cache *cache);

/* The first of all caches, NULL if there is none; any thread. */
struct hak_span_cache *hak_span_caches(void);

/* By any thread, whose own cache is `own`, or NULL. From `cache` on, empties those that their
 * threads haven't used since they were last looked at, or `all`, and takes half of what the others
 * had left over all the time; but leaves alone those in use at this moment. Looks at no more than
 * `most`; one barrier for each 64 of other threads' of which something is wanted. Where to go on,
 * NULL behind the last. */
struct hak_span_cache *hak_span_caches_trim(struct hak_span_cache *cache,
                                            struct hak_span_cache *own, bool all, unsigned most);

/* In the child, whose only thread is the caller: the others' uses have ended. Looks at all caches.
 */
void hak_span_caches_fork_child(void);

/* Bytes that all caches keep now. Any thread, signal handlers too. */
size_t hak_span_caches_kept(void);

#endif
