/* A thread: what it does from its heap's beginning to its end (slabs.c, heap.c). */

#define IDLE    0
#define TAKING  1                  /* hak_heap_take_blocks */
#define GIVING  2                  /* hak_heap_give_blocks */
#define LOOKING 3                  /* hak_heap_process_pending: takes the stack, */
#define NOTICES 4                  /* and goes through it */
#define HOMECOMING 5               /* blocks_came_home */
#define ENDING  6                  /* hak_heap_exit: what it holds goes home */
#define LEAVING 7                  /* hak_heap_abandon_slabs */

/* The lowest slab of a list, plus 1, or 0: of class c, or of any. */
#if NS == 1
#define FIRST(list) (((list) & 1) && cls[0] == c -> 1 : 0)
#define ANY(list)   ((list) & 1 -> 1 : 0)
#else
#define FIRST(list) (((list) & 1) && cls[0] == c -> 1 : (((list) & 2) && cls[1] == c -> 2 : 0))
#define ANY(list)   ((list) & 1 -> 1 : ((list) & 2 -> 2 : 0))
#endif

/* The known mistakes in an allocation: it drains slabs that it has not claimed, the one that this
 * thread used last, or each of the class. */
#ifdef MISTAKE_DRAIN_AT_ALLOCATION_ENTRY
byte recent[NT];
inline drain_at_allocation_entry() {
    if
    :: recent[me] && rcount[recent[me] - 1] ->
        s = recent[me] - 1;
        ss_remote_drain_to_freelist(s, 0);
        s = 0
    :: else
    fi
}
#define USED_LAST(s) recent[me] = s + 1
#else
#define USED_LAST(s) skip
inline drain_at_allocation_entry() { skip }
#endif
#ifdef MISTAKE_DRAIN_IN_REFILL_SCAN
inline drain_in_refill_scan() {
    do
    :: i < NS && owner[i] != NONE && cls[i] == c && rcount[i] ->
        s = i;
        ss_remote_drain_to_freelist(s, 0);
        i++
    :: i < NS && !(owner[i] != NONE && cls[i] == c && rcount[i]) -> i++
    :: i >= NS -> break
    od;
    atomic { i = 0; s = 0 }
}
#else
inline drain_in_refill_scan() { skip }
#endif

/* A block that an ending thread still has, into b. */
inline next_to_give_home() {
    do
    :: i < BLOCKS && !b ->
        i++;
        if
        :: place[i] == WITH(me) -> b = i
        :: else
        fi
    :: else -> break
    od;
    i = 0;
    if
    :: b -> then = ENDING; op = GIVING
    :: else -> then = LEAVING; op = LOOKING
    fi
}

