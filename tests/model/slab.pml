/* What a slab's owner does with it, and how it passes from owner to owner (slab.c, slabs.c). */

#define ME (HEAP0 + h)

/* Between its beginning and its end other threads may run, as between the load of a freelist's
 * head and the store of the new one. */
#define ENTER(s)                                                                                   \
    CHECK_RULE(owner[s] == ME, only_the_owner_touches_a_slab);                                     \
    CHECK_RULE(!inside[s], one_at_a_time_in_a_slab);                                               \
    inside[s] = 1
#define LEAVE(s)                                                                                   \
    CHECK_RULE(owner[s] == ME, only_the_owner_touches_a_slab);                                     \
    inside[s] = 0

#define HAS_BLOCKS(s) (fl[s] != 0 || bump[s] < NB)
#define QUIET(s)      (rcount[s] == 0 && !notice[s])
#ifdef MISTAKE_RETIRE_WITH_NOTICE_OUT
#define LOOKS_QUIET(s) (rcount[s] == 0)
#else
#define LOOKS_QUIET(s) QUIET(s)
#endif

inline ss_remote_drain_to_freelist(s, notice_arrived) {
    d_step {
        CHECK_RULE(owner[s] == ME, only_the_owner_touches_a_slab);
        taken = rcount[s];
        chain = rhead[s];
        rcount[s] = 0;
        rhead[s] = 0;
        watch[s] = 0;
        if
        :: notice_arrived -> CHECK(notice[s] && !queued[s], notice_has_one_bearer); notice[s] = 0
        :: else
        fi;
        if
        :: taken -> ENTER(s); rest = fl[s]
        :: else
        fi
    }
    if
    :: taken ->
        d_step {
            CHECK(used[s] >= taken, blocks_come_home_once);
            used[s] = used[s] - taken;
            last = chain;
            do
            :: taken > 1 -> last = next[last]; taken--
            :: else -> break
            od;
            next[last] = rest;
            fl[s] = chain;
            taken = 0; chain = 0; rest = 0; last = 0;
            LEAVE(s)
        }
    :: else
    fi
}

/* One block into b; the caller has seen that there is one, and entered. */
inline slab_take(s) {
    d_step {
        if
        :: rest -> b = rest; fl[s] = next[b]; next[b] = 0
        :: else -> b = BLOCK(s, bump[s]); bump[s]++
        fi;
        used[s]++;
        CHECK(b <= BLOCKS && place[b] == HOME, no_block_twice);
        place[b] = WITH(me);
        rest = 0;
        LEAVE(s)
    }
}

inline slab_give(s, b) {
    d_step {
        CHECK(place[b] == WITH(me), blocks_come_home_once);
        place[b] = HOME;
        if
        :: bump[s] && b == BLOCK(s, bump[s] - 1) -> bump[s]--
        :: else -> next[b] = rest; fl[s] = b
        fi;
        used[s]--;
        rest = 0;
        LEAVE(s)
    }
}

/* ---- from owner to owner ----------------------------------------------------------------------- */

#ifdef MISTAKE_CLAIM_IN_TWO_STEPS
inline ss_owner_cas(s) {
    won = (owner[s] == ABANDONED);
    if
    :: won -> owner[s] = ME
    :: else
    fi
}
#else
inline ss_owner_cas(s) {
    d_step {
        won = (owner[s] == ABANDONED);
        if
        :: won -> owner[s] = ME
        :: else
        fi
    }
}
#endif

/* For a slab that isn't the caller's; for an own one the callers here drain at once. */
inline slab_claim_then_drain(s) {
    ss_owner_cas(s);
    if
    :: won -> ss_remote_drain_to_freelist(s, 0)
    :: else
    fi
}

inline pool_offer(s) {
    kind = cls[s];
    flagged[s] = 1;
    d_step { offered[kind] = 1; kind = 0 }
}

