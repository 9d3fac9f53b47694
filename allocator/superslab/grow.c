/* New SuperSlabs from the arena, and those that are given up where address space is short. */
#include "superslab/arena.h"
#include "superslab/table.h"
#include "base/counters.h"
#include "base/options.h"
#include "os/os.h"

#include <errno.h>

#define REVIVE_TRIES 16u /* released SuperSlabs that one search tries to map again */

#define BODY_SIZE (HAK_SUPERSLAB_SIZE - HAK_SLAB_SIZE) /* bytes: all slabs but the header's */

static char *body_of(const struct hak_superslab *ss) {
    return hak_superslab_base(ss) + HAK_SLAB_SIZE;
}

size_t hak_pool_release(void) {
    size_t bytes = hak_arena_release();
    uint32_t total = hak_pool_superslabs();
    for (uint32_t id = 0; id < total; id++) {
        struct hak_superslab *ss = hak_pool_superslab(id);
        uint32_t free = HAK_ALL_FREE;
        /* acquire: as in take_from; relaxed for the dirty bits, as there */
        if (!atomic_compare_exchange_strong_explicit(&ss->free, &free, 0, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        if (hak_pool_is_held()) {
            /* release: as in hak_pool_give */
            atomic_fetch_or_explicit(&ss->free, HAK_ALL_FREE, memory_order_release);
            hak_pool_file(ss);
            break;
        }
        atomic_store_explicit(&ss->dirty, 0, memory_order_relaxed);
        hak_pool_file(ss);
        hak_os_unmap(body_of(ss), BODY_SIZE);
        hak_hint_set(&hak_pool_hints, HAK_SET_RELEASED, id);
        bytes += BODY_SIZE;
    }
    return bytes;
}

/* A SuperSlab that was released, with its pages again; NULL if there is none, or memory, or the
 * next few have something else in their place now. Whoever takes its hint away has it alone. */
static struct hak_superslab *revive(void) {
    static _Atomic uint32_t next; /* where to go on; only that, and so relaxed */
    uint32_t total = hak_pool_superslabs();
    uint32_t start = atomic_load_explicit(&next, memory_order_relaxed);
    for (unsigned tries = 0; tries < REVIVE_TRIES; tries++) {
        int64_t id = hak_hint_find(&hak_pool_hints, HAK_SET_RELEASED, start, total);
        if (id < 0 && start) /* from the first on again */
            id = hak_hint_find(&hak_pool_hints, HAK_SET_RELEASED, start = 0, total);
        if (id < 0)
            break;
        start = (uint32_t)id + 1;
        if (!hak_hint_clear(&hak_pool_hints, HAK_SET_RELEASED, (uint32_t)id))
            continue;
        struct hak_superslab *ss = hak_pool_superslab((uint32_t)id);
        if (!hak_os_map_at(body_of(ss), BODY_SIZE)) {
            hak_hint_set(&hak_pool_hints, HAK_SET_RELEASED, (uint32_t)id);
            continue;
        }
        if (!hak_option(HAK_OPT_THP))
            hak_os_no_huge_pages(body_of(ss), BODY_SIZE);
        /* release: whoever takes of them sees that they are clean; relaxed: as above */
        atomic_store_explicit(&ss->free, HAK_ALL_FREE, memory_order_release);
        atomic_store_explicit(&next, start, memory_order_relaxed);
        return ss;
    }
    atomic_store_explicit(&next, start, memory_order_relaxed);
    return NULL;
}

struct hak_superslab *hak_pool_grow(void) {
    struct hak_superslab *ss = revive();
    if (!ss) {
        char *region = hak_pool_can_add() ? hak_arena_region() : NULL;
        if (!region) {
            errno = ENOMEM;
            return NULL;
        }
        ss = hak_superslab_of(region);
        /* relaxed: nobody knows it; released with its entry */
        atomic_store_explicit(&ss->category, HAK_CATEGORY_NONE, memory_order_relaxed);
        atomic_store_explicit(&ss->free, HAK_ALL_FREE, memory_order_relaxed);
        if (!hak_pool_add(ss)) {
            hak_os_unmap(region, HAK_SUPERSLAB_SIZE);
            errno = ENOMEM;
            return NULL;
        }
    }
    hak_count(HAK_COUNT_STAGE3_NEW, 1);
    return ss;
}
