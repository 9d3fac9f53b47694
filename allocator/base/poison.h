/* AddressSanitizer builds: bytes that the program doesn't own are poisoned, so that its use of them
 * is reported. Nothing in other builds. */
#ifndef HAK_POISON_H
#define HAK_POISON_H

#include "base/config.h"

#ifdef HAKMEM_ASAN
#include <sanitizer/asan_interface.h>
HAK_INLINE void hak_unpoison(const volatile void *bytes, size_t size) {
    __asan_unpoison_memory_region(bytes, size);
}
HAK_INLINE void hak_poison(const volatile void *bytes, size_t size) {
    __asan_poison_memory_region(bytes, size);
}
#else
HAK_INLINE void hak_unpoison(const volatile void *bytes, size_t size) {
    (void)bytes, (void)size;
}
HAK_INLINE void hak_poison(const volatile void *bytes, size_t size) {
    (void)bytes, (void)size;
}
#endif

#endif
