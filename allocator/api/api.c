/* hak_malloc and its relatives: argument checks, errno, and which layer serves. */
#include "hakmem.h"
#include "api/fast_path.h"
#include "base/counters.h"
#include "base/diag.h"
#include "base/guard.h"
#include "base/options.h"
#include "inspect/fatal.h"
#include "large/large.h"
#include "os/os.h"
#include "report/report.h"

#include <errno.h>
#include <string.h>

HAK_MALLOC_PATH void *hak_malloc(size_t size) {
    return hak_malloc_fast(size);
}
HAK_FREE_PATH void hak_free(void *block) {
    hak_free_fast(block);
}
const char *hak_version(void) {
    return HAKMEM_VERSION;
}

/* Before the program's own constructors: what is registered for the exit here comes after all that
 * they register, and sees what those freed. 101 is taken: see interpose/early.c. */
__attribute__((constructor(102))) static void start(void) {
    /* Before there are other threads: one that frees NULL reads the table of marks without asking
     * whether a first call of malloc is filling it. */
    hak_init();
    hak_report_start();
}

/* ---- the slow ends ------------------------------------------------------------------------- */

HAK_COLD static void note_resized(const void *block, unsigned kind, size_t usable, size_t size) {
    if (hak_option(HAK_OPT_STATS)) {
        hak_count_home(kind, usable);
        hak_count_out(kind, size, hak_large_usable(block, kind));
    }
}

/* A block's hand-over and return in instrumented mode. */
HAK_COLD static void note_out(void *block, unsigned class_index, size_t size) {
    if (hak_guarding())
        hak_guard_out(block, size, class_index);
    else
        hak_unmark(block);
    if (hak_option(HAK_OPT_STATS))
        hak_count_out(class_index, size, hak_class_size[class_index]);
}
HAK_COLD static void note_home(void *block, unsigned class_index) {
    if (hak_guarding())
        hak_guard_home(block, class_index);
    if (hak_option(HAK_OPT_STATS))
        hak_count_home(class_index, hak_class_size[class_index]);
}
HAK_COLD static void note_large_out(const void *block, size_t size) {
    unsigned kind = hak_kind_at(block);
    if (hak_option(HAK_OPT_STATS))
        hak_count_out(kind, size, hak_large_usable(block, kind));
}
HAK_COLD static void note_large_home(const void *block, unsigned kind) {
    if (hak_option(HAK_OPT_STATS))
        hak_count_home(kind, hak_large_usable(block, kind));
}

/* `how` as for hak_large_new. */
static void *large_new(size_t size, size_t alignment, unsigned how) {
    hak_init();
    hak_heap_tick();
    struct hak_span_cache *cache = hak_heap_spans();
    void *block = hak_large_new(size, alignment, how, cache);
    /* Not for what no process can have. */
    if (HAK_UNLIKELY(!block) && !(size >> HAK_ADDRESS_BITS) && size < hak_os_address_limit()) {
        hak_heap_make_room(size > HAK_SPAN_MAX || alignment > HAK_SLAB_SIZE);
        block = hak_large_new(size, alignment, how, cache);
    }
    if (HAK_UNLIKELY(hak_instrumented) && block)
        note_large_out(block, size);
    return block;
}

/* After hak_init. */
static void *small_new(unsigned class_index, size_t size) {
    void *block = hak_take_from_magazine(class_index);
    if (!block && !(block = hak_heap_refill(class_index)))
        return NULL;
    hak_unpoison(block, size);
    if (HAK_UNLIKELY(hak_instrumented))
        note_out(block, class_index, size);
    else
        hak_unmark(block);
    return block;
}

/* The class's magazine is empty, or looks so; or the block is a large one. */
HAK_NOINLINE static void *malloc_rare(size_t size) {
    hak_init();
    if (HAK_LIKELY(size <= HAK_SMALL_MAX - hak_guard_bytes))
        return small_new(hak_size_class(size + hak_guard_bytes), size);
    return large_new(size, HAK_MIN_ALIGN, 0);
}

/* The cache in which the thread may find a span, and put one that it frees, with nothing else to
 * do; NULL if it has none, or everything is counted. */
static struct hak_span_cache *span_hits(void) {
    struct hak_heap *heap = hak_heap_self();
    return HAK_UNLIKELY(!heap) || HAK_UNLIKELY(hak_instrumented) ? NULL : &heap->spans;
}

HAK_NOINLINE static void *malloc_large(size_t size) {
    struct hak_span_cache *cache = size <= HAK_SPAN_MAX ? span_hits() : NULL;
    void *block = cache ? hak_large_again(size, cache) : NULL;
    if (HAK_UNLIKELY(!block))
        return malloc_rare(size);
    hak_heap_tick();
    return block;
}

