/* Which functions the interposed malloc and free become: the hit paths themselves, or, where this
 * folder is not instrumented, the ones that are; MALLOC_HIT may give up with NULL. */
#ifndef HAK_CALLS_H
#define HAK_CALLS_H

#include "hakmem.h"
#include "interpose/early.h"

#ifdef HAKMEM_SANITIZED
#define MALLOC     hak_malloc
#define MALLOC_HIT hak_malloc
#define FREE       hak_free
#else
#include "api/fast_path.h"
#define MALLOC     hak_malloc_fast
#define MALLOC_HIT hak_malloc_hit
#define FREE       hak_free_fast
#endif

#endif
