/* A memory barrier whose price the rare side pays.
 *
 * Where one thread does something all the time and others seldom look at it, the common side says
 * "I am at it" and asks "does anybody want it?" with a plain store and a plain load. A processor
 * may do the load before the store is seen, so both sides could miss each other; the rare side
 * therefore makes the kernel put a full barrier into every running thread of the process between
 * its own store and load (membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED). The idea: D. Dice,
 * H. Huang, M. Yang, "Asymmetric Dekker Synchronization", Sun Microsystems, 2001.
 *
 * A compare-and-swap on the common side instead would wait for all stores before it, those into
 * blocks that are in no cache, too. */
#ifndef HAK_BARRIER_H
#define HAK_BARRIER_H

#include "base/config.h"

/* The kernel can do it; set once, by hak_os_barrier_init. Else the common side needs an atomic
 * exchange, and sequentially consistent loads. */
extern HAK_HIDDEN bool hak_os_one_sided;

/* Asks the kernel to be ready for hak_os_barrier: before there are threads, since with some it
 * waits for milliseconds. Once. */
void hak_os_barrier_init(void);

/* A full barrier in every thread of the process that is running, which for those that are not is as
 * good as one. Some microseconds. False where the kernel refuses: there was none then. Nothing, and
 * true, where both sides are to have barriers of their own. Any thread. */
bool hak_os_barrier(void);

#endif