inline slab_retire(s) {
    d_step {
        CHECK_RULE(owner[s] == ME, only_the_owner_touches_a_slab);
        CHECK(used[s] == 0 && QUIET(s) && !queued[s], retired_when_nobody_knows_it);
        owner[s] = NONE
    }
    d_step {
        CHECK(!(pool & (1 << (s))), given_back_once);
        pool = pool | (1 << (s));
        /* Nobody reads these before the next life: equal states should look equal. */
        fl[s] = 0; bump[s] = 0; left_behind[s] = 0;
        i = 0;
        do
        :: i < NB -> next[BLOCK(s, i)] = 0; i++
        :: else -> break
        od;
        i = 0
    }
}

/* An own slab has all its blocks: one is kept, the one kept before goes back. */
inline slab_emptied(s) {
    if
    :: LOOKS_QUIET(s) && kept != s + 1 ->
        d_step { gone = kept; kept = s + 1 }
        if
        :: gone ->
            if
            :: used[gone - 1] == 0 && LOOKS_QUIET(gone - 1) ->
                partial = partial & ~(1 << (gone - 1));
                slab_retire(gone - 1)
            :: else
            fi;
            gone = 0
        :: else
        fi
    :: else
    fi
}

/* A slab without an owner may have all its blocks in its remote queue. */
inline collect(s) {
    slab_claim_then_drain(s);
    if
    :: won ->
        partial = partial | (1 << s);
        if
        :: used[s] == 0 -> slab_emptied(s)
        :: used[s] != 0 && (ADOPT || !left_behind[s]) -> skip
#ifdef NO_ADOPT
        :: used[s] != 0 && left_behind[s] -> partial = partial & ~(1 << s); leave_slab(s, 1)
#endif
        fi;
        won = 0
    :: else
    fi
}

#ifdef MISTAKE_RETURNED_ONLY_POSTED
#define WORTH_OFFERING(behind) ((behind) && worth)
#else
#define WORTH_OFFERING(behind) worth
#endif

/* Gives up an own slab that is in no list. What collect does is written out here: with adoption
 * off, it may lead back to the beginning. */
inline leave_slab(s, behind) {
    do
    ::
#ifdef MISTAKE_OFFER_BEFORE_ABANDON
        if
        :: HAS_BLOCKS(s) -> pool_offer(s)
        :: else
        fi;
#endif
        d_step {
            CHECK_RULE(owner[s] == ME, only_the_owner_touches_a_slab);
            out = used[s];
            worth = HAS_BLOCKS(s);
            left_behind[s] = behind;
            owner[s] = ABANDONED
        }
#ifndef MISTAKE_OFFER_BEFORE_ABANDON
        if
        :: WORTH_OFFERING(behind) -> pool_offer(s)
        :: else
        fi;
#endif
#ifdef MISTAKE_NO_SECOND_LOOK
        d_step { waiting = 0; carried = 1 }
#else
        d_step { waiting = rcount[s]; carried = notice[s] }
#endif
        if
        :: !carried && waiting >= out ->
            d_step { waiting = 0; out = 0; worth = 0 }
            slab_claim_then_drain(s);
            if
            :: !won -> break
            :: won ->
                won = 0;
                if
                :: used[s] == 0 -> partial = partial | (1 << s); slab_emptied(s); break
                :: used[s] != 0 && (ADOPT || !left_behind[s]) -> partial = partial | (1 << s); break
                :: used[s] != 0 && !ADOPT && left_behind[s] -> skip /* once more */
                fi
            fi
        :: !carried && waiting < out && waiting ->
            waiting = 0; /* offered already, perhaps, but not for these */
            pool_offer(s);
            break
        :: else -> break
        fi
    od;
    atomic { waiting = 0; carried = 0; out = 0; worth = 0 }
}

/* Into the mailbox of `box`, a slab's class while it was the caller's, if there is room; only now,
 * when it can be claimed. */
inline mailbox_post(s) {
    d_step {
        if
        :: letter[box] == 0 -> letter[box] = s + 1
        :: else
        fi;
        box = 0
    }
}
