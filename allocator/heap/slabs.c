/* A heap's own slabs: where blocks come from when the magazines and the depot have none, and where
 * they go home. */
#include "heap/heap.h"
#include "base/counters.h"
#include "base/guard.h"
#include "base/options.h"
#include "base/size_class.h"
#include "page_map/page_map.h"

#include <string.h>

/* Exhausted slabs of a class that a heap keeps although their blocks come home from other threads:
 * 1 MiB. The blocks of an owned slab wait for its owner, who may sleep or have no use for them;
 * those of one without an owner are anyone's. In a guard build hardly any are kept, so that slabs
 * change hands as often as they can. */
#ifdef HAKMEM_GUARD
#define EXHAUSTED_KEPT 1u
#else
#define EXHAUSTED_KEPT 16u
#endif

/* The share of its blocks for which a slab without an owner is worth a claim: rather than unused
 * memory of a mapped SuperSlab, and rather than mapping more. */
#define WORTH_REUSING  8u
#define WORTH_ADOPTING 32u

/* Partly used slabs of a class that a heap keeps; of more, those that are half free are given up.
 * In a guard build hardly any, so that slabs change hands as often as they can. */
#ifdef HAKMEM_GUARD
#define PARTIALS_KEPT 1u
#else
#define PARTIALS_KEPT 4u
#endif

/* ---- lists of own slabs -------------------------------------------------------------------- */

static TinySlabMeta **list_of(struct hak_heap *heap, const TinySlabMeta *slab) {
    struct hak_heap_class *class = &heap->classes[hak_slab_class(slab)];
    return slab->exhausted ? &class->exhausted : &class->partial;
}

static uint32_t *length_of(struct hak_heap *heap, const TinySlabMeta *slab) {
    struct hak_heap_class *class = &heap->classes[hak_slab_class(slab)];
    return slab->exhausted ? &class->exhausteds : &class->partials;
}

void hak_heap_unlink(struct hak_heap *heap, TinySlabMeta *slab) {
    hak_slab_check_owner(slab, __func__);
    (*length_of(heap, slab))--;
    heap->classes[hak_slab_class(slab)].out -= (int32_t)hak_slab_used(slab);
    if (slab->next)
        slab->next->previous = slab->previous;
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        *list_of(heap, slab) = slab->next;
    slab->next = slab->previous = NULL;
}

static void link_slab(struct hak_heap *heap, TinySlabMeta *slab, bool without_blocks) {
    hak_slab_check_owner(slab, __func__);
    slab->exhausted = without_blocks;
    heap->owning |= hak_class_bit(hak_slab_class(slab));
    (*length_of(heap, slab))++;
    heap->classes[hak_slab_class(slab)].out += (int32_t)hak_slab_used(slab);
    TinySlabMeta **list = list_of(heap, slab);
    slab->previous = NULL;
    slab->next = *list;
    if (*list)
        (*list)->previous = slab;
    *list = slab;
}

/* ---- telling an owner that its slab's remote queue has something ---------------------------- */

/* Adds a slab to a heap's pending stack; false if no thread uses the heap. */
static bool tell(struct hak_heap *heap, TinySlabMeta *slab) {
    /* relaxed: the value is stored as a link or compared, never followed */
    uintptr_t old = atomic_load_explicit(&heap->pending, memory_order_relaxed);
    do {
        if (old == HAK_PENDING_CLOSED)
            return false;
        slab->pending_next = (TinySlabMeta *)old;
        /* release: the owner sees pending_next; relaxed on failure: only tried again. A stack that
         * is only taken whole has no ABA: whatever the old head stands for now, it is the head. */
    } while (!atomic_compare_exchange_weak_explicit(&heap->pending, &old, (uintptr_t)slab,
                                                    memory_order_release, memory_order_relaxed));
    return true;
}

/* Offers a slab without an owner to which `count` blocks came home, once they are worth a claim:
 * those that adopt it for a block or two would soon be back. */
static void offer_if_worth(TinySlabMeta *slab, unsigned count) {
    unsigned blocks = (unsigned)HAK_SLAB_SIZE / hak_class_size[hak_slab_class(slab)];
    if (count * WORTH_REUSING >= blocks)
        hak_pool_offer(slab, HAK_OFFER_RETURNED);
    else if (count * WORTH_ADOPTING >= blocks)
        hak_pool_offer(slab, HAK_OFFER_CAME_HOME);
}

