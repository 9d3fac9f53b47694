/* The table of huge blocks: chunks of entries, each a small sequence lock; unused ones in a queue
 * without a lock (M. M. Michael, M. L. Scott, "Simple, Fast, and Practical Non-Blocking and
 * Blocking Concurrent Queue Algorithms", PODC 1996). */
#include "large/huge_table.h"
#include "base/link.h"
#include "os/os.h"

#include <errno.h>
#include <stdatomic.h>

#define CHUNK_ENTRIES 64u
#define MOST_TRIES    64u /* reads of an entry that others write */

struct hak_huge_entry {
    _Alignas(HAK_CACHE_LINE) _Atomic uint32_t version; /* odd while the entry is written */
    _Atomic uint64_t freed;                            /* 0: live */
    _Atomic uintptr_t mapping, block;
    _Atomic size_t size;
    _Atomic uint64_t next; /* a link, among the unused ones */
};

struct chunk {
    struct chunk *_Atomic next; /* an older one */
    _Atomic unsigned carved;    /* entries that were ever used, and tries to use one more */
    struct hak_huge_entry entries[CHUNK_ENTRIES];
};

/* The first chunk's first entry begins as the queue's only one, which is never taken out. */
static struct chunk first_chunk = {.carved = 1};
static struct chunk *_Atomic chunks = &first_chunk;

/* ---- the queue of unused entries -------------------------------------------------------------
 *
 * Entries are never given back, so that anyone may read a link at any time. The entry at the head
 * has been taken out already but for its link: it is what the next take returns, so the longest
 * unused comes first. */

static _Atomic uint64_t head, tail; /* 0: the first chunk's first entry */

static struct hak_huge_entry *entry_of(uint64_t link) {
    return hak_link_target(link);
}
static struct hak_huge_entry *end_of(uint64_t link) {
    struct hak_huge_entry *entry = entry_of(link);
    return entry ? entry : &first_chunk.entries[0];
}
/* acquire for all that is read of the queue: what a link leads to is seen as its writer left it */
static uint64_t load(_Atomic uint64_t *link) {
    return atomic_load_explicit(link, memory_order_acquire);
}
/* acq_rel: release of the entry that the link now leads to, acquire of the one before; relaxed on
 * failure: everything is read again */
