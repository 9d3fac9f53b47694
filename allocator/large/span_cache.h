/* A thread's cache of free slabs, for its spans: what it frees serves it again without a visit to
 * the pool.
 *
 * It holds free slabs of a few SuperSlabs, as a word each of the SuperSlab and a bit for each slab.
 * So neighbours that are freed one by one make one run, and a long run serves short spans. Every
 * change is one compare-and-swap of a word that says all there is to say: its thread is the only
 * one to put slabs in, but others may take them all out when it hasn't used them for a while, so
 * that a thread that sleeps keeps nothing. */
#ifndef HAK_SPAN_CACHE_H
#define HAK_SPAN_CACHE_H

#include "superslab/superslab.h"

#define HAK_SPAN_PLACES 8u

struct hak_span_cache {
    /* The number of the region (address / 2 MiB) in the upper half, its slabs that are kept here in
     * the lower; 0: nothing. */
    _Atomic uint64_t places[HAK_SPAN_PLACES];
    struct hak_superslab *hint; /* for hak_pool_take */
    uint32_t put, taken;        /* slabs, since the beginning; both wrap */
    _Atomic uint32_t stolen;    /* slabs that others took out; wraps, too */
    int32_t out;                /* slabs that the program got from this thread and didn't bring back
                                   to it; may be below 0 */
    _Atomic uint32_t allowed;   /* slabs that may be kept: grows as the cache has none to serve */
    uint32_t victim;            /* the place that makes room next */
    _Atomic uint32_t uses;      /* by its thread; wraps */
    _Atomic uint32_t seen;      /* `uses`, when others last looked; theirs */
    struct hak_span_cache *next;
};

/* Makes a cache, zeroed memory that stays for ever, known to hak_span_caches_trim. Any thread. */
void hak_span_cache_register(struct hak_span_cache *cache);

/* By the cache's thread. The program got `count` slabs, from here or from the pool. */
void hak_span_cache_count(struct hak_span_cache *cache, unsigned count);

/* By its thread. Takes `count` neighbouring slabs out, whose contents are anything; NULL if
 * there are none. Looks at 8 words. */
char *hak_span_cache_take(struct hak_span_cache *cache, unsigned count);

/* By its thread. Takes the slabs behind a run of `count` at `base`, up to `wanted` in all; false
 * when they aren't all here. */
bool hak_span_cache_extend(struct hak_span_cache *cache, const char *base, unsigned count,
                           unsigned wanted);

/* By its thread. Puts slabs in, which come to the pool in the end; what is too much goes there at
 * once. At most a quarter of the slabs that the thread has out is kept, or 1 MiB, and of no more
 * than 8 SuperSlabs; at first, and after the cache was emptied, less. All caches together keep 64
 * MiB at most. */
void hak_span_cache_put(struct hak_span_cache *cache, char *base, unsigned count);

/* By any thread. Gives everything to the pool. */
void hak_span_cache_empty(struct hak_span_cache *cache);

/* The first of all caches, NULL if there is none; any thread. */
struct hak_span_cache *hak_span_caches(void);

/* By any thread. From `cache` on, empties those that their threads haven't used since they were
 * last looked at, or `all`; looks at no more than `most`. Where to go on, NULL behind the last. */
struct hak_span_cache *hak_span_caches_trim(struct hak_span_cache *cache, bool all, unsigned most);

/* Bytes that all caches keep now. Any thread, signal handlers too. */
size_t hak_span_caches_kept(void);

#endif
