/* The allocator's locks, and how they get across a fork. There is one (os/os.c), and nobody takes
 * it as long as the kernel unmaps what it is asked to.
 *
 * Before a fork the thread that forks takes them all, so that the child finds whole what they
 * guard. Handlers of pthread_atfork that are older than ours run between that and the fork, and in
 * the child and the parent between the fork and the release; what they allocate must not wait
 * for locks that their own thread holds. So while it forks a thread passes through. */
#ifndef HAK_LOCK_H
#define HAK_LOCK_H

#include "base/config.h"

#include <pthread.h>

/* True from the moment when the calling thread has all locks for a fork until they are released, in
 * the child too. */
extern _Thread_local bool hak_forking __attribute__((tls_model("initial-exec")));

HAK_INLINE void hak_lock(pthread_mutex_t *lock) {
    if (HAK_LIKELY(!hak_forking))
        pthread_mutex_lock(lock);
}

/* False, and nothing was done, where another thread has it. */
HAK_INLINE bool hak_try_lock(pthread_mutex_t *lock) {
    return HAK_UNLIKELY(hak_forking) || pthread_mutex_trylock(lock) == 0;
}

HAK_INLINE void hak_unlock(pthread_mutex_t *lock) {
    if (HAK_LIKELY(!hak_forking))
        pthread_mutex_unlock(lock);
}

#endif
