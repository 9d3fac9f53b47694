/* Keeping SuperSlabs from being released while somebody looks into slabs that are not his own. */
#include "superslab/superslab.h"

static _Atomic unsigned holds; /* of all threads */
static _Thread_local unsigned own_holds __attribute__((tls_model("initial-exec")));

/* acq_rel: see hak_pool_is_held */
void hak_pool_hold(void) {
    own_holds++;
    atomic_fetch_add_explicit(&holds, 1, memory_order_acq_rel);
}

/* release: whoever releases after it does so after all that was looked at */
void hak_pool_let_go(void) {
    atomic_fetch_sub_explicit(&holds, 1, memory_order_release);
    own_holds--;
}

/* A read-modify-write: a hold comes before it, and is seen here; or after it, and then sees by its
 * acquire all that came before, so also that the page map knows none of the slabs that the caller
 * has taken. So what is released because nobody held is not looked at by those who hold later. */
bool hak_pool_is_held(void) {
    return atomic_fetch_or_explicit(&holds, 0, memory_order_acq_rel) != 0;
}

/* relaxed: there is no other thread */
void hak_pool_fork_child(void) {
    atomic_store_explicit(&holds, own_holds, memory_order_relaxed);
}
