/* What the recorder says on standard error, with nothing that allocates. */
#ifndef TRACE_SAY_H
#define TRACE_SAY_H

/* Writes "libhakmem-trace: message" in one line, cut at 1500 bytes; control characters as '?'. */
void trace_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What errno's value `error` means; never translated. */
const char *trace_error_text(int error);

#endif