HAK_NOINLINE void *hak_malloc_slow(size_t size) {
    return size > HAK_SMALL_MAX ? malloc_large(size) : malloc_rare(size);
}

/* In a sanitizer build the runtime has an allocator of its own; blocks that it allocated inside the
 * functions it wraps come here too, and go back to it. */
#if defined(HAKMEM_WRAP)
extern void runtime_free(void *) __asm__("__real_free") __attribute__((weak));
extern size_t runtime_usable(void *) __asm__("__real_malloc_usable_size") __attribute__((weak));
#elif defined(HAKMEM_ASAN)
extern void runtime_free(void *) __asm__("__interceptor_free") __attribute__((weak));
extern size_t runtime_usable(void *) __asm__("__interceptor_malloc_usable_size")
    __attribute__((weak));
#endif

HAK_COLD static void foreign(void *block, const char *function) {
#ifdef HAKMEM_SANITIZED
    if (runtime_free && runtime_usable && runtime_usable(block)) {
        runtime_free(block);
        return;
    }
#endif
    hak_inspect_fatal_pointer(function, block);
}

HAK_COLD static size_t foreign_usable(void *block, const char *function) {
#ifdef HAKMEM_SANITIZED
    if (runtime_usable && runtime_usable(block))
        return runtime_usable(block);
#endif
    hak_inspect_fatal_pointer(function, block);
}

/* Ends the program unless a small block that the program holds begins there. */
static void check_small(const void *block, unsigned class_index, const char *function) {
    if (HAK_UNLIKELY(!hak_begins_block(block, class_index) || hak_is_marked(block)))
        hak_inspect_fatal_pointer(function, block);
}

/* The same for a block of kind HAK_KIND_SPAN or HAK_KIND_HUGE. */
static void check_large(const void *block, unsigned kind, const char *function) {
    if (HAK_UNLIKELY(!hak_large_begins(block, kind)))
        hak_inspect_fatal_pointer(function, block);
}

HAK_NOINLINE void hak_free_slow(void *block) {
    if (!block)
        return;
    unsigned kind = hak_kind_at(block);
    if (kind == HAK_KIND_SPAN && hak_large_begins(block, kind)) {
        struct hak_span_cache *cache = span_hits();
        if (HAK_LIKELY(cache != NULL) && HAK_LIKELY(hak_large_keep(block, cache))) {
            hak_heap_tick();
            return;
        }
    }
    int kept = errno;
    if (HAK_LIKELY(kind - 1 < HAK_CLASS_MAX)) {
        check_small(block, kind, "free");
        if (HAK_UNLIKELY(hak_instrumented))
            note_home(block, kind);
        hak_mark(block);
        hak_poison(block, hak_class_size[kind]);
        hak_heap_overflow(block, kind);
        errno = kept;
        return;
    }
    if (kind == HAK_KIND_NONE) {
        foreign(block, "free");
        return;
    }
    check_large(block, kind, "free");
    hak_poison(block, hak_large_usable(block, kind));
    if (HAK_UNLIKELY(hak_instrumented))
        note_large_home(block, kind);
    hak_large_free(block, kind, hak_heap_spans());
    hak_heap_tick();
    errno = kept;
}

/* Bytes of a small block that the program may use. */
static size_t small_usable(const void *block, unsigned class_index, const char *function) {
    check_small(block, class_index, function);
    return hak_guarding() ? hak_guard_size(block, class_index) : hak_class_size[class_index];
}

/* The same of any block that isn't NULL; its kind is `kind`. */
static size_t usable_size(void *block, unsigned kind, const char *function) {
    if (HAK_LIKELY(kind - 1 < HAK_CLASS_MAX)) {
        hak_unpoison(block, hak_class_size[kind]); /* who asks may use it all */
        return small_usable(block, kind, function);
    }
    if (kind == HAK_KIND_NONE)
        return foreign_usable(block, function);
    check_large(block, kind, function);
    size_t usable = hak_large_usable(block, kind);
    hak_unpoison(block, usable);
    return usable;
}

size_t hak_malloc_usable_size(void *block) {
    return block ? usable_size(block, hak_kind_at(block), "malloc_usable_size") : 0;
}

/* ---- zeroed and resized blocks ------------------------------------------------------------- */

