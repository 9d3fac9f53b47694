/* Pieces of units, a bit each for what is taken, dirty and committed. */
#include "large/runs.h"
#include "base/counters.h"
#include "base/options.h"
#include "os/os.h"
#include "superslab/arena.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define PIECES      1024u
#define WORD_UNITS  64u
#define CLAIM_TRIES 8u  /* times that another thread may be faster before another way is taken */
#define PURGE_MOST  8u  /* parts purged to make room for one */
#define TRY_AGAIN   64u /* requests without a piece, after one was refused */
#define PIECE_MOST  ((size_t)1 << 30) /* bytes */
#define PIECES_MOST 8u /* where the address space that the process may have is limited */

struct word {
    _Atomic uint64_t taken;     /* by a holder, or by who purges */
    _Atomic uint64_t dirty;     /* of taken units too: as they were when they were taken */
    _Atomic uint64_t committed; /* changed by who has taken the units, as dirty */
    _Atomic uint64_t idle;      /* free and dirty since `looked_at` */
    _Atomic uint64_t looked_at; /* ms: when `idle` was last written; a hint, as that */
};

struct hak_run_piece {
    char *base;
    uint32_t words;
    _Atomic uint32_t dirty; /* units that are free and dirty */
    /* No free run is longer, in the lower half; in the upper one how often units became free since,
     * so that who has looked in vain notices. */
    _Atomic uint64_t longest;
    struct word at[];
};

static struct hak_run_piece *_Atomic pieces[PIECES]; /* without gaps; never changed */
static _Atomic size_t live_units, dirty_units;       /* all over; dirty: and free */
/* Units that are kept because others were used again: grows with these, and falls with what comes
 * free. So a program that replaces its blocks keeps as much as it has in use, and one that frees
 * most of them keeps little. */
static _Atomic size_t credit;

static size_t units_of(size_t bytes) {
    return bytes >> HAK_SLAB_SHIFT;
}

/* relaxed, here and for the sums above: they bound what is kept, and order nothing */
size_t hak_runs_cached(void) {
    return atomic_load_explicit(&dirty_units, memory_order_relaxed) << HAK_SLAB_SHIFT;
}

/* Some units of one word. */
struct part {
    struct word *word;
    uint64_t mask;
};

/* The part of units `first` to `end` - 1 that begins with `first`, which moves behind it. */
static struct part next_part(struct hak_run_piece *piece, size_t *first, size_t end) {
    size_t from = *first % WORD_UNITS, most = WORD_UNITS - from;
    size_t count = end - *first < most ? end - *first : most;
    struct part part = {.word = &piece->at[*first / WORD_UNITS],
                        .mask = (~(uint64_t)0 >> (WORD_UNITS - count)) << from};
    *first += count;
    return part;
}

static size_t unit_of(const struct hak_run_piece *piece, const char *address) {
    return units_of((size_t)(address - piece->base));
}
static char *address_of(const struct hak_run_piece *piece, size_t unit) {
    return piece->base + (unit << HAK_SLAB_SHIFT);
}

/* ---- claiming units and letting them go ----------------------------------------------------- */

/* Units became free: long runs may be found again. */
static void note_free(struct hak_run_piece *piece) {
    /* relaxed: the exchange checks it; release: who sees the new count sees the units free */
    uint64_t old = atomic_load_explicit(&piece->longest, memory_order_relaxed), now;
    do
        now = ((old >> 32) + 1) << 32 | piece->words * WORD_UNITS;
    while (!atomic_compare_exchange_weak_explicit(&piece->longest, &old, now, memory_order_release,
                                                  memory_order_relaxed));
}

/* release: the next holder, or who purges, sees all that was done to the units and their bits */
static void let_go(struct hak_run_piece *piece, size_t first, size_t end) {
    if (first == end)
        return;
    for (size_t unit = first; unit < end;) {
        struct part part = next_part(piece, &unit, end);
        atomic_fetch_and_explicit(&part.word->taken, ~part.mask, memory_order_release);
    }
    note_free(piece);
}

