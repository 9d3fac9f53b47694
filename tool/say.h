/* How the command speaks to its user: on standard error, one sentence at a time. */
#ifndef TOOL_SAY_H
#define TOOL_SAY_H

/* Exit statuses, as env and nohup have them. */
enum {
    STATUS_USAGE = 2,       /* the command line is wrong */
    STATUS_REFUSED = 126,   /* the program is there and can't be run, or not with hakmem */
    STATUS_NOT_FOUND = 127, /* there is no such program */
};

/* Prints "hakmem: ", the message and a line end. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* The same, and ends the command with `status`. */
__attribute__((format(printf, 2, 3), noreturn)) void give_up(int status, const char *format, ...);

#endif
