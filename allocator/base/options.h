/* Options from the environment: one row each of one table in options.c. */
#ifndef HAK_OPTIONS_H
#define HAK_OPTIONS_H

#include <stdbool.h>

enum hak_option {
    HAK_OPT_PURGE_DELAY,   /* milliseconds that free memory stays resident; -1: for ever */
    HAK_OPT_ADOPT,         /* 1: slabs that an exited thread left behind are reused */
    HAK_OPT_ARENA_RESERVE, /* MiB of address space reserved at a time; 0: single mappings */
    HAK_OPT_PAGE_MAP,      /* 1: flat page map; 2: two-level */
    HAK_OPT_CACHE_HUGE,    /* MiB of freed huge blocks kept for reuse until the delay is over */
    HAK_OPT_DEPOT,         /* KiB of free blocks a size class keeps for exchange among threads */
    HAK_OPT_STATS,         /* 1: print counters to standard error at exit */
    HAK_OPT_MAGAZINE_MIN,  /* blocks that a thread's magazine of a class has room for at first */
    HAK_OPT_MAGAZINE_MAX,  /* KiB of free blocks of a class that a thread keeps at most */
    HAK_OPT_THP,           /* 1: the system may back SuperSlabs with huge pages */
    HAK_OPT_CHECK,         /* 1: every block is checked, as in a guard build */
    HAK_OPT_CRASH_LOG,     /* 1: what the allocator knows is printed when the program crashes */
    HAK_OPT_COUNT
};

/* The values in force. Written once by hak_options_init, before the first block is handed out. */
extern long hak_option_value[HAK_OPT_COUNT];

/* Reads the environment. A wrong value is reported on standard error and the default taken. */
void hak_options_init(void);

static inline long hak_option(enum hak_option option) {
    return hak_option_value[option];
}

#endif
