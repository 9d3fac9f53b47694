/* Reads one thread's records, one after the other. */
#include "trace_decode.h"

#include <string.h>

void trace_cursor_start(trace_cursor *cursor, const trace_piece *first, const trace_piece *last) {
    *cursor = (trace_cursor){.piece = first, .last = last};
    if (first < last) {
        cursor->at = first->at;
        cursor->ticks = first->ticks;
    }
}

static void next_piece(trace_cursor *cursor) {
    cursor->piece++;
    cursor->anchor[0] = cursor->anchor[1] = 0;
    if (cursor->piece < cursor->last) {
        cursor->at = cursor->piece->at;
        if (cursor->piece->ticks > cursor->ticks)
            cursor->ticks = cursor->piece->ticks;
    }
}

static uint64_t number(const uint8_t *at, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = bytes; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

static bool has_size(trace_record kind) {
    return kind != TRACE_FREE && kind != TRACE_DELETE && kind != TRACE_REALLOC &&
           kind != TRACE_THREAD_END;
}

static bool needs_no_address(trace_record kind) {
    return kind >= TRACE_STAYED;
}

static uint64_t decode_address(trace_cursor *cursor, unsigned first, uint64_t value) {
    unsigned anchor = first >> 6 & 1;
    uint64_t distance = (value >> 1) ^ (0 - (value & 1));
    uint64_t address = first >> 7 ? value : cursor->anchor[anchor] + (distance << 3);
    cursor->anchor[anchor] = address & ~(uint64_t)7;
    return address;
}

static const char *wrong_lengths(trace_record kind, unsigned address, unsigned size) {
    if (kind > TRACE_THREAD_END)
        return "a record of a kind that is not known";
    if ((address > 8 && address != TRACE_NULL) || size > 8)
        return "a record with a number of more than 8 bytes";
    if (needs_no_address(kind) && address != TRACE_NULL)
        return "a record with an address too much";
    if (kind == TRACE_MOVED && address == TRACE_NULL)
        return "a record without its address";
    return !has_size(kind) && size ? "a record with a size too much" : NULL;
}

/* The record at the cursor. False, and *wrong NULL: there is no whole one. */
static bool decode(const trace_image *image, trace_cursor *cursor, trace_item *item,
                   const char **wrong) {
    const uint8_t *bytes = image->bytes + cursor->at;
    uint64_t left = cursor->piece->end - cursor->at;
    bool closed = cursor->piece->closed;
    *wrong = NULL;
    if (left == 0)
        return false;
    if (left < 3 || (bytes[0] & 15) == TRACE_UNWRITTEN) {
        if (closed || bytes[0])
            *wrong = left < 3 && !closed ? NULL : "no record begins here";
        return false;
    }
    unsigned first = bytes[0], time = (first >> 4 & 3) + 1;
    unsigned address = bytes[1] & 15, size = bytes[1] >> 4;
    item->kind = (trace_record)(first & 15);
    if ((*wrong = wrong_lengths(item->kind, address, size)))
        return false;
    bool aligned = item->kind == TRACE_ALIGNED || item->kind == TRACE_NEW_ALIGNED;
    unsigned more = aligned ? 1 : item->kind == TRACE_THREAD_END ? TRACE_NAME : 0;
    item->none = address == TRACE_NULL;
    address = item->none ? 0 : address;
    unsigned length = 2 + time + address + size + more;
    if (length > left) {
        *wrong = cursor->piece->end == image->size && !closed ? NULL
                                                              : "a record longer than its segment";
        return false;
    }
    const uint8_t *at = bytes + 2;
    cursor->ticks += number(at, time);
    at += time;
    item->address = item->none ? 0 : decode_address(cursor, first, number(at, address));
    at += address;
    item->size = number(at, size);
    at += size;
    item->logarithm = aligned ? *at : 0;
    item->name = item->kind == TRACE_THREAD_END ? (const char *)at : NULL;
    if (item->logarithm > 63)
        *wrong = "an alignment that no address can have";
    else if (!item->none && item->address == 0)
        *wrong = "an address of 0";
    if (*wrong)
        return false;
    if (item->kind == TRACE_PAUSE)
        cursor->ticks += item->size;
    item->ticks = cursor->ticks;
    cursor->at += length;
    return true;
}

bool trace_cursor_next(const trace_image *image, trace_cursor *cursor, trace_item *item,
                       const char **wrong) {
    *wrong = NULL;
    while (cursor->piece < cursor->last) {
        while (decode(image, cursor, item, wrong))
            if (item->kind != TRACE_PAUSE)
                return true;
        if (*wrong)
            return false;
        next_piece(cursor);
    }
    return false;
}
