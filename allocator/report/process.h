/* What the system says of the process. */
#ifndef HAK_PROCESS_H
#define HAK_PROCESS_H

#include "base/config.h"

struct hak_process {
    uint64_t resident, resident_peak; /* bytes; 0 if they can't be had */
};

/* Async-signal-safe; errno is kept. */
struct hak_process hak_process_read(void);

#endif
