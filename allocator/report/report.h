/* What the allocator tells about itself while the program runs and when it ends. */
#ifndef HAK_REPORT_H
#define HAK_REPORT_H

#include "base/diag.h"
#include "hakmem.h"
#include "report/gather.h"

/* Does what options ask for at the program's start, even of one that never allocates. */
void hak_report_start(void);

/* Writes the statistics of this moment, which `when` names. Async-signal-safe; `room` is the
 * caller's, as the stack of a signal handler may be too small for it. */
void hak_report_table(struct hak_writer *writer, const char *when, struct hak_gathered *room);
void hak_report_json(struct hak_writer *writer, const char *when, struct hak_gathered *room);

/* hak_stats_read, with such a room. */
void hak_report_sums(struct hak_stats *all, struct hak_gathered *room);

/* The statistics of a row of hak_gathered.kinds. */
void hak_report_class(unsigned row, const struct hak_gathered *found, struct hak_class_stats *one);

#endif
