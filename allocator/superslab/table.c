/* Which SuperSlabs there are: by number, the sets of hints growing with them; without a lock. */
#include "superslab/table.h"
#include "os/os.h"

/* By number, in tables that are made as they are needed: one large one would count in full against
 * the commit limit where overcommit is strict. */
struct superslab_table {
    struct hak_superslab *_Atomic at[HAK_HINT_CHUNK];
};
static struct superslab_table *_Atomic tables[HAK_SUPERSLAB_MAX / HAK_HINT_CHUNK];
static _Atomic uint32_t superslab_count;

uint32_t hak_pool_superslabs(void) {
    /* acquire: pairs with the release in hak_pool_add, so that the entries below are seen */
    return atomic_load_explicit(&superslab_count, memory_order_acquire);
}

/* relaxed, both: the number came from a hint that was set, or a count that was read, with acquire,
 * after table and entry were written. */
struct hak_superslab *hak_pool_superslab(uint32_t id) {
    struct superslab_table *table =
        atomic_load_explicit(&tables[id / HAK_HINT_CHUNK], memory_order_relaxed);
    return atomic_load_explicit(&table->at[id % HAK_HINT_CHUNK], memory_order_relaxed);
}

/* The table for a number, after the chunk of the hints for it; NULL without memory. Where two
 * threads make one at once, what the second made is lost: it was never touched. */
static struct superslab_table *table_for(uint32_t id) {
    if (id >= HAK_SUPERSLAB_MAX)
        return NULL;
    struct superslab_table *_Atomic *place = &tables[id / HAK_HINT_CHUNK];
    /* acquire: pairs with the release below, so that the table's zeros and the chunk are seen */
    struct superslab_table *table = atomic_load_explicit(place, memory_order_acquire);
    if (table)
        return table;
    /* At its own page, so that summaries and first words share one. */
    struct hak_hint_chunk *chunk = hak_os_meta(sizeof *chunk, 4096);
    struct superslab_table *fresh = chunk ? hak_os_meta(sizeof *fresh, HAK_CACHE_LINE) : NULL;
    if (!fresh)
        return NULL;
    hak_hint_add_chunk(&hak_pool_hints, id, chunk);
    /* release publishes the table, after the chunk; acquire takes over that of a faster thread */
    if (atomic_compare_exchange_strong_explicit(place, &table, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    return table;
}

bool hak_pool_can_add(void) {
    return table_for(hak_pool_superslabs()) != NULL;
}

/* The place first, then the count: a thread that finds the next place taken raises the count for
 * whoever took it, so that one that stops in between keeps nobody waiting. */
bool hak_pool_add(struct hak_superslab *ss) {
    uint32_t id = hak_pool_superslabs();
    for (;;) {
        struct superslab_table *table = table_for(id);
        if (!table)
            return false;
        ss->id = id;
        struct hak_superslab *none = NULL;
        /* release: the header, for whoever sees the entry. acquire, on failure too: who raises the
         * count for another thread releases, below, what that thread wrote before. */
        bool mine = atomic_compare_exchange_strong_explicit(
            &table->at[id % HAK_HINT_CHUNK], &none, ss, memory_order_acq_rel, memory_order_acquire);
        uint32_t expected = id;
        /* release: whoever sees the new count sees the entry and the header; acquire on failure:
         * the next table may be another thread's */
        atomic_compare_exchange_strong_explicit(&superslab_count, &expected, id + 1,
                                                memory_order_acq_rel, memory_order_acquire);
        if (mine)
            return true;
        id++;
    }
}
