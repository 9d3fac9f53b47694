/* cache_thrash: active false sharing; does the allocator hand pieces of one cache line to threads
 * that allocate at the same time? Each thread allocates its own first object. */
#include "../false_sharing/false_sharing.h"

int main(int argc, char **argv) {
    return false_sharing_main(
        &(fs_driver){
            .program = "cache_thrash",
            .summary = "every thread allocates, writes and frees small objects: active false "
                       "sharing (Berger et al.)",
            .handover = false,
        },
        argc, argv);
}
