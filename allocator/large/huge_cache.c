/* The cache of freed huge mappings: 32 places, each with a word that says whose it is. */
#include "large/huge_cache.h"
#include "large/large.h"
#include "large/runs.h"
#include "base/counters.h"
#include "base/options.h"
#include "os/os.h"

#include <stdatomic.h>

#define PLACES     32u
#define TAKE_TRIES 4u /* times that another thread may be faster before a new mapping is made */
#define DROP_MOST  8u /* mappings that make room for one */
#define ALONE      4u /* times the limit that a mapping may have which is kept alone */

/* What a place holds: nothing, something that one thread just puts in or takes out, or a mapping;
 * then the word is its address and its size, both in units of 64 KiB. A thread that stops in the
 * middle leaves its place BUSY, and the others pass it by. */
#define EMPTY ((uint64_t)0)
#define BUSY  ((uint64_t)1) /* no mapping begins at address 0 */

static struct place {
    _Atomic uint64_t word;
    _Atomic uint64_t freed_at;    /* ms; a hint for those who have not taken the place */
    struct hak_huge_entry *entry; /* for whoever has made the word BUSY */
} places[PLACES];
static _Atomic size_t cached_bytes;

static uint64_t word_of(const char *mapping, size_t size) {
    return (uint64_t)((uintptr_t)mapping >> HAK_SLAB_SHIFT) << 32 |
           (uint64_t)(size >> HAK_SLAB_SHIFT);
}
static bool is_mapping(uint64_t word) {
    return word > BUSY;
}
static size_t size_of(uint64_t word) {
    return (size_t)(word & UINT32_MAX) << HAK_SLAB_SHIFT;
}

/* relaxed, here and where it changes: a sum that bounds what is kept, and orders nothing */
size_t hak_huge_cached(void) {
    return atomic_load_explicit(&cached_bytes, memory_order_relaxed) + hak_runs_cached();
}

/* relaxed: a look; who acts on it takes the place first */
static uint64_t look_at(const struct place *place) {
    return atomic_load_explicit(&place->word, memory_order_relaxed);
}
static uint64_t freed_at(const struct place *place) {
    return atomic_load_explicit(&place->freed_at, memory_order_relaxed); /* relaxed: as look_at */
}

