/* What options ask for at the program's start. */
#include "base/counters.h"
#include "base/diag.h"
#include "base/options.h"
#include "heap/heap.h"
#include "report/report.h"

#include <stdlib.h>

void hak_report_start(void) {
    if (!hak_options_given())
        return;
    hak_init();
    if (hak_option(HAK_OPT_STATS)) {
        hak_message_keep_stderr();
        atexit(hak_counters_print);
    }
}
