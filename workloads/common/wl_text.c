/* Text in a buffer of the driver's own, printed with one write: output needs no malloc. */
#include "wl_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "wl_fail.h"
#include "wl_memory.h"

enum { TEXT_ROOM = 1 << 20 };

wl_text wl_text_new(void) {
    return (wl_text){wl_map_table(TEXT_ROOM, 1, 0, "the output"), 0, TEXT_ROOM};
}

void wl_text_add(wl_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->bytes + text->used, text->room - text->used, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= text->room - text->used)
        wl_fail(WL_EXIT_RUN, "the output is longer than 1 MiB");
    text->used += (size_t)length;
}

void wl_text_add_grouped(wl_text *text, uint64_t number) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < length; i++)
        wl_text_add(text, i > 0 && (length - i) % 3 == 0 ? ",%c" : "%c", digits[i]);
}

/* Bytes of the UTF-8 character that begins here, 0 if none does (overlong forms, surrogates and
 * what lies beyond U+10FFFF are none). */
static size_t utf8_length(const unsigned char *s) {
    size_t length;
    uint32_t point, least;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        length = 2, point = s[0] & 0x1fU, least = 0x80;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        length = 3, point = s[0] & 0x0fU, least = 0x800;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        length = 4, point = s[0] & 0x07U, least = 0x10000;
    else
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) /* the terminating zero too */
            return 0;
        point = point << 6 | (s[i] & 0x3fU);
    }
    return point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) ? 0 : length;
}

void wl_text_add_json_string(wl_text *text, const char *string) {
    if (string == NULL) {
        wl_text_add(text, "null");
        return;
    }
    wl_text_add(text, "\"");
    const unsigned char *s = (const unsigned char *)string;
    while (*s != '\0') {
        size_t length = utf8_length(s);
        if (length == 0)
            wl_text_add(text, "\\ufffd");
        else if (*s == '"' || *s == '\\')
            wl_text_add(text, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            wl_text_add(text, "\\u%04x", *s);
        else
            wl_text_add(text, "%.*s", (int)length, (const char *)s);
        s += length == 0 ? 1 : length;
    }
    wl_text_add(text, "\"");
}

void wl_text_print(const wl_text *text) {
    size_t done = 0;
    while (done < text->used) {
        ssize_t written = write(STDOUT_FILENO, text->bytes + done, text->used - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            wl_fail(WL_EXIT_RUN, "standard output can't be written (%s)", strerror(errno));
        done += (size_t)written;
    }
}
