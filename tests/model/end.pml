/* How everything must be when all threads are done. */

init {
    byte s, b, n, away, mask, o, letters, bearers;
    atomic {
        do
        :: s < NT -> pend[s] = CLOSED; run thread(s); s++
        :: else -> break
        od;
        s = 0
    }
    over == NT;
    d_step {
        do
        :: s < NS ->
            /* Each block of a slab in use is where it should be, once. */
            n = 0; away = 0; mask = 0;
            do
            :: n < NB ->
                if
                :: place[BLOCK(s, n)] != HOME -> away++; mask = mask | (1 << n)
                :: else
                fi;
                if
                :: n >= bump[s] -> CHECK(!(mask & (1 << n)), no_block_lost); mask = mask | (1 << n)
                :: else
                fi;
                n++
            :: else -> break
            od;
            b = fl[s];
            n = 0;
            do
            :: b && owner[s] != NONE ->
                CHECK(b >= BLOCK(s, 0) && b < BLOCK(s, NB), no_block_lost);
                CHECK(!(mask & (1 << (b - BLOCK(s, 0)))), no_block_lost);
                mask = mask | (1 << (b - BLOCK(s, 0)));
                b = next[b]
            :: else -> break
            od;
            b = rhead[s];
            n = 0;
            do
            :: n < rcount[s] ->
                CHECK(b >= BLOCK(s, 0) && b < BLOCK(s, NB), no_block_lost);
                CHECK(!(mask & (1 << (b - BLOCK(s, 0)))), no_block_lost);
                mask = mask | (1 << (b - BLOCK(s, 0)));
                b = next[b];
                n++
            :: else -> break
            od;
            b = 0;
            o = owner[s];
            if
            :: o != NONE -> CHECK(mask == (1 << NB) - 1, no_block_lost);
            :: else
            fi;
            CHECK(used[s] == away + rcount[s], counts_agree);
            CHECK(!inside[s], one_at_a_time_in_a_slab);

            /* A notice that is out lies in the pending stack of a thread that may yet wake. */
            bearers = 0;
            b = 0;
            do
            :: b < NT ->
                n = (asleep[b] -> pend[b] : 0);
                do
                :: n -> bearers = bearers + (n == s + 1 -> 1 : 0); n = pend_next[n - 1]
                :: else -> break
                od;
                b++
            :: else -> break
            od;
            CHECK(bearers == notice[s] && queued[s] == notice[s], not_stuck_without_bearer);
            /* The owner of a slab with blocks in its queue will hear of them. */
            CHECK(!rcount[s] || o < HEAP0 || notice[s], not_stuck_without_bearer);

            /* Every slab is free, or has an owner that may yet wake, or can be found. */
            letters = 0;
            n = 0;
            do
            :: n < NC -> letters = letters + (letter[n] == s + 1 && cls[s] == n -> 1 : 0); n++
            :: else -> break
            od;
            if
            :: o == NONE -> CHECK(!away && (pool & (1 << s)), all_given_back)
            :: o == ABANDONED ->
                CHECK(notice[s] || rcount[s] < used[s], not_stuck_with_all_blocks_home);
                CHECK(notice[s] || !ADOPT || !(HAS_BLOCKS(s) || rcount[s]) ||
                      (offered[cls[s]] && flagged[s]) || letters, not_stuck_unfindable)
            :: else -> CHECK(asleep[o - HEAP0], all_given_back)
            fi;
            s++
        :: else -> break
        od
    }
}