void *hak_calloc(size_t count, size_t size) {
    size_t bytes;
    if (HAK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    if (bytes > HAK_SMALL_MAX)
        return large_new(bytes, HAK_MIN_ALIGN, HAK_ZEROED);
    void *block = hak_malloc_fast(bytes);
    if (HAK_LIKELY(block != NULL))
        memset(block, 0, bytes);
    return block;
}

/* Whether a small block of so many usable bytes may serve as one of `size` bytes, too; then it
 * does. Shrinking it by moving it would cost more than it saves; with guards every one moves, so
 * that who still uses the old block is found. 0 is for others to see to. */
static bool stays_as(void *block, size_t usable, size_t size) {
    if (hak_guarding() || size - 1 >= usable || (size <= usable / 2 && usable > 128))
        return false;
    hak_poison(block, usable);
    hak_unpoison(block, size);
    return true;
}

/* The same for a block whose class isn't known yet; false for what realloc may not take, too, and
 * without the flat page map. */
static bool stays(void *block, size_t size) {
    struct hak_marks *marks = hak_marks_now();
    uint64_t place;
    size_t kind;
    hak_look_up(block, marks, &place, &kind);
    if (HAK_UNLIKELY(kind - 1 >= HAK_CLASS_MAX || place || (uint64_t)(uintptr_t)block >> 48 ||
                     hak_is_marked(block)))
        return false;
    return stays_as(block, hak_class_size[kind], size);
}

HAK_NOINLINE static void *realloc_rare(void *block, size_t size) {
    if (!block)
        return hak_malloc(size);
    if (size == 0) {
        hak_free(block);
        return NULL;
    }
    unsigned kind = hak_kind_at(block);
    size_t usable;
    if (HAK_LIKELY(kind - 1 < HAK_CLASS_MAX)) {
        usable = small_usable(block, kind, "realloc");
        if (stays_as(block, usable, size))
            return block;
        hak_unpoison(block, usable);
    } else {
        usable = usable_size(block, kind, "realloc");
        if (kind != HAK_KIND_NONE && size <= PTRDIFF_MAX) {
            int kept = errno;
            hak_heap_tick();
            void *resized = hak_large_resize(block, kind, size, hak_heap_spans());
            errno = kept;
            if (resized) {
                if (HAK_UNLIKELY(hak_instrumented))
                    note_resized(resized, kind, usable, size);
                hak_unpoison(resized, size);
                return resized;
            }
        }
    }
    int kept = errno;
    void *moved =
        size > HAK_SPAN_MAX ? large_new(size, HAK_MIN_ALIGN, HAK_GROWS) : hak_malloc(size);
    if (!moved && size <= usable) { /* no program expects that it can't have less */
        errno = kept;
        return block;
    }
    if (!moved)
        return NULL;
    memcpy(moved, block, size < usable ? size : usable);
    hak_free(block);
    return moved;
}

void *hak_realloc(void *block, size_t size) {
    return HAK_LIKELY(stays(block, size)) ? block : realloc_rare(block, size);
}

void *hak_reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    if (HAK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return hak_realloc(block, bytes);
}

/* ---- aligned blocks ------------------------------------------------------------------------ */

/* The class's magazine is empty, or looks so; or the block is a large one. */
HAK_NOINLINE static void *aligned_rare(size_t alignment, size_t size) {
    hak_init();
    if (alignment <= HAK_SMALL_MAX && size <= HAK_SMALL_MAX - hak_guard_bytes)
        return small_new(hak_size_class_aligned(alignment, size + hak_guard_bytes), size);
    return large_new(size, alignment, 0);
}

/* `alignment` is a power of two. */
static void *aligned_new(size_t alignment, size_t size) {
    if (alignment <= HAK_MIN_ALIGN)
        return hak_malloc(size);
    if (HAK_UNLIKELY(alignment > HAK_SMALL_MAX || size > HAK_SMALL_MAX))
        return aligned_rare(alignment, size);
    void *block = hak_class_hit(hak_size_class_aligned(alignment, size), size);
    return HAK_LIKELY(block != NULL) ? block : aligned_rare(alignment, size);
}

void *hak_aligned_alloc(size_t alignment, size_t size) {
    if (!hak_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return aligned_new(alignment, size);
}

/* glibc's takes any alignment, and uses the next power of two. */
void *hak_memalign(size_t alignment, size_t size) {
    size_t power = HAK_MIN_ALIGN;
    while (power < alignment && power <= PTRDIFF_MAX / 2)
        power *= 2;
    if (power < alignment) {
        errno = EINVAL;
        return NULL;
    }
    return aligned_new(power, size);
}

int hak_posix_memalign(void **result, size_t alignment, size_t size) {
    if (!hak_is_power_of_two(alignment) || alignment % sizeof(void *))
        return EINVAL;
    int kept = errno;
    void *block = aligned_new(alignment, size);
    errno = kept;
    if (!block)
        return ENOMEM;
    *result = block;
    return 0;
}

void *hak_valloc(size_t size) {
    return aligned_new(hak_os_page_size(), size);
}

void *hak_pvalloc(size_t size) {
    size_t page = hak_os_page_size();
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return aligned_new(page, hak_round_up(size ? size : 1, page));
}
