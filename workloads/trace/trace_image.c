/* Opens a trace's file, checks its beginning, and finds every thread's segments. */
#include "trace_decode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGEST_UNIT ((uint32_t)1 << 20) /* bytes; no machine has larger pages */
#define LARGEST_ROOM ((uint32_t)1 << 26) /* bytes of a chunk */

static bool refuse(trace_image *image, const char *what) {
    snprintf(image->why, TRACE_WHY, "%.700s %s", image->path, what);
    return false;
}

bool trace_image_wrong(trace_image *image, uint64_t at, const char *what) {
    snprintf(image->why, TRACE_WHY, "%.700s is damaged at byte %llu: %s", image->path,
             (unsigned long long)at, what);
    return false;
}

/* ---- the beginning --------------------------------------------------------------------------- */

static bool map(trace_image *image) {
    char text[128];
    struct stat status;
    int fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0) {
        snprintf(text, sizeof text, "can't be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return refuse(image, text);
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) {
        close(fd);
        return refuse(image, S_ISREG(status.st_mode) ? "is no trace: it is empty"
                                                     : "is no trace: it is no regular file");
    }
    image->size = (uint64_t)status.st_size;
    void *bytes = mmap(NULL, image->size, PROT_READ, MAP_PRIVATE, fd, 0);
    snprintf(text, sizeof text, "can't be mapped: %s", strerror(errno));
    close(fd);
    if (bytes == MAP_FAILED)
        return refuse(image, text);
    image->bytes = bytes;
    return true;
}

static bool ends_in(const char *text, size_t room) {
    return memchr(text, 0, room) != NULL;
}

static bool check_head(trace_image *image) {
    const trace_header *head = (const void *)image->bytes;
    char text[160];
    if (image->size < 8 || memcmp(head->magic, TRACE_MAGIC, 8) != 0)
        return refuse(image, "is no trace: it does not begin with \"" TRACE_MAGIC "\"");
    if (image->size < sizeof *head) {
        snprintf(text, sizeof text, "is cut off at byte %llu, within its first %zu bytes",
                 (unsigned long long)image->size, sizeof *head);
        return refuse(image, text);
    }
    if (head->byte_order != TRACE_BYTE_ORDER)
        return head->byte_order == __builtin_bswap32(TRACE_BYTE_ORDER)
                   ? refuse(image, "was recorded on a machine of the other byte order (byte 12)")
                   : trace_image_wrong(image, 12, "no byte order");
    if (head->version > TRACE_VERSION) {
        snprintf(text, sizeof text,
                 "has version %u of the format (byte 8), and this program knows up to %u; use a "
                 "newer one",
                 head->version, TRACE_VERSION);
        return refuse(image, text);
    }
    if (head->version == 0)
        return trace_image_wrong(image, 8, "no version");
    if (head->unit < 4096 || head->unit > LARGEST_UNIT || (head->unit & (head->unit - 1)))
        return trace_image_wrong(image, 20, "no size of a page");
    if (head->header_bytes < sizeof *head || head->header_bytes % head->unit ||
        head->header_bytes > LARGEST_UNIT)
        return trace_image_wrong(image, 16, "no place for a chunk");
    if (head->clock < TRACE_CLOCK_NS || head->clock > TRACE_CLOCK_ORDER)
        return trace_image_wrong(image, 24, "no clock that is known");
    if (head->next_chunk < head->header_bytes || head->next_chunk % head->unit)
        return trace_image_wrong(image,
                                 (uint64_t)((const uint8_t *)&head->next_chunk - image->bytes),
                                 "no end of a chunk");
    if (head->threads > image->size / sizeof(trace_segment) + 1)
        return trace_image_wrong(image, (uint64_t)((const uint8_t *)&head->threads - image->bytes),
                                 "more threads than the file has room for");
    if (head->stop > TRACE_STOP_MAPPING)
        return trace_image_wrong(image, (uint64_t)((const uint8_t *)&head->stop - image->bytes),
                                 "no reason to stop that is known");
    if (!ends_in(head->program, sizeof head->program) ||
        !ends_in(head->allocator, sizeof head->allocator) ||
        !ends_in(head->parent_file, sizeof head->parent_file) ||
        head->arguments_bytes >= sizeof head->arguments)
        return trace_image_wrong(image, (uint64_t)((const uint8_t *)head->program - image->bytes),
                                 "a text has no end");
    image->head = head;
    return true;
}

/* ---- the segments ---------------------------------------------------------------------------- */

