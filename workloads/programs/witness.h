/*
 * What the witness writes: one record for each process that ends.
 *
 * The witness is a small library that run_program preloads behind the allocator. When a process
 * ends it looks, from inside, at who serves malloc and at the memory the process took, and appends
 * a record to the file that WL_WITNESS names.
 */
#ifndef WL_WITNESS_H
#define WL_WITNESS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "wl_provider.h"

#define WL_WITNESS_FILE  "WL_WITNESS"
#define WL_WITNESS_MAGIC UINT64_C(0x77697431746e6573)

enum { WL_PROCESS_NAME = 16 }; /* bytes of a process's name with its end, as the kernel keeps it */

typedef struct {
    uint64_t magic;
    int64_t pid;
    char name[WL_PROCESS_NAME];
    uint64_t peak_bytes;     /* VmHWM: of this program alone, counted from its exec */
    uint64_t resident_bytes; /* VmRSS now */
    int64_t cpu_user_ns, cpu_system_ns;
    char provider_name[32];
    wl_provider provider; /* its `name` points nowhere; provider_name has it */
    uint64_t bound; /* references to malloc, calloc, realloc, free that lead to the provider */
    char stray[PATH_MAX]; /* an object with such a reference that leads elsewhere; empty: none */
} wl_witness_record;

#endif