proctype thread(byte me) {
    byte h, c, op, then, budget, path;
    byte partial, exhausted, kept, gone;  /* the heap's lists, as bits; slabs plus 1 */
    byte candidate, s, b, second, i;
    byte taken, chain, rest, last;        /* of a drain */
    byte seen_count, seen_head, seen_owner, waiting, out, head, kind, box, in_use;
    bit won, told, carried, worth, behind, surplus, looked;

    BEGIN_WHEN;
    d_step { /* hak_heap_enter: under a lock */
        do
        :: heap_in_use[h] -> h++
        :: else -> break
        od;
        heap_in_use[h] = 1;
        budget = STEPS
    }
    pend[h] = 0;

    /* What the thread is at is chosen by its own variables alone: spin need not consider what the
     * others do meanwhile. */
    do
    :: op == IDLE ->
        if
        :: budget && MAY(ALLOC | ALLOC_1) ->
            atomic {
                op = TAKING;
                if
                :: MAY(ALLOC) -> c = 0
                :: MAY(ALLOC_1) -> c = NC - 1
                fi;
                budget--
            }
            drain_at_allocation_entry();
            drain_in_refill_scan()
        :: budget && MAY(FREE) -> /* one of its blocks */
            atomic {
                budget--;
                do
                :: i < BLOCKS ->
                    i++;
                    if
                    :: place[i] == WITH(me) -> b = i; op = GIVING; break
                    :: skip
                    fi
                :: else -> break
                od;
                i = 0
            }
        :: budget && MAY(PUT) -> /* hak_depot_put: a compare-and-swap passes them all on */
            d_step {
                budget--;
                do
                :: i < BLOCKS ->
                    i++;
                    if
                    :: place[i] == WITH(me) -> place[i] = DEPOT
                    :: else
                    fi
                :: else -> break
                od;
                i = 0
            }
        :: budget && MAY(GET) -> /* hak_depot_take: some of them were in one magazine */
            atomic {
                budget--;
                do
                :: i < BLOCKS ->
                    i++;
                    if
                    :: place[i] == DEPOT -> place[i] = WITH(me)
                    :: skip
                    fi
                :: else -> break
                od;
                i = 0
            }
        :: budget && MAY(TICK) -> d_step { budget--; op = LOOKING }
        :: budget && MAY(RETURN) -> /* return_surplus, of a slab that has blocks in and out */
            atomic {
                budget--;
                if
                :: partial & 1 -> s = 0
                :: NS > 1 && (partial & 2) -> s = NS - 1
                :: else
                fi;
                if
                :: (partial & (1 << s)) && used[s] && HAS_BLOCKS(s) && kept != s + 1 ->
                    box = cls[s];
                    behind = 1
                :: else
                fi
            }
            if
            :: behind ->
                d_step { /* hak_mailbox_has_room: else it is only offered */
                    behind = 0;
                    surplus = (letter[box] == 0);
                    partial = partial & ~(1 << s);
                    if
                    :: surplus && bench[AT(h, box)] -> sticky[AT(h, box)] = bench[AT(h, box)]
                    :: else
                    fi;
                    if
                    :: surplus -> bench[AT(h, box)] = s + 1
                    :: else
                    fi
                }
                leave_slab(s, 0);
                if
                :: surplus -> mailbox_post(s)
                :: else
                fi
            :: else
            fi;
            atomic { s = 0; box = 0; surplus = 0 }
        :: MAY(SLEEP) -> asleep[h] = 1; break
        :: budget == 0 || MAY_END_EARLY -> /* the last to end sees that nothing stays in the depot */
            d_step {
                enders--;
                do
                :: i < BLOCKS && enders == 0 ->
                    i++;
                    if
                    :: place[i] == DEPOT -> place[i] = WITH(me)
                    :: else
                    fi
                :: else -> break
                od;
                i = 0; budget = 0;
                next_to_give_home()
            }
        fi

    /* Block b, and another one of the slab with it, if there is one and chance wants it. */
    :: op == GIVING ->
        s = SLAB_OF(b);
        if
        :: d_step { owner[s] == ME -> ENTER(s); rest = fl[s] }
            slab_give(s, b);
            d_step { b = 0; op = HOMECOMING }
        :: atomic { owner[s] != ME ->
                if
                :: skip
                :: i = BLOCK(s, 0);
                    do
                    :: i < BLOCK(s, NB) ->
                        if
                        :: place[i] == WITH(me) && i != b -> second = i; break
                        :: else -> i++
                        fi
                    :: else -> break
                    od
                fi;
                i = 0
            }
            push_remote(s);
            d_step { s = 0; op = then; then = IDLE }
        fi

    :: op == LOOKING ->
        d_step {
            head = pend[h];
#ifdef MISTAKE_PENDING_NOT_CLOSED
            pend[h] = 0;
#else
            pend[h] = (then == LEAVING -> CLOSED : 0);
#endif
            i = head;
            do
            :: i -> queued[i - 1] = 0; i = pend_next[i - 1]
            :: else -> break
            od;
            op = NOTICES
        }
    :: op == NOTICES && head ->
        atomic {
            s = head - 1;
            head = pend_next[s];
            pend_next[s] = 0;
            if
            :: owner[s] == ME -> op = HOMECOMING
            :: else
            fi
        }
        if
        :: op == HOMECOMING -> ss_remote_drain_to_freelist(s, 1)
        :: else ->
            give_notice(s); /* meant for the owner of that time */
            look_after(s);
            s = 0 /* on to the next */
        fi
    :: op == NOTICES && !head -> d_step { op = then; then = IDLE }

    /* blocks_came_home; perhaps there are more notices to go on with */
    :: op == HOMECOMING ->
        d_step { exhausted = exhausted & ~(1 << s); partial = partial | (1 << s) }
        if
        :: used[s] == 0 -> slab_emptied(s)
        :: else
        fi;
        d_step { s = 0; op = NOTICES }

    /* hak_heap_take_blocks */
    :: op == TAKING ->
        d_step { s = FIRST(partial) }
        if
        :: s -> /* an own slab of the class */
            s--;
            if
            :: d_step { HAS_BLOCKS(s) -> ENTER(s); rest = fl[s] }
                slab_take(s);
                USED_LAST(s);
                d_step { b = 0; s = 0; c = 0; path = 0; looked = 0; op = IDLE }
            :: !HAS_BLOCKS(s) && rcount[s] -> ss_remote_drain_to_freelist(s, 0); s = 0
            :: !HAS_BLOCKS(s) && !rcount[s] -> /* exhausted: kept or, if there are many, given up */
                partial = partial & ~(1 << s);
                if
                :: exhausted = exhausted | (1 << s)
                :: ADOPT -> leave_slab(s, 0)
                fi;
                s = 0
            fi
        :: !s && !looked -> /* or one that a notice brings */
            if
            :: pend[h] -> d_step { looked = 1; op = LOOKING; then = TAKING }
            :: else -> looked = 1
            fi
        :: !s && looked -> /* or one by the next of the ways that have something to offer */
            d_step {
                do
                :: path++;
                    if
                    :: path == HOT -> candidate = hot[AT(h, c)]; hot[AT(h, c)] = 0
                    :: path == BENCH -> candidate = bench[AT(h, c)]; bench[AT(h, c)] = 0
                    :: path == STICKY -> candidate = sticky[AT(h, c)]; sticky[AT(h, c)] = 0
                    :: else
                    fi;
                    if
                    :: candidate || path > KEPT || (path == KEPT && kept) -> break
                    :: else
                    fi
                od
            }
            if
            :: path <= STICKY -> skip
            :: path == KEPT -> /* reuse_kept: an own empty slab begins another life */
                if
                :: d_step { used[kept - 1] == 0 && LOOKS_QUIET(kept - 1) -> s = kept - 1;
                        CHECK(QUIET(s) && !queued[s], retired_when_nobody_knows_it)
                    }
                    kept = 0; /* as a kept one */
                    slab_begin(s);
                    s = 0
                :: !(used[kept - 1] == 0 && LOOKS_QUIET(kept - 1))
                fi
            :: path == MAILBOX -> /* hak_mailbox_take */
                if
                :: letter[c] -> d_step { candidate = letter[c]; letter[c] = 0 }
                :: else
                fi
            :: path == NEW && NS > 1 -> skip /* a search of the pool is bounded, and may miss */
            :: path == NEW || path == GROW -> /* hak_pool_take */
                d_step {
                    s = ANY(pool);
                    pool = pool & (pool - 1)
                }
                if
                :: s -> s--; slab_begin(s); s = 0
                :: else
                fi
            :: path == GATE && ADOPT -> look_for_offer()
            :: path == GATE && !ADOPT -> skip
            :: path == NOTHING -> d_step { c = 0; path = 0; looked = 0; op = IDLE }
            fi;
            if
            :: candidate ->
                d_step { s = candidate - 1; candidate = 0 }
                reclaim(s);
                s = 0;
                if
                :: path == MAILBOX || path == GATE -> path-- /* there may be another one */
                :: else
                fi
            :: else
            fi
        fi

    /* hak_heap_exit: what it holds goes home, */
    :: op == ENDING -> d_step { next_to_give_home() }
    /* and the slabs to the pool, or to whoever wants them. */
    :: op == LEAVING ->
        in_use = ANY(partial);
        do
        :: exhausted | partial ->
            d_step {
                s = (exhausted -> ANY(exhausted) : ANY(partial)) - 1;
                kept = 0;
                behind = !exhausted;
                exhausted = exhausted & ~(1 << s);
                partial = partial & ~(1 << s)
            }
            ss_remote_drain_to_freelist(s, 0);
            if
            :: used[s] == 0 && LOOKS_QUIET(s) -> slab_retire(s)
            :: d_step { !(used[s] == 0 && LOOKS_QUIET(s)) ->
                    if
                    :: ADOPT && in_use == s + 1 -> hot[AT(h, cls[s])] = s + 1
                    :: ADOPT && in_use != s + 1 && behind -> sticky[AT(h, cls[s])] = s + 1
                    :: else
                    fi
                }
                leave_slab(s, 1)
            fi;
            d_step { s = 0; behind = 0 }
        :: else -> break
        od;
        break
    od;
    atomic {
        if
        :: asleep[h] -> enders--
        :: else -> heap_in_use[h] = 0
        fi;
        kept = 0; in_use = 0; partial = 0; exhausted = 0; budget = 0; h = 0; op = 0; then = 0;
        over++
    }
}