/* The caller holds the slab's notice, and hands it to the owner. If there is none, or it is just
 * leaving, the notice is taken back: whoever claims the slab will drain it.
 *
 * Nothing is lost in between. A claim comes before its drain; had it come after the owner word was
 * read here and its drain before the withdrawal, the drain would have changed the version and the
 * withdrawal failed. */
static void give_notice(TinySlabMeta *slab) {
    for (;;) {
        uint64_t seen = slab_remote_load(slab);
        /* acquire: pairs with the release of a claim, so that the heap is seen as it is */
        uintptr_t owner = atomic_load_explicit(&slab->owner, memory_order_acquire);
        if (owner > HAK_OWNER_KEPT && tell((struct hak_heap *)owner, slab))
            return;
        if (slab_remote_withdraw_notice(slab, seen)) {
            /* Looked at again, acquire: an owner that left the slab and, in its second look, still
             * saw the notice has left the offer to this thread. Only a hint, and so allowed
             * although the slab may be anybody's by now. */
            if (atomic_load_explicit(&slab->owner, memory_order_acquire) == HAK_OWNER_ABANDONED)
                offer_if_worth(slab, slab_remote_count_of(seen));
            return;
        }
    }
}

/* Drains an own slab that is in a list; returns the blocks. */
static unsigned drain_own(struct hak_heap *heap, TinySlabMeta *slab, bool notice_arrived) {
    unsigned before = hak_slab_used(slab);
    slab_claim_then_drain(slab, notice_arrived);
    unsigned count = before - hak_slab_used(slab);
    heap->classes[hak_slab_class(slab)].out -= (int32_t)count;
    return count;
}

static void slab_emptied(struct hak_heap *heap, TinySlabMeta *slab);

/* A slab without an owner may have all its blocks in the remote queue. Nobody would look at it
 * again, so it is claimed and given back here. */
static void collect(struct hak_heap *heap, TinySlabMeta *slab) {
    if (!slab_claim_then_drain(slab, false))
        return;
    bool left_behind = slab->left_behind;
    link_slab(heap, slab, false);
    if (hak_slab_used(slab) == 0) {
        slab_emptied(heap, slab);
    } else if (!left_behind || hak_option(HAK_OPT_ADOPT)) {
        hak_count(HAK_COUNT_ADOPTED, left_behind);
    } else {
        hak_heap_unlink(heap, slab);
        hak_heap_leave_slab(heap, slab, true);
    }
}

void hak_heap_leave_slab(struct hak_heap *heap, TinySlabMeta *slab, bool left_behind) {
    unsigned used = hak_slab_used(slab);
    if (heap->kept == slab)
        heap->kept = NULL;
    hak_slab_abandon(slab, left_behind);
    /* The last block may have been pushed after the drain, by a thread that saw this owner still:
     * this read-modify-write comes before that push, which then sees that there is no owner, or
     * after it, and sees the block. */
    uint64_t word = slab_remote_load_ordered(slab);
    if (word & SLAB_REMOTE_NOTICE)
        return; /* whoever has the notice finds no owner, and does what is left to do */
    if (slab_remote_count_of(word) >= used)
        collect(heap, slab);
    else if (slab_remote_count_of(word))
        offer_if_worth(slab, slab_remote_count_of(word));
}

/* After a push, or after a notice was passed on: the slab may have no owner, and all its blocks at
 * home. It may also be anybody's, in another life: its metadata stays readable, and a claim works
 * on whatever slab has no owner. Without a heap (no memory for one) it waits for its adoption. */
static void look_after(struct hak_heap *heap, TinySlabMeta *slab) {
    /* acquire: `used` is what the last owner left, and doesn't change while there is none */
    if (heap && atomic_load_explicit(&slab->owner, memory_order_acquire) == HAK_OWNER_ABANDONED &&
        slab_remote_count_relaxed(slab) >= hak_slab_used(slab))
        collect(heap, slab);
}

static void push_remote(struct hak_heap *heap, void *first, void *last, unsigned count) {
    TinySlabMeta *slab = hak_slab_meta_of(first);
    hak_count(HAK_COUNT_REMOTE_PUSHES, 1);
    uint64_t old = slab_remote_push_chain(slab, first, last, count);
    if (!(old & SLAB_REMOTE_NOTICE))
        give_notice(slab);
    look_after(heap, slab);
}

/* ---- blocks come home ---------------------------------------------------------------------- */

/* An own slab has all its blocks. Keeps one such slab a heap, gives the others back. */
static void slab_emptied(struct hak_heap *heap, TinySlabMeta *slab) {
    /* A notice is out: the slab stays ours until it has arrived. */
    if (!slab_remote_is_quiet(slab))
        return;
    if (heap->kept == slab)
        return;
    hak_heap_retire_kept(heap);
    heap->kept = slab;
}

