/* Reading /proc/self/maps, character by character and without memory. */
#include "inspect/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct reader {
    int file;
    ssize_t have, next; /* bytes of the buffer */
    bool failed;
    char buffer[512];
};

/* The next character, or -1 at the end. */
static int next_char(struct reader *reader) {
    if (reader->next == reader->have) {
        do
            reader->have = read(reader->file, reader->buffer, sizeof reader->buffer);
        while (reader->have < 0 && errno == EINTR);
        reader->next = 0;
        if (reader->have <= 0) {
            reader->failed |= reader->have < 0;
            reader->have = 0;
            return -1;
        }
    }
    return (unsigned char)reader->buffer[reader->next++];
}

/* A hexadecimal number and the character that ends it. */
static uintptr_t next_number(struct reader *reader, int *end) {
    uintptr_t value = 0;
    for (;;) {
        int c = next_char(reader);
        unsigned digit = (unsigned)c - '0' < 10u  ? (unsigned)c - '0'
                         : (unsigned)c - 'a' < 6u ? (unsigned)c - 'a' + 10
                                                  : 16;
        if (digit == 16) {
            *end = c;
            return value;
        }
        value = value << 4 | digit;
    }
}

static void skip_field(struct reader *reader) {
    int c;
    do
        c = next_char(reader);
    while (c != ' ' && c != '\n' && c != -1);
}

/* One line, as in "55e0-55f0 r-xp 00001000 08:01 1234    /bin/true"; false at the end. */
static bool next_mapping(struct reader *reader, struct hak_mapping *mapping) {
    int c;
    mapping->start = next_number(reader, &c);
    if (c != '-')
        return false;
    mapping->end = next_number(reader, &c);
    for (unsigned i = 0; i < 4; i++)
        mapping->access[i] = (char)next_char(reader);
    mapping->access[4] = 0;
    next_char(reader);
    mapping->file_offset = next_number(reader, &c);
    skip_field(reader); /* device */
    size_t used = 0;
    bool inode = true;
    while ((c = next_char(reader)) != '\n' && c != -1) {
        if (inode && c >= '0' && c <= '9')
            continue;
        inode = false;
        if ((used || c != ' ') && used < sizeof mapping->name - 1)
            mapping->name[used++] = (char)c;
    }
    mapping->name[used] = 0;
    return c == '\n';
}

bool hak_mapping_find(const void *address, struct hak_mapping *mapping, bool *known) {
    int kept = errno;
    struct reader reader = {.have = 0};
    reader.file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    bool found = false;
    if (reader.file >= 0) {
        while (!found && next_mapping(&reader, mapping))
            found = (uintptr_t)address - mapping->start < mapping->end - mapping->start;
        close(reader.file);
    }
    *known = reader.file >= 0 && !reader.failed;
    errno = kept;
    return found;
}