/* Takes out what `word` says is there; false if another thread was faster. */
static bool take_out(struct place *place, uint64_t word, struct hak_huge_kept *taken) {
    /* acquire: pairs with the release in keep(), so that the entry is seen; relaxed on failure:
     * nothing was taken. A word that came back in between says the same of what is there now. */
    if (!atomic_compare_exchange_strong_explicit(&place->word, &word, BUSY, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    *taken = (struct hak_huge_kept){.mapping = (char *)((uintptr_t)(word >> 32) << HAK_SLAB_SHIFT),
                                    .size = size_of(word),
                                    .entry = place->entry};
    /* release: the entry was read before another takes its place; relaxed: as hak_huge_cached */
    atomic_store_explicit(&place->word, EMPTY, memory_order_release);
    atomic_fetch_sub_explicit(&cached_bytes, taken->size, memory_order_relaxed);
    return true;
}

/* relaxed: there is one thread */
void hak_huge_fork_child(void) {
    size_t sum = 0;
    for (struct place *p = places; p < places + PLACES; p++) {
        if (look_at(p) == BUSY)
            atomic_store_explicit(&p->word, EMPTY, memory_order_relaxed);
        else
            sum += size_of(look_at(p));
    }
    atomic_store_explicit(&cached_bytes, sum, memory_order_relaxed);
}

struct hak_huge_kept hak_huge_cache_take(size_t size) {
    struct hak_huge_kept taken = {.mapping = NULL};
    for (unsigned tries = 0; tries < TAKE_TRIES; tries++) {
        struct place *best = NULL;
        uint64_t word = EMPTY;
        for (struct place *p = places; p < places + PLACES; p++) {
            uint64_t here = look_at(p);
            size_t has = size_of(here);
            if (is_mapping(here) && has >= size && has - size <= size / 4 &&
                (!best || has < size_of(word))) {
                best = p;
                word = here;
            }
        }
        if (!best || take_out(best, word, &taken))
            break;
    }
    return taken;
}

struct hak_huge_kept hak_huge_cache_take_other(size_t size) {
    struct hak_huge_kept taken = {.mapping = NULL};
    for (unsigned tries = 0; tries < TAKE_TRIES; tries++) {
        struct place *best = NULL;
        uint64_t word = EMPTY;
        for (struct place *p = places; p < places + PLACES; p++) {
            uint64_t here = look_at(p);
            size_t has = size_of(here), had = size_of(word);
            if (!is_mapping(here) || has < size / 4)
                continue;
            /* any larger one is better than all smaller ones */
            bool better = has >= size ? had < size || has < had : had < size && has > had;
            if (!best || better) {
                best = p;
                word = here;
            }
        }
        if (!best || take_out(best, word, &taken))
            break;
    }
    return taken;
}

struct hak_huge_kept hak_huge_cache_take_at(const char *mapping) {
    struct hak_huge_kept taken = {.mapping = NULL};
    for (struct place *p = places; p < places + PLACES; p++) {
        uint64_t here = look_at(p);
        if (is_mapping(here) && here >> 32 == (uintptr_t)mapping >> HAK_SLAB_SHIFT &&
            take_out(p, here, &taken))
            break;
    }
    return taken;
}

static bool keep(const struct hak_huge_kept *kept, size_t most) {
    /* relaxed: as hak_huge_cached; each thread answers for the sum that it made */
    size_t sum =
        atomic_fetch_add_explicit(&cached_bytes, kept->size, memory_order_relaxed) + kept->size;
    if (sum <= most || sum == kept->size) /* one alone: the caller has seen that it may be kept */
        for (struct place *p = places; p < places + PLACES; p++) {
            uint64_t none = EMPTY;
            /* acquire: pairs with the release in take_out; relaxed on failure: the next one */
            if (look_at(p) != EMPTY ||
                !atomic_compare_exchange_strong_explicit(
                    &p->word, &none, BUSY, memory_order_acquire, memory_order_relaxed))
                continue;
            p->entry = kept->entry;
            /* relaxed: a hint until the word is taken; release: the entry, for whoever takes it */
            atomic_store_explicit(&p->freed_at, hak_os_now_ms(), memory_order_relaxed);
            atomic_store_explicit(&p->word, word_of(kept->mapping, kept->size),
                                  memory_order_release);
            return true;
        }
    atomic_fetch_sub_explicit(&cached_bytes, kept->size, memory_order_relaxed);
    return false;
}

static void unmap(const struct hak_huge_kept *gone) {
    hak_huge_entry_give(gone->entry);
    hak_os_unmap(gone->mapping, gone->size);
    hak_count(HAK_COUNT_HUGE_UNMAPPED, 1);
}

static bool drop_oldest(void) {
    struct place *oldest = NULL;
    uint64_t word = EMPTY;
    for (struct place *p = places; p < places + PLACES; p++) {
        uint64_t here = look_at(p);
        if (is_mapping(here) && (!oldest || freed_at(p) < freed_at(oldest))) {
            oldest = p;
            word = here;
        }
    }
    struct hak_huge_kept gone;
    if (!oldest || !take_out(oldest, word, &gone))
        return false;
    unmap(&gone);
    return true;
}

void hak_huge_cache_put(char *mapping, size_t size, struct hak_huge_entry *entry) {
    size_t most = (size_t)hak_option(HAK_OPT_CACHE_HUGE) << 20;
    const struct hak_huge_kept it = {.mapping = mapping, .size = size, .entry = entry};
    for (unsigned drops = 0; size <= ALONE * most; drops++) {
        if (keep(&it, most))
            return;
        if (drops == DROP_MOST || !drop_oldest())
            break;
    }
    unmap(&it);
}

size_t hak_huge_purge(uint64_t now, uint64_t delay, unsigned most) {
    size_t bytes = 0;
    for (struct place *p = places; p < places + PLACES && most; p++) {
        uint64_t here = look_at(p);
        struct hak_huge_kept gone;
        if (!is_mapping(here) || now < freed_at(p) + delay || !take_out(p, here, &gone))
            continue;
        unmap(&gone);
        bytes += gone.size;
        most--;
    }
    return bytes + hak_runs_purge(now, delay, most);
}