/* Most of what came home to an own slab since it was last exhausted came from other threads. What
 * this thread itself frees would cost it more as another's. */
static bool is_foreign(const TinySlabMeta *slab) {
    return hak_guarding() || (slab->drained && 2 * slab->drained >= slab->taken);
}

/* This thread has more partly used slabs of a class than it needs, others may have too few: gives
 * one up, unless it is in use. Half free ones go to the class's mailbox, and onto this heap's
 * bench; of those whose blocks come home from others less will do, and they are only offered. Not
 * one whose notice is out: that would wait here while the next owner is told nothing. */
HAK_NOINLINE static void return_surplus(struct hak_heap *heap, TinySlabMeta *slab) {
    unsigned class_index = hak_slab_class(slab);
    struct hak_heap_class *class = &heap->classes[class_index];
    if (slab == class->partial)
        slab = slab->next;
    uint32_t out = hak_slab_used(slab) * slab->block_size;
    bool half_free = 2 * out <= slab->limit && hak_mailbox_has_room(class_index);
    bool wanted = is_foreign(slab) && slab->limit - out >= slab->limit / WORTH_ADOPTING &&
                  hak_option(HAK_OPT_ADOPT);
    if (!half_free && !wanted)
        return;
    if (slab == heap->kept || heap->ending || slab_remote_has_notice(slab))
        return;
    hak_heap_unlink(heap, slab);
    hak_count(HAK_COUNT_RETURNED, 1);
    if (!half_free) {
        hak_heap_leave_slab(heap, slab, false);
        return;
    }
    if (class->bench)
        hak_remember_sticky(heap, class->bench);
    class->bench = slab;
    hak_heap_leave_slab(heap, slab, false);
    hak_mailbox_post(slab, class_index); /* only now, when it can be claimed */
}

/* Whether blocks that come home to a class may make slabs surplus; changes only where slabs change
 * lists, or other threads come and go. */
static bool is_crowded(const struct hak_heap *heap, unsigned class_index) {
    return heap->classes[class_index].partials > PARTIALS_KEPT && hak_heaps_in_use() > 1;
}

/* In a crowded class: whether return_surplus is worth a call. */
HAK_INLINE bool may_be_surplus(const TinySlabMeta *slab, uint32_t used, bool has_room) {
    return slab->drained || (has_room && 2 * used * slab->block_size <= slab->limit) ||
           hak_guarding();
}

/* An own slab got blocks back, and `used` are still out. It may be somebody else's afterwards. */
static void blocks_came_home(struct hak_heap *heap, TinySlabMeta *slab, unsigned used) {
    if (slab->exhausted) {
        hak_heap_unlink(heap, slab);
        link_slab(heap, slab, false);
    }
    if (used == 0)
        slab_emptied(heap, slab);
    else if (HAK_UNLIKELY(is_crowded(heap, hak_slab_class(slab))))
        return_surplus(heap, slab);
}

/* Gives the blocks from `at` to before `end` to their slabs, up to the first that is of another
 * owner's; returns where it stopped. */
HAK_NOINLINE static void *const *give_own(struct hak_heap *heap, void *const *at,
                                          void *const *end) {
    const uintptr_t self = hak_self;
    void *const *first = at;
    if (at == end)
        return at;
    const unsigned class_index = hak_slab_class(hak_slab_meta_of(*at)); /* that of all of them */
    bool crowded = is_crowded(heap, class_index);
    bool has_room = crowded && hak_mailbox_has_room(class_index);
    const bool mixed = hak_slab_are_mixed(at, end);
    while (at < end) {
        TinySlabMeta *slab = hak_slab_meta_of(*at);
        __asm__("" : "+r"(slab)); /* as one address: gcc adds its parts up anew for each field */
        /* relaxed: as in hak_slab_is_own */
        if (atomic_load_explicit(&slab->owner, memory_order_relaxed) != self)
            break;
        at = hak_slab_give(slab, at, mixed ? at + 1 : end);
        uint32_t used = hak_slab_used(slab);
        if (HAK_UNLIKELY(slab->exhausted | !used) ||
            (crowded && may_be_surplus(slab, used, has_room))) {
            blocks_came_home(heap, slab, used);
            crowded = is_crowded(heap, class_index);
            has_room = crowded && hak_mailbox_has_room(class_index);
        }
    }
    heap->classes[class_index].out -= (int32_t)(at - first);
    return at;
}