/* False: another thread has some of them. */
static bool claim(struct hak_run_piece *piece, size_t first, size_t end) {
    for (size_t unit = first; unit < end;) {
        size_t done = unit;
        struct part part = next_part(piece, &unit, end);
        /* relaxed, and on failure: the exchange checks it. acquire: pairs with let_go */
        uint64_t old = atomic_load_explicit(&part.word->taken, memory_order_relaxed);
        do {
            if (old & part.mask) {
                let_go(piece, first, done);
                return false;
            }
        } while (!atomic_compare_exchange_weak_explicit(
            &part.word->taken, &old, old | part.mask, memory_order_acquire, memory_order_relaxed));
    }
    return true;
}

/* relaxed, here and below: the bits of units are changed by who has taken them, and handed on by
 * let_go's release and claim's acquire */
static uint64_t dirty_of(struct part part) {
    return atomic_load_explicit(&part.word->dirty, memory_order_relaxed) & part.mask;
}

static size_t count_dirty(struct hak_run_piece *piece, size_t first, size_t end) {
    size_t count = 0;
    while (first < end)
        count += (unsigned)__builtin_popcountll(dirty_of(next_part(piece, &first, end)));
    return count;
}

/* relaxed: sums, as said above */
static void add_dirty(struct hak_run_piece *piece, size_t units) {
    atomic_fetch_add_explicit(&piece->dirty, (uint32_t)units, memory_order_relaxed);
    atomic_fetch_add_explicit(&dirty_units, units, memory_order_relaxed);
}

/* relaxed: as dirty_of */
static bool commit_some(struct hak_run_piece *piece, size_t first, size_t end) {
    if (!hak_os_commit(address_of(piece, first), (end - first) << HAK_SLAB_SHIFT))
        return false;
    while (first < end) {
        struct part part = next_part(piece, &first, end);
        atomic_fetch_or_explicit(&part.word->committed, part.mask, memory_order_relaxed);
    }
    return true;
}

/* relaxed: as dirty_of */
static bool is_committed(const struct hak_run_piece *piece, size_t unit) {
    return atomic_load_explicit(&piece->at[unit / WORD_UNITS].committed, memory_order_relaxed) >>
               unit % WORD_UNITS &
           1u;
}

/* Makes units readable and writable that aren't; their holder. False: not all. */
static bool commit(struct hak_run_piece *piece, size_t first, size_t end) {
    while (first < end) {
        size_t from = first;
        while (first < end && !is_committed(piece, first))
            first++;
        if (from < first && !commit_some(piece, from, first))
            return false;
        while (first < end && is_committed(piece, first))
            first++;
    }
    return true;
}

/* relaxed: as the sums it is made of */
static void change_credit(size_t gained, size_t lost, size_t most) {
    size_t old = atomic_load_explicit(&credit, memory_order_relaxed), now;
    do {
        now = old + gained > lost ? old + gained - lost : 0;
        now = now < most ? now : most;
    } while (now != old && !atomic_compare_exchange_weak_explicit(
                               &credit, &old, now, memory_order_relaxed, memory_order_relaxed));
}

/* Units are a holder's, readable and writable, or free as they were. */
enum took { TAKEN, OTHERS_WERE_FASTER, REFUSED };
static enum took take(struct hak_run_piece *piece, size_t first, size_t end) {
    if (!claim(piece, first, end))
        return OTHERS_WERE_FASTER;
    if (!commit(piece, first, end)) {
        let_go(piece, first, end);
        return REFUSED;
    }
    size_t reused = count_dirty(piece, first, end);
    add_dirty(piece, -reused);
    /* relaxed: a sum */
    size_t live =
        end - first + atomic_fetch_add_explicit(&live_units, end - first, memory_order_relaxed);
    change_credit(4 * reused, 0, live);
    return TAKEN;
}

/* ---- finding ------------------------------------------------------------------------------- */

