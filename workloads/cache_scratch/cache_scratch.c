/* cache_scratch: passive false sharing; objects that one thread allocated lie side by side and go
 * to other threads: does the allocator give these the pieces again that they freed? */
#include "../false_sharing/false_sharing.h"

int main(int argc, char **argv) {
    return false_sharing_main(
        &(fs_driver){
            .program = "cache_scratch",
            .summary =
                "every thread frees an object that the first thread gave it, then allocates, "
                "writes and frees its own: passive false sharing (Berger et al.)",
            .handover = true,
        },
        argc, argv);
}