static bool add(trace_image *image, const trace_piece *piece) {
    if (image->piece_count == image->piece_room) {
        uint64_t room = image->piece_room ? 2 * image->piece_room : 256;
        trace_piece *larger = trace_pages(room * sizeof *larger);
        if (!larger)
            return refuse(image, "can't be read: there is no memory for its segments");
        if (image->pieces) {
            memcpy(larger, image->pieces, image->piece_count * sizeof *larger);
            munmap(image->pieces, image->piece_room * sizeof *larger);
        }
        image->pieces = larger;
        image->piece_room = room;
    }
    image->pieces[image->piece_count++] = *piece;
    return true;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* The segment at `at`, in a chunk that ends at `chunk_end`. */
static bool take_segment(trace_image *image, uint64_t at, uint64_t chunk_end) {
    const trace_segment *segment = (const void *)(image->bytes + at);
    if (segment->room != chunk_end - at)
        return trace_image_wrong(image, at + 12, "a segment that does not fill its chunk");
    if (segment->thread >= image->head->threads)
        return trace_image_wrong(image, at + 4, "a thread that the file does not have");
    if (segment->end && (segment->end < sizeof *segment || segment->end > segment->room))
        return trace_image_wrong(image, at + 16, "a segment that ends outside of its chunk");
    if (!ends_in(segment->name, sizeof segment->name))
        return trace_image_wrong(image, at + 40, "a thread's name has no end");
    uint64_t end = at + (segment->end ? segment->end : segment->room);
    trace_piece piece = {.at = at + sizeof *segment,
                         .end = smaller(end, image->size),
                         .ticks = segment->ticks,
                         .thread = segment->thread,
                         .sequence = segment->sequence,
                         .closed = segment->end && end <= image->size};
    if (segment->ticks > image->pair_ticks) {
        image->pair_ticks = segment->ticks;
        image->pair_ns = segment->ns;
    }
    return add(image, &piece);
}

/* 1: a segment begins at `at`; 0: nothing does; -1: something else. */
static int begins(const trace_image *image, uint64_t at) {
    uint32_t magic;
    if (at + sizeof(trace_segment) > image->size)
        return 0;
    memcpy(&magic, image->bytes + at, sizeof magic);
    return magic == TRACE_SEGMENT_MAGIC ? 1 : magic ? -1 : 0;
}

static bool take_chunk(trace_image *image, uint64_t *next) {
    uint64_t at = *next;
    const trace_segment *segment = (const void *)(image->bytes + at);
    uint64_t end = at + segment->room;
    if (segment->room < sizeof *segment || segment->room > LARGEST_ROOM ||
        end % image->head->unit || end > image->head->next_chunk)
        return trace_image_wrong(image, at + 12, "no size of a chunk");
    *next = end;
    for (int found = 1; found; found = at + sizeof *segment <= end ? begins(image, at) : 0) {
        if (found < 0)
            return trace_image_wrong(image, at, "no segment begins here");
        if (!take_segment(image, at, end))
            return false;
        segment = (const void *)(image->bytes + at);
        if (!segment->end)
            break;
        at = (at + segment->end + 7) & ~(uint64_t)7;
    }
    return true;
}

static int by_thread(const void *left, const void *right) {
    const trace_piece *a = left, *b = right;
    if (a->thread != b->thread)
        return a->thread < b->thread ? -1 : 1;
    return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

/* A thread's segments are numbered without a gap, unless the file was cut. */
static bool check_order(trace_image *image) {
    uint64_t kept = 0;
    bool cut = image->size < image->head->next_chunk;
    uint32_t expected = 0;
    for (uint64_t i = 0; i < image->piece_count; i++) {
        const trace_piece *piece = &image->pieces[i], *before = piece - 1;
        bool same = i > 0 && before->thread == piece->thread;
        expected = same ? expected : 0;
        if (piece->sequence == expected) {
            if (same && !image->pieces[kept - 1].closed && !cut)
                return trace_image_wrong(image, before->at - 48, "a segment that was never closed");
            expected++;
            image->pieces[kept++] = *piece;
        } else if (!cut || (same && piece->sequence == before->sequence)) {
            return trace_image_wrong(image, piece->at - 56, "a segment's number is out of order");
        }
    }
    image->piece_count = kept;
    return true;
}

static bool find_segments(trace_image *image) {
    const trace_header *head = image->head;
    image->pair_ticks = head->ready_ticks;
    image->pair_ns = head->ready_ns;
    image->torn = !head->ended;
    uint64_t at = head->header_bytes;
    while (at < head->next_chunk && at < image->size) {
        int found = begins(image, at);
        if (found < 0)
            return trace_image_wrong(image, at, "no segment begins here");
        if (found == 0)
            at += head->unit; /* claimed, and never begun */
        else if (!take_chunk(image, &at))
            return false;
    }
    if (image->piece_count)
        qsort(image->pieces, image->piece_count, sizeof *image->pieces, by_thread);
    return check_order(image);
}

bool trace_image_open(trace_image *image, const char *path, char *why) {
    *image = (trace_image){.path = path, .why = why};
    if (map(image) && check_head(image) && find_segments(image))
        return true;
    trace_image_close(image);
    return false;
}

void trace_image_close(trace_image *image) {
    if (image->bytes)
        munmap((void *)(uintptr_t)image->bytes, image->size);
    if (image->pieces)
        munmap(image->pieces, image->piece_room * sizeof *image->pieces);
    image->bytes = NULL;
    image->pieces = NULL;
}
