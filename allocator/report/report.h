/* What the allocator tells about itself while the program runs and when it ends. */
#ifndef HAK_REPORT_H
#define HAK_REPORT_H

/* Does what options ask for at the program's start, even of one that never allocates. */
void hak_report_start(void);

#endif
