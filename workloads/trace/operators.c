/* C++'s operator new and delete under their mangled names, in C: recorded and passed on.
 *
 * The allocator behind may have operators of its own; then they are recorded here. Those of the C++
 * runtime call malloc, aligned_alloc and free, or each other, or the program's own that replace
 * them: then it is the C function that is recorded, as new or delete. Nothing has to be undone
 * where a new throws; of an allocator's own new that throws there is no record. */
#include <stdlib.h>

#include "calls.h"
#include "say.h"

/* Looked up at the first call: a C program may get a C++ runtime with a plug-in, later. */
#define LOOK_UP(function, own, name)                                                               \
    do {                                                                                           \
        if (TRACE_UNLIKELY(!function)) {                                                           \
            trace_mode before = trace_go_in();                                                     \
            own = trace_next_look_up(name, &function);                                             \
            self.mode = before;                                                                    \
        }                                                                                          \
    } while (0)

_Noreturn TRACE_COLD static void no_operator(const char *name) {
    trace_say("%s was called, and there is no C++ runtime that has it", name);
    abort();
}

#define NEW(symbol, parameters, arguments, kind, logarithm)                                        \
    TRACE_API void *symbol parameters;                                                             \
    TRACE_API void *symbol parameters {                                                            \
        static void *(*function)parameters;                                                        \
        static bool own;                                                                           \
        LOOK_UP(function, own, #symbol);                                                           \
        if (TRACE_UNLIKELY(!function))                                                             \
            no_operator(#symbol);                                                                  \
        trace_mode mode = self.mode;                                                               \
        if (mode == TRACE_INSIDE)                                                                  \
            return function arguments;                                                             \
        self.mode = TRACE_IN_NEW;                                                                  \
        void *block = function arguments;                                                          \
        if (self.mode == TRACE_IN_NEW && own) {                                                    \
            self.mode = TRACE_OUTSIDE;                                                             \
            trace_record_call(kind, block, size, true, logarithm);                                 \
        } else if (mode != TRACE_IN_NEW) { /* nobody is waiting for a record */                    \
            self.mode = mode;                                                                      \
        }                                                                                          \
        return block;                                                                              \
    }

#define DELETE(symbol, parameters, arguments)                                                      \
    TRACE_API void symbol parameters;                                                              \
    TRACE_API void symbol parameters {                                                             \
        static void(*function) parameters;                                                         \
        static bool own;                                                                           \
        LOOK_UP(function, own, #symbol);                                                           \
        if (TRACE_UNLIKELY(!function))                                                             \
            no_operator(#symbol);                                                                  \
        trace_mode mode = self.mode;                                                               \
        if (mode != TRACE_INSIDE) {                                                                \
            self.mode = own ? TRACE_INSIDE : TRACE_IN_DELETE;                                      \
            if (own)                                                                               \
                trace_record_call(TRACE_DELETE, block, 0, false, 0);                               \
        }                                                                                          \
        function arguments;                                                                        \
        self.mode = mode;                                                                          \
    }

/* Zn new, Zd delete, w and l single, a array, m size_t, Pv void *, St11align_val_t the alignment,
 * RKSt9nothrow_t the nothrow tag. */
NEW(_Znwm, (size_t size), (size), TRACE_NEW, 0)
NEW(_Znam, (size_t size), (size), TRACE_NEW, 0)
NEW(_ZnwmRKSt9nothrow_t, (size_t size, const void *tag), (size, tag), TRACE_NEW, 0)
NEW(_ZnamRKSt9nothrow_t, (size_t size, const void *tag), (size, tag), TRACE_NEW, 0)
NEW(_ZnwmSt11align_val_t, (size_t size, size_t alignment), (size, alignment), TRACE_NEW_ALIGNED,
    trace_logarithm(alignment))
NEW(_ZnamSt11align_val_t, (size_t size, size_t alignment), (size, alignment), TRACE_NEW_ALIGNED,
    trace_logarithm(alignment))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const void *tag),
    (size, alignment, tag), TRACE_NEW_ALIGNED, trace_logarithm(alignment))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const void *tag),
    (size, alignment, tag), TRACE_NEW_ALIGNED, trace_logarithm(alignment))

DELETE(_ZdlPv, (void *block), (block))
DELETE(_ZdaPv, (void *block), (block))
DELETE(_ZdlPvm, (void *block, size_t size), (block, size))
DELETE(_ZdaPvm, (void *block, size_t size), (block, size))
DELETE(_ZdlPvRKSt9nothrow_t, (void *block, const void *tag), (block, tag))
DELETE(_ZdaPvRKSt9nothrow_t, (void *block, const void *tag), (block, tag))
DELETE(_ZdlPvSt11align_val_t, (void *block, size_t alignment), (block, alignment))
DELETE(_ZdaPvSt11align_val_t, (void *block, size_t alignment), (block, alignment))
DELETE(_ZdlPvmSt11align_val_t, (void *block, size_t size, size_t alignment),
       (block, size, alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *block, size_t size, size_t alignment),
       (block, size, alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t alignment, const void *tag),
       (block, alignment, tag))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t alignment, const void *tag),
       (block, alignment, tag))
