/* Reserving large pieces, and single mappings where that fails. */
#include "superslab/arena.h"
#include "base/counters.h"
#include "base/options.h"
#include "os/os.h"

static char *next, *end; /* of the piece being used; under the pool's lock */

static bool reserve_piece(void) {
    static bool refused;
    size_t wanted = (size_t)hak_option(HAK_OPT_ARENA_RESERVE) << 20;
    size_t limit = hak_os_address_limit();
    if (limit != SIZE_MAX && wanted > limit / 32)
        wanted = limit / 32;
    wanted &= ~(HAK_SUPERSLAB_SIZE - 1);
    bool failed = refused;
    for (; !refused && wanted >= 4 * HAK_SUPERSLAB_SIZE;
         wanted = (wanted / 2) & ~(HAK_SUPERSLAB_SIZE - 1)) {
        char *piece = hak_os_reserve(wanted, HAK_SUPERSLAB_SIZE);
        if (piece) {
            if (!hak_option(HAK_OPT_THP))
                hak_os_no_huge_pages(piece, wanted);
            next = piece;
            end = piece + wanted;
            return true;
        }
        failed = true;
    }
    refused = failed; /* not where none was asked for: the option may change */
    return false;
}

char *hak_arena_region(void) {
    if (next != end || reserve_piece()) {
        char *region = next;
        if (!hak_os_commit(region, HAK_SUPERSLAB_SIZE))
            return NULL;
        next += HAK_SUPERSLAB_SIZE;
        return region;
    }
    char *region = hak_os_map(HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE);
    if (region) {
        if (!hak_option(HAK_OPT_THP))
            hak_os_no_huge_pages(region, HAK_SUPERSLAB_SIZE);
        hak_count(HAK_COUNT_ARENA_SINGLE, 1);
    }
    return region;
}

size_t hak_arena_release(void) {
    size_t bytes = (size_t)(end - next);
    if (bytes)
        hak_os_unreserve(next, bytes);
    next = end = NULL;
    return bytes;
}
