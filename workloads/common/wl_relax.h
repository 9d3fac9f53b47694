/* A pause of some nanoseconds in a loop that waits awake. */
#ifndef WL_RELAX_H
#define WL_RELAX_H

/* Tells the processor that this thread waits for another, so that one that shares its core goes on
 * faster; nothing where the processor has no such instruction. */
static inline void wl_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
