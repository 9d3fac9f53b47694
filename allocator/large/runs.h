/* Runs of 64 KiB units, for huge blocks of up to 32 MiB.
 *
 *   piece of 1 GiB, reserved   +--------+---+-----------+-----+----------------- ... ----+
 *                              | run    |   | run       | run |  never used              |
 *                              +--------+---+-----------+-----+----------------- ... ----+
 *   units: taken               1 1 1 1 1 0 0 1 1 1 1 1 1 1 1 1 0 0 0
 *          dirty               0 1 1 1 0 1 1 0 0 1 1 1 0 0 0 0 0 0 0  may have pages that aren't
 * zero committed           1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 0 0 0  readable and writable
 *
 * A run is the first that is long enough: so what is used stays together, and neighbours that are
 * freed one after the other serve a longer block with the pages that they have. Free units keep
 * their pages until they have been free for the purge delay, twice it at most, or until there are
 * more of them than HAKMEM_CACHE_HUGE says; a program that uses them again and again may keep as
 * many more as it has in use. Those at the highest addresses go first.
 *
 * No lock: a run is claimed word by word, 64 units each, and let go again where another thread was
 * faster. Who stops in the middle keeps a few units from the others, and nobody waiting. */
#ifndef HAK_RUNS_H
#define HAK_RUNS_H

#include "base/config.h"

#define HAK_RUN_MAX ((size_t)32 << 20) /* bytes: larger blocks have mappings of their own */

struct hak_run_piece;

/* A run; all sizes here are bytes and multiples of HAK_SLAB_SIZE. */
struct hak_run {
    char *base; /* NULL: none */
    size_t size;
    struct hak_run_piece *piece;
};

/* A run of `size` bytes, readable and writable; none where it is too long, or there is neither room
 * nor memory. Any thread. Looks at one word of each piece, and at all 256 of those that seem to
 * have room; pieces are few: HAKMEM_ARENA_RESERVE MiB each. */
struct hak_run hak_run_take(size_t size);

/* Makes a run longer where it is; false if what follows is taken, or can't be had, or it would be
 * too long. Its holder. */
bool hak_run_extend(struct hak_run *run, size_t size);

/* Gives back what lies beyond the first `size` bytes. Its holder. Unmaps 8 parts of what is kept at
 * most. */
void hak_run_shrink(struct hak_run *run, size_t size);

/* Makes bytes of a run zero, without touching pages that were never used. Its holder. */
void hak_run_clear(const struct hak_run *run, char *from, size_t bytes);

/* Whether any part of a run was in use before and kept its pages. Its holder. */
bool hak_run_is_used(const struct hak_run *run);

/* Gives the pages of units that have been free for `delay` ms back to the system, in `most` parts
 * of up to 32 MiB; with a delay of 0 those of all. Returns the bytes. Any thread. */
size_t hak_runs_purge(uint64_t now, uint64_t delay, unsigned most);

/* Bytes of free units that may have pages. Any thread, signal handlers too. */
size_t hak_runs_cached(void);

#endif