/* The first unit of the first free run from the word of `from` on; -1: there is none. */
static int64_t find(const struct hak_run_piece *piece, size_t count, size_t from) {
    size_t run = 0; /* free units right before the word */
    for (size_t i = from / WORD_UNITS; i < piece->words; i++) {
        /* relaxed: who claims the run checks it */
        uint64_t taken = atomic_load_explicit(&piece->at[i].taken, memory_order_relaxed);
        size_t below = taken ? (size_t)__builtin_ctzll(taken) : WORD_UNITS;
        if (run + below >= count)
            return (int64_t)(i * WORD_UNITS - run);
        if (!taken) {
            run += WORD_UNITS;
            continue;
        }
        uint64_t starts = count < WORD_UNITS ? hak_run_starts(~taken, count) : 0;
        if (starts)
            return (int64_t)(i * WORD_UNITS) + __builtin_ctzll(starts);
        run = (size_t)__builtin_clzll(taken);
    }
    return -1;
}

/* NULL: no room; with `*refused` no memory either. */
static char *take_from(struct hak_run_piece *piece, size_t count, bool *refused) {
    /* acquire: pairs with note_free */
    uint64_t longest = atomic_load_explicit(&piece->longest, memory_order_acquire);
    if ((uint32_t)longest < count)
        return NULL;
    int64_t first = 0;
    for (unsigned tries = 0; tries < CLAIM_TRIES; tries++) {
        first = find(piece, count, (size_t)first);
        if (first < 0) {
            if (!tries) /* relaxed: a bound that is right whoever sees it, or is not stored */
                atomic_compare_exchange_strong_explicit(&piece->longest, &longest,
                                                        longest >> 32 << 32 | (count - 1),
                                                        memory_order_relaxed, memory_order_relaxed);
            break;
        }
        enum took took = take(piece, (size_t)first, (size_t)first + count);
        if (took == TAKEN)
            return address_of(piece, (size_t)first);
        if ((*refused = took == REFUSED))
            break;
    }
    return NULL;
}

/* Bytes of a piece: as many as SuperSlabs reserve at a time, whole words of units. */
static size_t piece_size(void) {
    size_t wanted = hak_arena_piece_size();
    if (wanted > PIECE_MOST)
        wanted = PIECE_MOST;
    return wanted & ~(WORD_UNITS * HAK_SLAB_SIZE - 1);
}

static struct hak_run_piece *new_piece(size_t size) {
    uint32_t words = (uint32_t)(units_of(size) / WORD_UNITS);
    struct hak_run_piece *piece =
        hak_os_meta(sizeof *piece + words * sizeof(struct word), HAK_CACHE_LINE);
    if (!piece || !(piece->base = hak_os_reserve(size, HAK_SUPERSLAB_SIZE)))
        return NULL; /* what is lost was never touched, and it happens rarely */
    piece->words = words;
    /* relaxed: released with the piece */
    atomic_store_explicit(&piece->longest, words * WORD_UNITS, memory_order_relaxed);
    return piece;
}

/* One more piece, which every thread may use as soon as it is known; NULL: there is no room. */
static struct hak_run_piece *add_piece(size_t count, unsigned place) {
    static _Atomic unsigned wait; /* relaxed: one more or less is the same */
    size_t size = piece_size();
    if (count > units_of(size) / 4 || (place >= PIECES_MOST && hak_os_address_limit() != SIZE_MAX))
        return NULL;
    unsigned left = atomic_load_explicit(&wait, memory_order_relaxed);
    if (left) {
        atomic_store_explicit(&wait, left - 1, memory_order_relaxed);
        return NULL;
    }
    struct hak_run_piece *piece = new_piece(size), *none = NULL;
    if (!piece)
        atomic_store_explicit(&wait, TRY_AGAIN, memory_order_relaxed);
    /* release: who finds the piece sees what it says; acquire on failure: pairs with that */
    while (piece && place < PIECES &&
           !atomic_compare_exchange_strong_explicit(&pieces[place], &none, piece,
                                                    memory_order_release, memory_order_acquire)) {
        none = NULL;
        place++;
    }
    return place < PIECES ? piece : NULL;
}