/* The same for all, the first of which is another owner's. */
HAK_NOINLINE static void give_mixed(struct hak_heap *heap, void *const *at, void *const *end) {
    /* Foreign blocks are gathered into a chain a slab, in a small direct-mapped table. */
    enum { CHAINS = 16 };
    struct {
        uintptr_t slab;
        void *first, *last;
        unsigned count;
    } chains[CHAINS];
    for (unsigned i = 0; i < CHAINS; i++)
        chains[i].count = 0;

    while (at < end) {
        void *block = *at++;
        TinySlabMeta *slab = hak_slab_meta_of(block);
        if (HAK_UNLIKELY((uint32_t)((char *)block - slab->base) >= hak_slab_bump(slab)))
            hak_slab_never_gave(slab, block);
        uintptr_t key = (uintptr_t)block >> HAK_SLAB_SHIFT;
        unsigned place = (unsigned)(key ^ key >> 4) % CHAINS;
        if (chains[place].count && chains[place].slab != key) {
            push_remote(heap, chains[place].first, chains[place].last, chains[place].count);
            chains[place].count = 0;
        }
        if (!chains[place].count) {
            chains[place].slab = key;
            chains[place].last = block;
        } else {
            slab_block_set_next(block, chains[place].first);
        }
        chains[place].first = block;
        chains[place].count++;
        if (heap)
            at = give_own(heap, at, end);
    }
    for (unsigned i = 0; i < CHAINS; i++)
        if (chains[i].count)
            push_remote(heap, chains[i].first, chains[i].last, chains[i].count);
}

void hak_heap_give_blocks(struct hak_heap *heap, void *const *blocks, unsigned count) {
    void *const *end = blocks + count;
    void *const *at = heap ? give_own(heap, blocks, end) : blocks;
    if (at < end)
        give_mixed(heap, at, end);
}

void hak_heap_give_block(struct hak_heap *heap, void *block) {
    TinySlabMeta *slab = hak_slab_meta_of(block);
    if (!hak_slab_is_own(slab)) {
        hak_heap_give_blocks(heap, &block, 1);
        return;
    }
    hak_slab_give(slab, &block, &block + 1);
    heap->classes[hak_slab_class(slab)].out--;
    blocks_came_home(heap, slab, hak_slab_used(slab));
}

/* ---- blocks go out ------------------------------------------------------------------------- */

/* What one call does at most with slabs that were told of: blocks drained, a slab counting for
 * SLAB_WORK of them. The rest waits in heap->told, as safe as in the pending stack: its notices are
 * out. */
#define PENDING_WORK 4096u
#define SLAB_WORK    64u

/* The next slab that was told of, or NULL. */
static TinySlabMeta *next_told(struct hak_heap *heap, bool closing) {
    /* relaxed: a look, that spares the exchange when there is nothing; the exchange synchronises */
    if (!heap->told && (closing || atomic_load_explicit(&heap->pending, memory_order_relaxed))) {
        /* acquire: pairs with tell()'s release */
        uintptr_t head = atomic_exchange_explicit(&heap->pending, closing ? HAK_PENDING_CLOSED : 0,
                                                  memory_order_acquire);
        heap->told = head == HAK_PENDING_CLOSED ? NULL : (TinySlabMeta *)head;
    }
    TinySlabMeta *slab = heap->told;
    if (slab)
        heap->told = slab->pending_next;
    return slab;
}

void hak_heap_process_pending(struct hak_heap *heap, bool closing) {
    TinySlabMeta *slab;
    for (unsigned work = 0; closing || work < PENDING_WORK; work += SLAB_WORK) {
        if (!(slab = next_told(heap, closing)))
            return;
        if (!hak_slab_is_own(slab)) {
            give_notice(slab); /* meant for the owner of that time */
            look_after(heap, slab);
            continue;
        }
        work += drain_own(heap, slab, true);
        blocks_came_home(heap, slab, hak_slab_used(slab));
    }
}

/* Makes the heap's kept empty slab one of another class. Stage 0.5. */
static TinySlabMeta *reuse_kept(struct hak_heap *heap, unsigned class_index) {
    TinySlabMeta *slab = heap->kept;
    if (!slab || !hak_heap_slab_is_free(slab))
        return NULL;
    heap->kept = NULL;
    hak_heap_unlink(heap, slab);
    if (!hak_page_map_set(slab->base, class_index)) {
        link_slab(heap, slab, false);
        return NULL;
    }
    hak_slab_begin(slab->base, class_index);
    hak_count(HAK_COUNT_STAGE05_OWN_EMPTY, 1);
    return slab;
}

