/* Text in a buffer of the driver's own, printed with one write: output needs no malloc. */
#ifndef WL_TEXT_H
#define WL_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *bytes; /* mapped; zero-terminated */
    size_t used;
    size_t room;
} wl_text;

wl_text wl_text_new(void);

/* Adds formatted text. Ends the program with exit status 1 at 1 MiB, which no report comes near. */
void wl_text_add(wl_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a whole number with a comma between thousands. */
void wl_text_add_grouped(wl_text *text, uint64_t number);

/* Adds a JSON string with its quotes: `"`, `\` and control characters escaped; bytes that are not
 * UTF-8 become U+FFFD. NULL is added as null. */
void wl_text_add_json_string(wl_text *text, const char *string);

/* Writes all to standard output. Ends the program with exit status 1 where that can't be done. */
void wl_text_print(const wl_text *text);

#endif