struct hak_run hak_run_take(size_t size) {
    struct hak_run run = {.base = NULL, .size = size};
    int kept = errno;
    size_t count = units_of(size);
    unsigned place = 0;
    bool refused = size > HAK_RUN_MAX;
    /* acquire: pairs with the release in add_piece */
    while (!refused && !run.base && place < PIECES &&
           (run.piece = atomic_load_explicit(&pieces[place], memory_order_acquire))) {
        run.base = take_from(run.piece, count, &refused);
        place++;
    }
    if (!refused && !run.base && place < PIECES && (run.piece = add_piece(count, place)))
        run.base = take_from(run.piece, count, &refused);
    errno = kept; /* there are other ways */
    return run;
}

/* ---- what a holder does -------------------------------------------------------------------- */

bool hak_run_extend(struct hak_run *run, size_t size) {
    size_t first = unit_of(run->piece, run->base);
    size_t end = first + units_of(size);
    if (size > HAK_RUN_MAX || end > run->piece->words * WORD_UNITS)
        return false;
    int kept = errno;
    bool done = take(run->piece, first + units_of(run->size), end) == TAKEN;
    errno = kept;
    if (done)
        run->size = size;
    return done;
}

void hak_run_clear(const struct hak_run *run, char *from, size_t bytes) {
    char *end = from + bytes;
    while (from < end) {
        size_t unit = unit_of(run->piece, from);
        char *next = address_of(run->piece, unit + 1);
        size_t part = next < end ? (size_t)(next - from) : (size_t)(end - from);
        if (count_dirty(run->piece, unit, unit + 1))
            memset(from, 0, part);
        from += part;
    }
}

bool hak_run_is_used(const struct hak_run *run) {
    size_t first = unit_of(run->piece, run->base);
    return count_dirty(run->piece, first, first + units_of(run->size)) != 0;
}

/* ---- giving pages back --------------------------------------------------------------------- */

/* Of units that the caller has taken, and that are free for all others to see. Bits of those whose
 * pages are gone are cleared; returns how many. relaxed: as dirty_of */
static size_t purge_units(struct hak_run_piece *piece, size_t first, size_t end) {
    size_t bytes = (end - first) << HAK_SLAB_SHIFT;
    bool reserved = hak_os_decommit(address_of(piece, first), bytes);
    /* The process may have as many mappings as it can; what is refused altogether stays dirty. */
    if (!reserved && !hak_os_purge(address_of(piece, first), bytes))
        return 0;
    for (size_t unit = first; unit < end;) {
        struct part part = next_part(piece, &unit, end);
        atomic_fetch_and_explicit(&part.word->dirty, ~part.mask, memory_order_relaxed);
        if (reserved)
            atomic_fetch_and_explicit(&part.word->committed, ~part.mask, memory_order_relaxed);
    }
    hak_count(HAK_COUNT_HUGE_UNMAPPED, 1);
    return end - first;
}

/* Free and dirty units of a word; with `idle` only those that were so long ago. relaxed: claim
 * checks whether they are free, and who has claimed them whether they are dirty. */
static uint64_t unused_of(const struct word *word, bool idle) {
    uint64_t mask = atomic_load_explicit(&word->dirty, memory_order_relaxed) &
                    ~atomic_load_explicit(&word->taken, memory_order_relaxed);
    return idle ? mask & atomic_load_explicit(&word->idle, memory_order_relaxed) : mask;
}

/* Purges such units of a word, and those that follow them in the next ones, up to HAK_RUN_MAX, in
 * some parts at most; returns how many. */
static size_t purge_from(struct hak_run_piece *piece, uint32_t index, bool idle, unsigned *most) {
    size_t purged = 0, first = (size_t)index * WORD_UNITS, end = first + WORD_UNITS;
    while (*most && first < end) {
        uint64_t mask = unused_of(&piece->at[index], idle) >> first % WORD_UNITS;
        if (!mask)
            break;
        first += (unsigned)__builtin_ctzll(mask);
        size_t behind = first;
        while (behind < piece->words * WORD_UNITS && behind - first < units_of(HAK_RUN_MAX) &&
               unused_of(&piece->at[behind / WORD_UNITS], idle) >> behind % WORD_UNITS & 1u)
            behind++;
        --*most;
        if (behind > first && claim(piece, first, behind)) {
            size_t dirty = count_dirty(piece, first, behind), gone = 0;
            if (dirty == behind - first) /* another thread may have purged some of them */
                gone = purge_units(piece, first, behind);
            add_dirty(piece, -gone);
            let_go(piece, first, behind);
            purged += gone;
        }
        first = behind + 1;
    }
    return purged;
}