/* An unused slab: of a SuperSlab that is mapped (stage 2), or, with `grow`, also of a new one
 * (stage 3). */
static TinySlabMeta *new_slab(struct hak_heap *heap, unsigned class_index, bool grow) {
    struct hak_slab_run run = hak_pool_take(1, &heap->hint, grow);
    if (!run.base)
        return NULL;
    if (!hak_page_map_set(run.base, class_index)) {
        hak_pool_give(run.base, 1);
        return NULL;
    }
    hak_slab_begin(run.base, class_index);
    hak_count(HAK_COUNT_STAGE2_SHARED, !run.grown);
    return hak_slab_meta_of(run.base);
}

/* A slab with blocks of the class to give, cheapest first; NULL without memory. */
static TinySlabMeta *get_slab(struct hak_heap *heap, unsigned class_index) {
    TinySlabMeta *slab = hak_reuse_remembered(heap, class_index);
    if (!slab)
        slab = reuse_kept(heap, class_index);
    if (!slab)
        slab = hak_reuse_returned(heap, class_index);
    if (!slab)
        slab = new_slab(heap, class_index, false);
    if (!slab) {
        hak_heap_help_leaving();
        slab = hak_reuse_at_mmap_gate(heap, class_index);
    }
    if (!slab)
        slab = new_slab(heap, class_index, true);
    return slab;
}

/* Whether the heap has too many exhausted slabs of a class that others fill: one more is given up
 * then, so that what comes home to it is for whoever needs it first. */
static bool is_one_too_many(const struct hak_heap *heap, const TinySlabMeta *slab) {
    return is_foreign(slab) && heap->classes[hak_slab_class(slab)].exhausteds >= EXHAUSTED_KEPT &&
           hak_heaps_in_use() > 1 && hak_option(HAK_OPT_ADOPT);
}

/* An own slab has no blocks to give any more, and may be somebody else's afterwards. Not while its
 * notice is out, as in return_surplus. */
static void exhausted(struct hak_heap *heap, TinySlabMeta *slab) {
    bool leave = is_one_too_many(heap, slab) && !slab_remote_has_notice(slab);
    slab->taken = slab->drained = 0;
    hak_heap_unlink(heap, slab);
    if (leave) {
        hak_count(HAK_COUNT_RETURNED, 1);
        hak_heap_leave_slab(heap, slab, false);
    } else {
        link_slab(heap, slab, true);
    }
}

/* Orders a slab's freelist; after a failure not for the next slab, after another not for two, four
 * and so on: where threads exchange blocks, some are free elsewhere most of the time. */
static void tidy(struct hak_heap_class *class, TinySlabMeta *slab) {
    if (class->untidied < class->untidy) {
        class->untidied++;
        return;
    }
    class->untidied = 0;
    if (hak_slab_tidy(slab))
        class->untidy = 0;
    else
        class->untidy = class->untidy ? (class->untidy < 64 ? 2 * class->untidy : 64) : 1;
}

unsigned hak_heap_take_blocks(struct hak_heap *heap, unsigned class_index, void **slots,
                              unsigned most) {
    struct hak_heap_class *class = &heap->classes[class_index];
    bool looked_at_pending = false;
    unsigned wanted = most; /* slots[0] to slots[wanted - 1] are still to be filled */
    while (wanted) {
        TinySlabMeta *slab = class->partial;
        if (!slab && wanted < most)
            break;
        if (slab && slab != class->tidied)
            tidy(class, slab);
        class->tidied = slab;
        if (!slab && !looked_at_pending) {
            looked_at_pending = true;
            hak_heap_process_pending(heap, false);
            continue;
        }
        if (!slab) {
            slab = get_slab(heap, class_index);
            if (!slab)
                return 0;
            link_slab(heap, slab, false);
        }
        unsigned taken = hak_slab_take(slab, slots, wanted);
        wanted -= taken;
        class->out += (int32_t)taken;
        if (!wanted || hak_slab_has_blocks(slab))
            continue;
        if (slab_remote_count_relaxed(slab)) {
            drain_own(heap, slab, false);
            if (hak_slab_has_blocks(slab))
                continue;
        }
        if (!looked_at_pending && slab_remote_has_notice(slab) && is_one_too_many(heap, slab)) {
            looked_at_pending = true; /* its notice waits there, most likely */
            hak_heap_process_pending(heap, false);
            continue;
        }
        exhausted(heap, slab);
    }
    if (wanted)
        memmove(slots, slots + wanted, (most - wanted) * sizeof *slots);
    return most - wanted;
}
