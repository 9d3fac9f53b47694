/* hak_stats_read and its relatives: counts, sums and what lies in the slabs, put together. */
#include "base/options.h"
#include "depot/depot.h"
#include "hakmem.h"
#include "heap/capacity.h"
#include "large/large.h"
#include "report/gather.h"
#include "report/process.h"
#include "report/report.h"

#include <errno.h>
#include <string.h>

/* Readers may see a free before the request that it belongs to. */
static uint64_t less(uint64_t all, uint64_t part) {
    return all > part ? all - part : 0;
}

static bool is_counting(void) {
    return hak_option(HAK_OPT_STATS) != HAK_STATS_OFF;
}

static unsigned kind_of_row(unsigned row) {
    return row < HAK_CLASS_MAX ? row + 1 : HAK_KIND_SPAN + (row - HAK_CLASS_MAX);
}

/* Free blocks of a class that the calling thread keeps. */
static uint64_t own_blocks(unsigned class_index) {
    const struct hak_heap *heap = hak_heap_self();
    if (!heap)
        return 0;
    const struct hak_heap_class *class = &heap->classes[class_index];
    void **top = class->hidden ? class->hidden : heap->magazines->top[class_index];
    /* In a signal handler the thread may be just about to get its heap, or to leave it. */
    return top >= class->bottom && top <= class->bottom + class->ceiling
               ? (uint64_t)(top - class->bottom) + hak_capacity_below(class)
               : 0;
}

/* Free blocks of a class in the depot, if all its magazines there are full. */
static uint64_t depot_blocks(unsigned class_index) {
    return (uint64_t)hak_depot_magazines(class_index) * (hak_magazine_usual(class_index) / 2);
}

/* The size classes' part: what is out of the slabs is with the program, in the depot, or with some
 * thread. Counting tells the program's part, and so the threads'; else those can't be told apart,
 * but for the calling thread's. */
static void add_class(struct hak_stats *all, const struct hak_gathered *found, unsigned row) {
    unsigned class_index = kind_of_row(row);
    uint64_t size = hak_class_size[class_index];
    uint64_t out = found->kinds[row].out * size;
    uint64_t depot = depot_blocks(class_index) * size;
    uint64_t threads = own_blocks(class_index) * size;
    if (all->counting) {
        struct hak_kind_counts counts = hak_counted(class_index);
        uint64_t live = less(counts.bytes_out, counts.bytes_home);
        uint64_t free = less(out, live);
        depot = depot < free ? depot : free;
        threads = free - depot;
        all->live += live;
    } else {
        depot = depot < out ? depot : out;
        threads = threads < out - depot ? threads : out - depot;
        all->live += out - depot - threads;
    }
    all->cached_depot += depot;
    all->cached_threads += threads;
    all->unused += found->kinds[row].unused;
}

static void add_large(struct hak_stats *all, const struct hak_gathered *found, unsigned row) {
    struct hak_kind_counts counts = hak_counted(kind_of_row(row));
    all->live +=
        all->counting ? less(counts.bytes_out, counts.bytes_home) : found->kinds[row].bytes;
}

void hak_report_sums(struct hak_stats *all, struct hak_gathered *room) {
    hak_gather(room);
    *all = (struct hak_stats){.counting = is_counting()};
    for (unsigned row = 0; row < HAK_COUNTED_KINDS; row++) {
        struct hak_kind_counts counts = hak_counted(kind_of_row(row));
        all->requests += counts.requests;
        all->frees += counts.frees;
        if (row < HAK_CLASS_MAX)
            add_class(all, room, row);
        else
            add_large(all, room, row);
    }
    all->live_peak = hak_gauge_peak(HAK_GAUGE_LIVE);
    struct hak_process process = hak_process_read();
    all->resident = process.resident;
    all->resident_peak = process.resident_peak;
    all->committed = hak_gauge(HAK_GAUGE_COMMITTED);
    all->committed_peak = hak_gauge_peak(HAK_GAUGE_COMMITTED);
    all->mapped = hak_gauge(HAK_GAUGE_MAPPED);
    all->mapped_peak = hak_gauge_peak(HAK_GAUGE_MAPPED);
    all->cached_slabs = room->dirty + hak_span_caches_kept();
    all->cached_huge = hak_huge_cached();
    all->cached = all->cached_threads + all->cached_depot + all->cached_slabs + all->cached_huge;
}

/* What a program knows that was built with another version's header: its part of ours, and zeros in
 * what we don't know. */
static void copy_part(void *target, size_t size, const void *source, size_t known) {
    memcpy(target, source, size < known ? size : known);
    if (size > known)
        memset((char *)target + known, 0, size - known);
}

int hak_stats_read(struct hak_stats *stats, size_t size) {
    if (!stats)
        return EINVAL;
    struct hak_gathered room;
    struct hak_stats all;
    hak_report_sums(&all, &room);
    copy_part(stats, size, &all, sizeof all);
    return 0;
}

void hak_report_class(unsigned row, const struct hak_gathered *found, struct hak_class_stats *one) {
    struct hak_kind_counts counts = hak_counted(kind_of_row(row));
    *one = (struct hak_class_stats){
        .size = row < HAK_CLASS_MAX ? hak_class_size[row + 1] : 0,
        .requests = counts.requests,
        .frees = counts.frees,
        .live = less(counts.requests, counts.frees),
        .live_bytes = less(counts.bytes_out, counts.bytes_home),
        .requested = counts.requested,
        .usable = counts.bytes_out,
        .blocks = found->kinds[row].out,
        .slabs = found->kinds[row].bytes,
        .unused = found->kinds[row].unused,
    };
}

int hak_stats_read_class(unsigned kind, struct hak_class_stats *stats, size_t size) {
    if (!stats)
        return EINVAL;
    if (kind < 1 || kind > HAK_COUNTED_KINDS)
        return ENOENT;
    struct hak_gathered found;
    hak_gather(&found);
    struct hak_class_stats one;
    hak_report_class(kind - 1, &found, &one);
    copy_part(stats, size, &one, sizeof one);
    return 0;
}

int hak_stats_get(const char *name, uint64_t *value) {
    enum hak_counter counter = hak_counter_named(name);
    if (counter == HAK_COUNTER_COUNT)
        return ENOENT;
    *value = hak_counter(counter);
    return 0;
}
