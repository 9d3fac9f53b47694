/* The counters' storage and their table. */
#include "base/counters.h"
#include "base/diag.h"

_Atomic uint64_t hak_counter_value[HAK_COUNTER_COUNT];

static const char *const texts[HAK_COUNTER_COUNT] = {
#define X(name, text) text,
    HAK_COUNTERS(X)
#undef X
};

void hak_counters_print(void) {
    hak_message("hakmem: counters at exit\n");
    for (unsigned i = 0; i < HAK_COUNTER_COUNT; i++)
        hak_message("  %u\t%s\n", (unsigned long)hak_counter((enum hak_counter)i), texts[i]);
}
