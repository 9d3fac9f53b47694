/* The memory that threads share, and the checks' names. */

/* ---- what must hold: each check has a name, which spin prints when it fails --------------------
 *
 * The names are variables, always 0, so that spin keeps them in what it prints. */

hidden byte only_the_owner_touches_a_slab;
hidden byte one_at_a_time_in_a_slab;
hidden byte no_block_twice;
hidden byte no_block_lost;
hidden byte blocks_come_home_once;
hidden byte counts_agree;
hidden byte notice_has_one_bearer;
hidden byte retired_when_nobody_knows_it;
hidden byte given_back_once;
hidden byte not_stuck_without_bearer;
hidden byte not_stuck_with_all_blocks_home;
hidden byte not_stuck_unfindable;
hidden byte all_given_back;
#define CHECK(condition, name) assert((condition) || name)

/* To see that the mistakes do harm, and not only break a rule, the rule's own checks can be left
 * out. */
#ifdef EFFECTS_ONLY
#define CHECK_RULE(condition, name) skip
#else
#define CHECK_RULE(condition, name) CHECK(condition, name)
#endif

/* ---- shared memory ----------------------------------------------------------------------------- */

#define NONE      0                /* owner words; a heap h's is HEAP0 + h */
#define ABANDONED 1
#define HEAP0     2
#define CLOSED    255              /* pending: no thread uses the heap */

/* Slabs are 0 to NS - 1; where a variable holds "a slab or none" it is the number plus 1. Blocks
 * are 1 to NS * NB, 0 is NULL. */
#define BLOCK(s, i) ((s) * NB + (i) + 1)
#define SLAB_OF(b)  (((b) - 1) / NB)
#define BLOCKS      (NS * NB)

byte owner[NS];
/* The remote word: the version is not a number here. `watch` has a bit for each thread that holds a
 * copy of the word that is still of the same version; raising the version clears it. That is what
 * comparing versions means, as long as the 38 bits don't wrap while a thread looks away. */
byte rcount[NS], rhead[NS], watch[NS];
bit notice[NS];
byte next[BLOCKS + 1];             /* the link in a free block */
byte fl[NS], bump[NS], used[NS], cls[NS];
bit left_behind[NS];
byte pend[NT], pend_next[NS];      /* a heap's pending stack, as many heaps as threads */
byte pool = (1 << NS) - 1;         /* the free slabs, as bits */
bit offered[NC];                   /* the hint that a slab of the class is offered, */
bit flagged[NS];                   /* and that it is this one */
byte letter[NC];                   /* the class's mailbox, of one place */
bit heap_in_use[NT];
/* What a heap remembers, passed on to its next thread under a lock. */
#define AT(h, c) ((h) * NC + (c))
byte hot[NT * NC], bench[NT * NC], sticky[NT * NC];

/* Only for the checks. */
#define HOME  0                    /* where a block is: in its slab or its remote queue, */
#define DEPOT 1                    /* on the way from thread to thread, */
#define WITH(t) (2 + (t))          /* or with a thread: in a magazine or used by the program */
byte place[BLOCKS + 1];
bit inside[NS];                    /* somebody works on the freelist */
bit queued[NS];                    /* is in a pending stack */
bit asleep[NT];                    /* the heap's thread sleeps for ever */
byte enders = NT, over;            /* threads that haven't begun to end; that are done */
