/* Which loaded object serves malloc, found at run time from what it is and exports. */
#ifndef WL_PROVIDER_H
#define WL_PROVIDER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { WL_BUILD_ID_MOST = 64, WL_VERSION_MOST = 256 };

typedef enum { WL_PART_MALLOC, WL_PART_CALLOC, WL_PART_REALLOC, WL_PART_FREE, WL_PARTS } wl_part;
extern const char *const wl_part_names[WL_PARTS];

typedef struct {
    const char *name; /* hakmem, mimalloc, jemalloc, tcmalloc, tbbmalloc, system, floor, sanitizer,
                         unknown */
    bool has_version;
    char version[WL_VERSION_MOST];
    char build_id[2 * WL_BUILD_ID_MOST + 1]; /* hexadecimal; empty where the object has none */
    bool complete;                           /* all four parts come from one object */
    char parts[WL_PARTS][PATH_MAX];          /* resolved paths; empty where nothing was found */
} wl_provider;

/*
 * Finds the loaded object that each of malloc, calloc, realloc and free is bound to, and recognises
 * the allocator by the functions that the object with malloc exports. The answer is kept in static
 * memory. The main thread alone, before or after the run: the linker may allocate.
 */
const wl_provider *wl_provider_find(void);

/* The same for functions at these addresses, in the order of wl_part. */
const wl_provider *wl_provider_find_at(const void *const addresses[WL_PARTS]);

/* The address that this object's own calls of a part go to, as the linkers bound them. */
const void *wl_provider_bound(wl_part part);

/*
 * The function by which the allocator that serves malloc tells its counters (hakmem's
 * hak_stats_get), NULL where it has none. It stays valid. The main thread alone, as above.
 */
int (*wl_provider_stats(void))(const char *name, uint64_t *value);

#endif
