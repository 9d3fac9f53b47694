/* Places where blocks change hands between threads: slots that each hold a block, and queues of
 * batches. All of it lies in static memory; nothing waits for long. Any thread may call. */
#ifndef STRESS_SHARED_H
#define STRESS_SHARED_H

#include "block.h"

#include <stdbool.h>

enum { BATCH_BLOCKS = 32 };

struct batch {
    unsigned count;
    struct block blocks[BATCH_BLOCKS];
};

void shared_prepare(void);

/* Exchanges *block with what lies in the slot that `draw` names, either of which may be none.
 * False, with nothing done, if another thread is at that slot just now. */
bool shared_swap(uint64_t draw, struct block *block);

/* Puts the batch at the end of the queue that `draw` names; false if that is full. */
bool shared_send(uint64_t draw, const struct batch *batch);

/* Takes the batch at the front of the queue that `draw` names; false if that is empty. */
bool shared_receive(uint64_t draw, struct batch *batch);

/* Takes blocks out of any slot or queue; false when there are none left. */
bool shared_take_any(struct batch *batch);

#endif