static bool change(_Atomic uint64_t *link, uint64_t old, const struct hak_huge_entry *entry) {
    return atomic_compare_exchange_strong_explicit(link, &old, hak_link_after(old, entry),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

void hak_huge_entry_give(struct hak_huge_entry *entry) {
    /* relaxed: the entry is the caller's alone. Its tag goes on. */
    uint64_t link = atomic_load_explicit(&entry->next, memory_order_relaxed);
    atomic_store_explicit(&entry->next, hak_link_after(link, NULL), memory_order_relaxed);
    for (;;) {
        uint64_t last = load(&tail), after = load(&end_of(last)->next);
        if (last != load(&tail))
            continue;
        if (entry_of(after)) /* a thread has appended, and not yet moved the tail: done for it */
            change(&tail, last, entry_of(after));
        else if (change(&end_of(last)->next, after, entry)) {
            change(&tail, last, entry);
            return;
        }
    }
}

static struct hak_huge_entry *take_unused(void) {
    for (;;) {
        uint64_t first = load(&head), last = load(&tail), after = load(&end_of(first)->next);
        if (first != load(&head))
            continue;
        if (!entry_of(after))
            return NULL;
        if (end_of(first) == end_of(last))
            change(&tail, last, entry_of(after));
        else if (change(&head, first, entry_of(after)))
            return end_of(first);
    }
}

/* ---- entries --------------------------------------------------------------------------------- */

/* One that was never used, of a chunk; NULL when all were. */
static struct hak_huge_entry *carve(struct chunk *chunk) {
    /* relaxed, both: each number is drawn once; a look first, so that it stays small */
    if (atomic_load_explicit(&chunk->carved, memory_order_relaxed) >= CHUNK_ENTRIES)
        return NULL;
    unsigned i = atomic_fetch_add_explicit(&chunk->carved, 1, memory_order_relaxed);
    return i < CHUNK_ENTRIES ? &chunk->entries[i] : NULL;
}

struct hak_huge_entry *hak_huge_entry_take(void) {
    /* acquire: pairs with the release below */
    struct hak_huge_entry *entry = carve(atomic_load_explicit(&chunks, memory_order_acquire));
    if (entry || (entry = take_unused()))
        return entry;
    struct chunk *chunk = hak_os_meta(sizeof *chunk, HAK_CACHE_LINE);
    if (!chunk) {
        errno = ENOMEM;
        return NULL;
    }
    entry = carve(chunk); /* before others may */
    /* relaxed, but for the exchange: the link is only stored. release: who finds the chunk sees its
     * zeros and the link */
    struct chunk *older = atomic_load_explicit(&chunks, memory_order_relaxed);
    do
        atomic_store_explicit(&chunk->next, older, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&chunks, &older, chunk, memory_order_release,
                                                  memory_order_relaxed));
    return entry;
}

/* relaxed: there is one writer at a time, and it alone counts. release for what follows: a reader
 * that sees one of the new values sees the odd version, too, and one that sees the even one sees
 * all of them. A mapping that was kept for reuse mostly serves a block at the same place. */
void hak_huge_entry_write(struct hak_huge_entry *entry, char *mapping, char *block, size_t size) {
    if (atomic_load_explicit(&entry->block, memory_order_relaxed) != (uintptr_t)block ||
        atomic_load_explicit(&entry->mapping, memory_order_relaxed) != (uintptr_t)mapping ||
        atomic_load_explicit(&entry->size, memory_order_relaxed) != size) {
        uint32_t version = atomic_load_explicit(&entry->version, memory_order_relaxed);
        atomic_store_explicit(&entry->version, version | 1, memory_order_relaxed);
        atomic_store_explicit(&entry->mapping, (uintptr_t)mapping, memory_order_release);
        atomic_store_explicit(&entry->block, (uintptr_t)block, memory_order_release);
        atomic_store_explicit(&entry->size, size, memory_order_release);
        atomic_store_explicit(&entry->version, (version | 1) + 1, memory_order_release);
    }
    atomic_store_explicit(&entry->freed, 0, memory_order_release);
}

/* relaxed: where two threads draw the same number, it is the same time. release: a reader that sees
 * the next block in this entry sees that this one is no longer live. */
void hak_huge_entry_freed(struct hak_huge_entry *entry) {
    static _Atomic uint64_t frees;
    uint64_t number = 1 + atomic_load_explicit(&frees, memory_order_relaxed);
    atomic_store_explicit(&frees, number, memory_order_relaxed);
    atomic_store_explicit(&entry->freed, number, memory_order_release);
}

/* acquire: the version is read before the values, and again after them; what was written between
 * shows in it. relaxed for the second: the acquires before keep it in its place. In a child a
 * version may stay odd: its writer was left in the parent. */
static bool read_entry(const struct hak_huge_entry *entry, struct hak_huge *huge) {
    for (unsigned i = 0; i < MOST_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&entry->version, memory_order_acquire);
        huge->mapping = (char *)atomic_load_explicit(&entry->mapping, memory_order_acquire);
        huge->block = (char *)atomic_load_explicit(&entry->block, memory_order_acquire);
        huge->size = atomic_load_explicit(&entry->size, memory_order_acquire);
        huge->freed = atomic_load_explicit(&entry->freed, memory_order_acquire);
        huge->live = !huge->freed;
        uint32_t after = atomic_load_explicit(&entry->version, memory_order_relaxed);
        if (before == after && !(before & 1u))
            return true;
        hak_cpu_relax();
    }
    return false;
}

bool hak_huge_next(struct hak_huge_cursor *cursor, struct hak_huge *huge) {
    const struct chunk *chunk = cursor->chunk;
    /* acquire: pairs with the release in hak_huge_entry_take */
    if (!chunk)
        chunk = atomic_load_explicit(&chunks, memory_order_acquire);
    while (chunk) {
        while (cursor->index < CHUNK_ENTRIES) {
            cursor->chunk = chunk;
            if (read_entry(&chunk->entries[cursor->index++], huge) && huge->size)
                return true;
        }
        /* relaxed: written before the chunk was released. The last chunk stays the cursor's. */
        const struct chunk *next = atomic_load_explicit(&chunk->next, memory_order_relaxed);
        if (!next)
            return false;
        chunk = next;
        cursor->index = 0;
    }
    return false;
}
