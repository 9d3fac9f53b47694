/* A fixed sequence of everything that the allocator does, for runs in which memory can't be had. */
#ifndef LIMITS_SCENARIO_H
#define LIMITS_SCENARIO_H

/* Runs it. Every request must succeed or be refused as it should be (NULL and ENOMEM), what blocks
 * hold must stay, and free must keep errno; else the process ends with a message and status 1.
 * Returns how many requests were refused. */
unsigned scenario(void);

/* Ends the process with status 1, saying why. Allocates nothing. */
__attribute__((noreturn, format(printf, 1, 2))) void give_up(const char *format, ...);

#endif
