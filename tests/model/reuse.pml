/* The ways to reuse a slab that has no owner (reuse.c, pool.c). */

/* In the order in which they are tried. */
#define HOT     1
#define BENCH   2
#define STICKY  3
#define KEPT    4
#define MAILBOX 5
#define NEW     6
#define GATE    7
#define GROW    8
#define NOTHING 9

/* The known mistakes on these paths: what the queue holds is moved before the claim. */
#ifdef MISTAKE_DRAIN_BEFORE_CLAIM_HOT
#define DRAINS_FIRST (path == HOT)
#endif
#ifdef MISTAKE_DRAIN_BEFORE_CLAIM_BENCH
#define DRAINS_FIRST (path == BENCH)
#endif
#ifdef MISTAKE_DRAIN_BEFORE_CLAIM_STICKY
#define DRAINS_FIRST (path == STICKY)
#endif
#ifdef MISTAKE_DRAIN_BEFORE_CLAIM_MMAP_GATE
#define DRAINS_FIRST (path == GATE)
#endif

/* Claims candidate s for its blocks of class c; into the list if it is what was wanted. */
inline reclaim(s) {
#ifdef DRAINS_FIRST
    if
    :: DRAINS_FIRST -> ss_remote_drain_to_freelist(s, 0); ss_owner_cas(s)
    :: else -> slab_claim_then_drain(s)
    fi;
#else
    slab_claim_then_drain(s);
#endif
    if
    :: won ->
        d_step {
            won = 0;
            worth = cls[s] == c && HAS_BLOCKS(s) && (ADOPT || !left_behind[s]);
            behind = left_behind[s];
            box = cls[s]
        }
        if
        :: worth ->
            worth = 0;
            if /* each way to success has a line of its own, for the coverage */
            :: path == HOT -> partial = partial | (1 << s)
            :: path == BENCH -> partial = partial | (1 << s)
            :: path == STICKY -> partial = partial | (1 << s)
            :: path == MAILBOX -> partial = partial | (1 << s)
            :: path == GATE -> partial = partial | (1 << s)
            fi
        :: else ->
            surplus = HAS_BLOCKS(s) && !behind && cls[s] != c;
            leave_slab(s, behind);
#ifndef MISTAKE_RETURNED_ONLY_POSTED
            if
            :: surplus -> mailbox_post(s) /* its letter may have been lost on this claim */
            :: else
            fi
#endif
        fi;
        atomic { behind = 0; surplus = 0; box = 0 }
    :: else
    fi
}

/* Each access to shared memory of pool_look_for_offer; into candidate, or 0. */
inline look_for_offer() {
    do
    :: offered[c] ->
        offered[c] = 0;
        do
        :: i < NS && flagged[i] ->
            if
            :: owner[i] == ABANDONED ->
                if
                :: cls[i] == c && candidate -> offered[c] = 1; break
                :: cls[i] == c && !candidate -> candidate = i + 1; i++
                :: else -> i++
                fi
            :: else -> i++
            fi
        :: i < NS && !flagged[i] -> i++
        :: i >= NS -> break
        od;
        i = 0;
        if
        :: candidate -> flagged[candidate - 1] = 0; break
        :: else
        fi
    :: else -> break
    od
}

/* Makes an unused slab the caller's. */
inline slab_begin(s) {
    cls[s] = c;
    d_step { fl[s] = 0; bump[s] = 0; used[s] = 0; owner[s] = ME; partial = partial | (1 << s) }
}
