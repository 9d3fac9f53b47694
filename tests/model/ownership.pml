/* The ownership protocol of slabs as a model for spin: who may touch a slab's freelist, how blocks
 * come back to it from other threads, and how it passes from owner to owner. README.md says how to
 * run it and what it leaves out; scenarios.pml says what the threads do.
 *
 * One step of the model is at most one access to memory that threads share, together with work on
 * what only this thread can reach. Inline functions bear the names of the C functions they model. */

#ifndef NT
#define NT 2                       /* threads: 1 to 3 */
#endif
#include "scenarios.pml"
#ifndef NS
#define NS 1                       /* slabs: 1 or 2 */
#endif
#ifndef NB
#define NB 2                       /* blocks of a slab: 1 to 3 */
#endif
#ifndef NC
#define NC 1                       /* size classes: 1 or 2 */
#endif

/* What a thread may do: which of these comes next, says its MENU. */
#define ALLOC   1                  /* take a block of class 0 from a slab */
#define ALLOC_1 128                /* the same of class 1 */
#define FREE    2                  /* give a block home, or two in a chain */
#define PUT     4                  /* give what it has to another thread, by way of the depot */
#define GET     8                  /* take what another thread gave */
#define RETURN  16                 /* give a slab up while it lives */
#define TICK    32                 /* look at its pending stack */
#define SLEEP   64                 /* stop for ever without ending */
#define MAY(what) ((MENU & (what)) != 0)

#ifdef NO_ADOPT
#define ADOPT 0                    /* HAKMEM_TINY_SS_ADOPT=0 */
#else
#define ADOPT 1
#endif

#include "memory.pml"
#include "slab.pml"
#include "remote.pml"
#include "reuse.pml"
#include "thread.pml"
#include "end.pml"
