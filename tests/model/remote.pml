/* Pushes onto remote queues, and notices to owners (slab_freelist_atomic.h, slabs.c). */

/* The caller bears the slab's notice: it tells the owner, or takes the notice back. */
inline give_notice(s) {
#ifdef MISTAKE_LOOK_ONCE
    d_step { seen_count = rcount[s]; seen_head = rhead[s]; watch[s] = watch[s] | (1 << me) }
#endif
    do
    ::
#ifndef MISTAKE_LOOK_ONCE
        d_step { seen_count = rcount[s]; seen_head = rhead[s]; watch[s] = watch[s] | (1 << me) }
#endif
        seen_owner = owner[s];
        d_step {
            told = 0;
            if
            :: seen_owner >= HEAP0 ->
                if
                :: pend[seen_owner - HEAP0] != CLOSED ->
                    CHECK(!queued[s], notice_has_one_bearer);
                    queued[s] = 1;
                    watch[s] = watch[s] & ~(1 << me);
                    pend_next[s] = pend[seen_owner - HEAP0];
                    pend[seen_owner - HEAP0] = s + 1;
                    told = 1
                :: else
                fi
            :: else
            fi
        }
        if
        :: told -> break
        :: else
        fi;
#ifdef MISTAKE_NO_WITHDRAWAL
        break;
#endif
        d_step {
#ifdef MISTAKE_NO_VERSION
            won = notice[s] && rcount[s] == seen_count && rhead[s] == seen_head;
#else
            won = notice[s] && rcount[s] == seen_count && rhead[s] == seen_head &&
                  (watch[s] & (1 << me));
#endif
            watch[s] = watch[s] & ~(1 << me);
            if
            :: won -> notice[s] = 0; watch[s] = 0
            :: else
            fi
        }
        if
        :: won ->
#ifndef MISTAKE_OFFER_BY_OLD_OWNER
            seen_owner = owner[s]; /* it may have left meanwhile, trusting in who had the notice */
#endif
            if
            :: seen_owner == ABANDONED -> pool_offer(s)
            :: else
            fi;
            break
        :: else -> seen_owner = 0
        fi
    od;
    atomic { seen_count = 0; seen_head = 0; seen_owner = 0; told = 0; won = 0 }
}

/* The slab may have no owner, and all its blocks at home. It may also be anybody's by now. */
#ifdef MISTAKE_NO_LOOK_AFTER_A_PUSH
inline look_after(s) { skip }
#else
inline look_after(s) {
    if
    :: owner[s] == ABANDONED ->
        waiting = rcount[s];
        if
        :: waiting >= used[s] -> waiting = 0; collect(s)
        :: else -> waiting = 0
        fi
    :: else
    fi
}
#endif

/* b, or b and second in a chain: one compare-and-swap. */
inline push_remote(s) {
    d_step {
        CHECK(place[b] == WITH(me), blocks_come_home_once);
        place[b] = HOME;
        last = b;
        if
        :: second ->
            CHECK(place[second] == WITH(me), blocks_come_home_once);
            place[second] = HOME;
            next[b] = second;
            last = second
        :: else
        fi;
        next[last] = (rcount[s] -> rhead[s] : 0);
        rhead[s] = b;
        rcount[s] = rcount[s] + (second -> 2 : 1);
        carried = notice[s];
        notice[s] = 1;
        last = 0; b = 0; second = 0
    }
    if
    :: !carried -> give_notice(s)
    :: else -> carried = 0
    fi;
    look_after(s)
}
