/* The table of huge blocks: chunks of entries, each a small sequence lock. */
#include "large/huge_table.h"
#include "os/os.h"

#include <stdatomic.h>

#define CHUNK_ENTRIES 64u
#define MOST_TRIES    64u /* reads of an entry that others write */

struct hak_huge_entry {
    _Atomic uint32_t version; /* odd while the entry is written */
    _Atomic uint64_t freed;   /* 0: live */
    _Atomic uintptr_t mapping, block;
    _Atomic size_t size;
    struct hak_huge_entry *next; /* among the unused ones, under the lock */
};

struct chunk {
    struct chunk *_Atomic next; /* an older one */
    struct hak_huge_entry entries[CHUNK_ENTRIES];
};

static struct chunk *_Atomic chunks;
static struct hak_huge_entry *unused, **unused_end = &unused; /* a queue, under the lock */

static bool add_chunk(void) {
    struct chunk *chunk = hak_os_meta(sizeof *chunk, HAK_CACHE_LINE);
    if (!chunk)
        return false;
    for (unsigned i = 0; i < CHUNK_ENTRIES; i++)
        hak_huge_entry_give(&chunk->entries[i]);
    /* relaxed: under the lock; release: who finds the chunk sees its zeros and the link */
    atomic_store_explicit(&chunk->next, atomic_load_explicit(&chunks, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&chunks, chunk, memory_order_release);
    return true;
}

struct hak_huge_entry *hak_huge_entry_take(void) {
    if (!unused && !add_chunk())
        return NULL;
    struct hak_huge_entry *entry = unused;
    unused = entry->next;
    if (!unused)
        unused_end = &unused;
    return entry;
}

void hak_huge_entry_give(struct hak_huge_entry *entry) {
    entry->next = NULL;
    *unused_end = entry;
    unused_end = &entry->next;
}

/* relaxed: there is one writer at a time, and it alone counts. release for what follows: a reader
 * that sees one of the new values sees the odd version, too, and one that sees the even one sees
 * all of them. A mapping that was kept for reuse mostly serves a block at the same place. */
void hak_huge_entry_write(struct hak_huge_entry *entry, char *mapping, char *block, size_t size) {
    if (atomic_load_explicit(&entry->block, memory_order_relaxed) != (uintptr_t)block ||
        atomic_load_explicit(&entry->mapping, memory_order_relaxed) != (uintptr_t)mapping ||
        atomic_load_explicit(&entry->size, memory_order_relaxed) != size) {
        uint32_t version = atomic_load_explicit(&entry->version, memory_order_relaxed);
        atomic_store_explicit(&entry->version, version + 1, memory_order_relaxed);
        atomic_store_explicit(&entry->mapping, (uintptr_t)mapping, memory_order_release);
        atomic_store_explicit(&entry->block, (uintptr_t)block, memory_order_release);
        atomic_store_explicit(&entry->size, size, memory_order_release);
        atomic_store_explicit(&entry->version, version + 2, memory_order_release);
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
    /* acquire: pairs with the release in add_chunk */
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
