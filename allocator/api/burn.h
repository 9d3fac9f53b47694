/* A load on malloc, for a test build alone: make CFLAGS=-DHAKMEM_BURN=N builds a library that is
 * slower by a known amount, with which runner/calibrate.py tries out whether comparisons notice.
 *
 * Every HAK_BURN_EVERY-th malloc of a thread runs an empty loop of HAK_BURN_ALWAYS + N rounds. A
 * round is 2 instructions, and a cycle or two. Libraries with different N differ in one constant of
 * the same length and in nothing else, not even in where their code lies; so N = 0 is what the
 * others are compared with. The rounds that all have are there for the processor: it foresees the
 * end of a short loop but not of a long one, and a wrong guess costs as much as some 20 rounds. */
#ifndef HAK_BURN_H
#define HAK_BURN_H

#include "base/config.h"

#ifndef HAKMEM_BURN
HAK_INLINE void hak_burn(void) {}
#else

#define HAK_BURN_EVERY                                                                             \
    256u /* mallocs of a thread: some 50 rounds a time are 1% of malloc and free */
#define HAK_BURN_ALWAYS 128u /* rounds */

_Static_assert((HAKMEM_BURN) >= 0 && (HAKMEM_BURN) <= 1000000000, "HAKMEM_BURN: 0 to 10^9 rounds");

/* Mallocs of the thread so far. Weak: one for all files that this header is in. */
__attribute__((weak, visibility("hidden"),
               tls_model("initial-exec"))) _Thread_local uint32_t hak_burn_calls;

HAK_INLINE void hak_burn(void) {
    if (HAK_LIKELY(++hak_burn_calls % HAK_BURN_EVERY))
        return;
    uint32_t left;
#if defined(__x86_64__)
    __asm__ volatile("movl %1, %0\n\t" /* 5 bytes or 6, whatever the constant */
                     ".p2align 4\n"
                     "1:\tdecl %0\n\t"
                     "jnz 1b"
                     : "=r"(left)
                     : "i"((HAKMEM_BURN) + HAK_BURN_ALWAYS)
                     : "cc");
#elif defined(__aarch64__)
    __asm__ volatile("movz %w0, %1\n\t"
                     "movk %w0, %2, lsl 16\n\t"
                     ".p2align 4\n"
                     "1:\tsubs %w0, %w0, 1\n\t"
                     "b.ne 1b"
                     : "=r"(left)
                     : "i"(((HAKMEM_BURN) + HAK_BURN_ALWAYS) & 0xffffu),
                       "i"(((HAKMEM_BURN) + HAK_BURN_ALWAYS) >> 16)
                     : "cc");
#else
#error "HAKMEM_BURN: there is no loop for this processor yet; add one to burn.h"
#endif
}

#endif /* HAKMEM_BURN */
#endif
