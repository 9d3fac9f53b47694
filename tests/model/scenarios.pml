/* What the threads do, for ownership.pml: MENU is what thread `me` may do next, when it has
 * `budget` of its STEPS left. */

#define EACH(zero, one, two) (me == 0 -> (zero) : (me == 1 -> (one) : (two)))
/* Of a thread's last four operations, the next. */
#define IN_TURN(four, three, two, one)                                                             \
    (budget >= 4 -> (four) : (budget == 3 -> (three) : (budget == 2 -> (two) : (one))))

/* Blocks pass to and fro, threads end, others adopt what they left. */
#ifdef SCENARIO_EXCHANGE
#if NT == 2
#define STEPS 3
#else
#define STEPS EACH(2, 2, 1)
#endif
#define MENU  EACH(ALLOC | PUT | FREE, ALLOC | GET | FREE, GET | FREE | ALLOC)
#endif

/* A thread stops for ever, and with it what it owns. */
#ifdef SCENARIO_SLEEP
#if NT == 2
#define STEPS 3
#define MENU  EACH(ALLOC | PUT | SLEEP, ALLOC | GET | FREE | SLEEP, 0)
#else
#define STEPS EACH(3, 2, 1)
#define MENU  EACH(IN_TURN(0, ALLOC, ALLOC | PUT, PUT | SLEEP), IN_TURN(0, 0, GET, FREE | SLEEP),  \
                   ALLOC | SLEEP)
#endif
#endif

/* Live threads give up slabs, which they and others find again. */
#ifdef SCENARIO_RETURN
#if NT == 2
#define STEPS EACH(4, 2, 0)
#define MENU  EACH(ALLOC | RETURN | FREE | SLEEP, ALLOC | RETURN, 0)
#else
#define STEPS EACH(3, 1, 1)
#define MENU  EACH(IN_TURN(0, ALLOC, RETURN, ALLOC | SLEEP), ALLOC, ALLOC)
#endif
#endif

/* A slab begins another life, in another class, while its old one is still remembered. */
#ifdef SCENARIO_REBIRTH
#define NC 2
#if NT == 2
#define STEPS EACH(4, 5, 0)
#define MENU  EACH(IN_TURN(ALLOC, RETURN, FREE, ALLOC),                                            \
                   (budget == 5 -> ALLOC : IN_TURN(FREE, ALLOC_1, RETURN, ALLOC_1 | SLEEP)), 0)
#else
#define STEPS EACH(3, 2, 1)
#define MENU  EACH(IN_TURN(0, ALLOC, RETURN, FREE | ALLOC), IN_TURN(0, 0, ALLOC, ALLOC_1), ALLOC_1)
#endif
#endif

/* Two slabs in one pending stack; one is kept and one given back. */
#ifdef SCENARIO_TWO_SLABS
#define NS 2
#define NB 1
#if NT == 2
#define STEPS EACH(4, 3, 0)
#define MENU  EACH(IN_TURN(ALLOC, ALLOC, PUT, TICK | ALLOC), GET | FREE | ALLOC, 0)
#else
#define STEPS EACH(3, 2, 1)
#define MENU  EACH(IN_TURN(0, ALLOC, ALLOC, PUT), IN_TURN(0, 0, GET, FREE), GET)
#endif
#endif

/* An ended thread's heap finds its two slabs again, the hot one and one in the ring. */
#ifdef SCENARIO_STICKY
#define NS 2
#define STEPS EACH(5, (NT == 2 -> 3 : 2), 1)
#define MENU  EACH((budget == 5 -> ALLOC :                                                         \
                    IN_TURN(ALLOC, ALLOC, FREE, (NT == 2 -> PUT | RETURN : PUT))),                 \
                   IN_TURN(0, GET, ALLOC, ALLOC), GET)
#if NT == 2
#define BEGIN_WHEN (me == 0 || enders < NT)
#else
#define BEGIN_WHEN (me == 0 || over)
#endif
#endif

/* What happened before there were claims: one thread takes from its freelist while another, who
 * looks for blocks, drains into it. */
#ifdef SCENARIO_HISTORY
#define STEPS EACH(5, 3, 1)
#define MENU  EACH((budget == 5 -> ALLOC : IN_TURN(ALLOC, FREE, PUT, ALLOC)),                      \
                   IN_TURN(0, GET, FREE, ALLOC), GET | FREE)
#endif

/* A slab is claimed, drained and pushed onto while a notice of before is taken back. */
#ifdef SCENARIO_VERSION
#define STEPS EACH(5, 2, 2)
#define MENU  EACH((budget == 5 -> ALLOC : IN_TURN(RETURN, PUT, GET, FREE)),                       \
                   IN_TURN(0, 0, GET, FREE), IN_TURN(0, 0, ALLOC, PUT | SLEEP))
#define BEGIN_WHEN (me == 0 || place[1] == DEPOT || over)
#endif

/* Three threads are many: they take all their steps. Of two, each may end at any time. */
#define MAY_END_EARLY (NT == 2)

/* The others begin when the first has a slab, or will have none. */
#ifndef BEGIN_WHEN
#define BEGIN_WHEN (me == 0 || (pool & 1) == 0 || enders < NT)
#endif
