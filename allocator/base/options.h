/* Options from the environment: one row each of one table in options.c, from which parsing, the
 * list that HAKMEM_HELP=1 prints and the documentation's tables come. */
#ifndef HAK_OPTIONS_H
#define HAK_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>

enum hak_option {
    HAK_OPT_PURGE_DELAY,   /* milliseconds that free memory stays resident; -1: for ever */
    HAK_OPT_ADOPT,         /* 1: slabs that an exited thread left behind are reused */
    HAK_OPT_ARENA_RESERVE, /* MiB of address space reserved at a time; 0: single mappings */
    HAK_OPT_PAGE_MAP,      /* 1: flat page map; 2: two-level */
    HAK_OPT_CACHE_HUGE,    /* MiB of freed huge blocks kept for reuse until the delay is over */
    HAK_OPT_DEPOT,         /* KiB of free blocks a size class keeps for exchange among threads */
    HAK_OPT_MAGAZINE_MIN,  /* blocks that a thread's magazine of a class has room for at first */
    HAK_OPT_MAGAZINE_MAX,  /* KiB of free blocks of a class that a thread keeps at most */
    HAK_OPT_THP,           /* 1: the system may back SuperSlabs with huge pages */
    HAK_OPT_CHECK,         /* 1: every block is checked, as in a guard build */
    HAK_OPT_CRASH_LOG,     /* 1: what the allocator knows is printed when the program crashes */
    HAK_OPT_STATS,         /* statistics at exit, and counting: enum hak_stats_form */
    HAK_OPT_STATS_SIGNAL,  /* the signal that prints statistics; 0: none */
    HAK_OPT_STATS_FILE,    /* where statistics go; a text */
    HAK_OPT_HELP,          /* the list of options at start-up: enum hak_help_form */
    HAK_OPT_COUNT
};

enum hak_stats_form { HAK_STATS_OFF, HAK_STATS_TABLE, HAK_STATS_JSON };
enum hak_help_form { HAK_HELP_OFF, HAK_HELP_LIST, HAK_HELP_TABLE };

/* The values in force. Written by hak_options_init, before the first block is handed out, and by
 * hak_option_change. */
extern _Atomic long hak_option_value[HAK_OPT_COUNT];

/* Reads the environment, which a program that runs with more rights than its user doesn't trust. A
 * wrong value is reported on standard error and the default taken; so is a name that one of ours
 * was probably meant by. */
void hak_options_init(void);

/* Whether the environment names any option, known or not. */
bool hak_options_given(void);

/* relaxed: each value stands for itself. Who starts with one sees it by hak_init's acquire; one
 * that is changed while the program runs is seen sooner or later. */
static inline long hak_option(enum hak_option option) {
    return atomic_load_explicit(&hak_option_value[option], memory_order_relaxed);
}

/* The text of HAK_OPT_STATS_FILE; NULL without one. It lives for ever. */
const char *hak_option_text(enum hak_option option);

/* The option of a name as in the environment, or HAK_OPT_COUNT. */
enum hak_option hak_option_named(const char *name);

/* Changes an option of a running program: 0, EINVAL if the value is out of range or the option is a
 * text, EPERM if it only counts at start-up. Any thread. */
int hak_option_change(enum hak_option option, long value);

#endif