/* After a delay: those that were idle at the last look go, and what is free and dirty now is idle,
 * until it is used again. */
static size_t purge_idle(struct hak_run_piece *piece, uint32_t index, uint64_t now,
                         unsigned *most) {
    struct word *word = &piece->at[index];
    size_t purged = purge_from(piece, index, true, most);
    if (*most) { /* relaxed: hints */
        atomic_store_explicit(&word->idle, unused_of(word, false), memory_order_relaxed);
        atomic_store_explicit(&word->looked_at, now, memory_order_relaxed);
    }
    return purged;
}

size_t hak_runs_purge(uint64_t now, uint64_t delay, unsigned most) {
    size_t units = 0;
    struct hak_run_piece *piece;
    /* acquire: pairs with the release in add_piece; relaxed: hints */
    for (unsigned i = 0;
         i < PIECES && most && (piece = atomic_load_explicit(&pieces[i], memory_order_acquire));
         i++)
        for (uint32_t w = 0;
             w < piece->words && most && atomic_load_explicit(&piece->dirty, memory_order_relaxed);
             w++)
            if (!delay)
                units += purge_from(piece, w, false, &most);
            else if (now >=
                     atomic_load_explicit(&piece->at[w].looked_at, memory_order_relaxed) + delay)
                units += purge_idle(piece, w, now, &most);
    return units << HAK_SLAB_SHIFT;
}

/* Purges units at the highest addresses until no more than `keep` are dirty and free. */
static void purge_beyond(size_t keep) {
    unsigned most = PURGE_MOST, i = 0;
    /* acquire, relaxed: as in hak_runs_purge */
    while (i < PIECES && atomic_load_explicit(&pieces[i], memory_order_acquire))
        i++;
    while (i-- && most) {
        struct hak_run_piece *piece = atomic_load_explicit(&pieces[i], memory_order_acquire);
        for (uint32_t w = piece->words; w-- && most;) {
            if (atomic_load_explicit(&dirty_units, memory_order_relaxed) <= keep)
                return;
            if (!atomic_load_explicit(&piece->dirty, memory_order_relaxed))
                break;
            purge_from(piece, w, false, &most);
        }
    }
}

void hak_run_shrink(struct hak_run *run, size_t size) {
    struct hak_run_piece *piece = run->piece;
    size_t first = unit_of(piece, run->base) + units_of(size);
    size_t end = unit_of(piece, run->base) + units_of(run->size), count = end - first;
    run->size = size;
    /* relaxed: sums */
    size_t live = atomic_fetch_sub_explicit(&live_units, count, memory_order_relaxed) - count;
    change_credit(0, 2 * count, live);
    size_t keep = units_of((size_t)hak_option(HAK_OPT_CACHE_HUGE) << 20);
    if (keep)
        keep += atomic_load_explicit(&credit, memory_order_relaxed);
    size_t room = keep > count ? keep - count : 0; /* for others */
    if (atomic_load_explicit(&dirty_units, memory_order_relaxed) > room)
        purge_beyond(room);
    /* What still is too much goes before anyone else may have it. */
    bool too_much = count > keep || atomic_load_explicit(&dirty_units, memory_order_relaxed) > room;
    size_t dirty = too_much ? count - purge_units(piece, first, end) : count;
    for (size_t unit = first; dirty && unit < end;) {
        struct part part = next_part(piece, &unit, end);
        atomic_fetch_or_explicit(&part.word->dirty, part.mask, memory_order_relaxed);
        if (atomic_load_explicit(&part.word->idle, memory_order_relaxed) & part.mask)
            atomic_fetch_and_explicit(&part.word->idle, ~part.mask, memory_order_relaxed);
    }
    add_dirty(piece, dirty);
    let_go(piece, first, end);
}
