/* The statistics as a table for a reader, and as JSON for a program. */
#include "base/counters.h"
#include "report/report.h"

#include <errno.h>
#include <unistd.h>

#define U(value) ((unsigned long)(value))

/* Of `whole`, in thousandths; 0 of nothing. */
static unsigned long per_mille(uint64_t part, uint64_t whole) {
    if (!whole)
        return 0;
    while (whole > UINT64_MAX / 1000) {
        whole /= 2;
        part /= 2;
    }
    return U(part * 1000 / whole);
}

static uint64_t lost_inside(const struct hak_class_stats *one) {
    return one->usable > one->requested ? one->usable - one->requested : 0;
}

/* The program's name without what would need quoting. */
struct program_name {
    char text[32];
};
static struct program_name program_name(void) {
    struct program_name name;
    const char *given = program_invocation_short_name;
    size_t i = 0;
    for (; given && given[i] && i < sizeof name.text - 1; i++) {
        char c = given[i];
        name.text[i] = c < ' ' || c > '~' || c == '"' || c == '\\' ? '?' : c;
    }
    name.text[i] = '\0';
    return name;
}

/* ---- the table ----------------------------------------------------------------------------- */

static void put_row(struct hak_writer *w, const char *name, uint64_t now, const uint64_t *peak,
                    const char *text) {
    hak_write(w, "  %-10s%16u", name, U(now));
    if (peak)
        hak_write(w, "%16u", U(*peak));
    else
        hak_write(w, "%-16s", "");
    hak_write(w, "  %s\n", text);
}

static void put_sums(struct hak_writer *w, const struct hak_stats *all) {
    hak_write(w, "  %-10s             now            peak\n", "bytes");
    put_row(w, "live", all->live, all->counting ? &all->live_peak : NULL,
            all->counting ? "the program's blocks, by their usable bytes"
                          : "the program's blocks, and free ones that other threads keep");
    put_row(w, "resident", all->resident, &all->resident_peak, "of the whole process, in memory");
    put_row(w, "committed", all->committed, &all->committed_peak,
            "the allocator's, readable and writable");
    put_row(w, "mapped", all->mapped, &all->mapped_peak, "the allocator's address space");
    put_row(w, "cached", all->cached, NULL, "free and kept for reuse, the sum of these:");
    put_row(w, "  threads", all->cached_threads, NULL,
            all->counting ? "blocks that threads keep" : "blocks that this thread keeps");
    put_row(w, "  depot", all->cached_depot, NULL, "blocks that threads put up for exchange");
    put_row(w, "  slabs", all->cached_slabs, NULL, "free slabs with pages");
    put_row(w, "  huge", all->cached_huge, NULL, "freed huge blocks");
    put_row(w, "unused", all->unused, NULL, "free between the blocks of slabs in use");
}

static void put_classes(struct hak_writer *w, struct hak_gathered *room) {
    hak_gather(room);
    hak_write(w, "  block      requests         frees          live    live bytes   lost"
                 "    slab bytes   full\n");
    for (unsigned row = 0; row < HAK_COUNTED_KINDS; row++) {
        struct hak_class_stats one;
        hak_report_class(row, room, &one);
        if (!one.requests && !one.slabs)
            continue;
        if (one.size)
            hak_write(w, "  %5u", U(one.size));
        else
            hak_write(w, "  %-5s", row == HAK_CLASS_MAX ? "slabs" : "huge");
        unsigned long lost = per_mille(lost_inside(&one), one.usable);
        unsigned long full = per_mille(one.slabs - one.unused, one.slabs);
        hak_write(w, "%14u%14u%14u%14u%4u.%u%%%14u%4u.%u%%\n", U(one.requests), U(one.frees),
                  U(one.live), U(one.live_bytes), lost / 10, lost % 10, U(one.slabs), full / 10,
                  full % 10);
    }
    hak_write(w, "  lost: inside blocks, of what requests got; full: of the slabs, what is out\n");
}

void hak_report_table(struct hak_writer *w, const char *when, struct hak_gathered *room) {
    struct hak_stats all;
    hak_report_sums(&all, room);
    hak_write(w, "hakmem: statistics of process %d (%s) %s\n", (long)getpid(), program_name().text,
              when);
    put_sums(w, &all);
    if (all.counting)
        put_classes(w, room);
    else
        hak_write(w, "  HAKMEM_STATS=1 counts every block, and shows the size classes\n");
    hak_write(w, "hakmem: counters %s\n", when);
    for (unsigned i = 0; i < HAK_COUNTER_COUNT; i++) {
        enum hak_counter counter = (enum hak_counter)i;
        hak_write(w, "  %u\t%s: %s\n", U(hak_counter(counter)), hak_counter_name(counter).text,
                  hak_counter_text(counter));
    }
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void put_class_json(struct hak_writer *w, unsigned kind, const struct hak_class_stats *one) {
    hak_write(w, "{\"class\":%u,\"size\":%u,\"requests\":%u,\"frees\":%u,\"live\":%u,", U(kind),
              U(one->size), U(one->requests), U(one->frees), U(one->live));
    hak_write(w, "\"live_bytes\":%u,\"requested\":%u,\"usable\":%u,", U(one->live_bytes),
              U(one->requested), U(one->usable));
    hak_write(w, "\"blocks\":%u,\"slabs\":%u,\"unused\":%u}", U(one->blocks), U(one->slabs),
              U(one->unused));
}

void hak_report_json(struct hak_writer *w, const char *when, struct hak_gathered *room) {
    struct hak_stats all;
    hak_report_sums(&all, room);
    hak_write(w, "{\"hakmem\":\"%s\",\"process\":%d,\"program\":\"%s\",\"when\":\"%s\"",
              HAKMEM_VERSION, (long)getpid(), program_name().text, when);
    const struct {
        const char *name;
        uint64_t value;
    } sums[] = {
#define X(name) {#name, all.name}
        X(live),         X(live_peak),     X(requests),    X(frees),
        X(resident),     X(resident_peak), X(committed),   X(committed_peak),
        X(mapped),       X(mapped_peak),   X(cached),      X(cached_threads),
        X(cached_depot), X(cached_slabs),  X(cached_huge), X(unused),
#undef X
    };
    hak_write(w, ",\"counting\":%s", all.counting ? "true" : "false");
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        hak_write(w, ",\"%s\":%u", sums[i].name, U(sums[i].value));
    hak_gather(room);
    const char *between = "";
    hak_write(w, ",\"classes\":[");
    for (unsigned row = 0; row < HAK_COUNTED_KINDS; row++) {
        struct hak_class_stats one;
        hak_report_class(row, room, &one);
        if (!one.requests && !one.slabs)
            continue;
        hak_write(w, "%s", between);
        put_class_json(w, row + 1, &one);
        between = ",";
    }
    hak_write(w, "],\"counters\":{");
    for (unsigned i = 0; i < HAK_COUNTER_COUNT; i++)
        hak_write(w, "%s\"%s\":%u", i ? "," : "", hak_counter_name((enum hak_counter)i).text,
                  U(hak_counter((enum hak_counter)i)));
    hak_write(w, "}}\n");
}

int hak_stats_print(int fd, int json) {
    struct hak_gathered room;
    char buffer[1024];
    struct hak_writer w = {.fd = fd, .size = sizeof buffer, .text = buffer};
    if (json)
        hak_report_json(&w, "now", &room);
    else
        hak_report_table(&w, "now", &room);
    return hak_write_end(&w) ? 0 : EIO;
}
