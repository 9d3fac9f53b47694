/* hakmem: runs a program with hakmem's library as its malloc, or says why that can't work. */
#include "library.h"
#include "options.h"
#include "preload.h"
#include "program.h"
#include "say.h"

#include <errno.h>
#include <hakmem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: hakmem run [-o OPTION=VALUE]... PROGRAM [ARGUMENT...]\n"
    "       hakmem check PROGRAM...\n"
    "       hakmem options [--table]\n"
    "       hakmem --help | --version\n"
    "\n"
    "run      starts PROGRAM with hakmem as its malloc, or says why that can't work; it looks for "
    "it\n"
    "         along PATH, as a shell does\n"
    "check    says whether run would work, and starts nothing\n"
    "options  lists the library's options; --table: with tabs, for other programs\n"
    "\n"
    "  -o OPTION=VALUE   sets an option of the library: purge_delay=0 or HAKMEM_PURGE_DELAY=0\n"
    "\n"
    "The library is the one beside this command, or what HAKMEM_LIBRARY names. LD_PRELOAD is kept, "
    "after\n"
    "it. To see that hakmem serves the program: hakmem run -o stats=1 PROGRAM\n"
    "\n"
    "exit status: the program's own; 2 wrong use, 126 the program can't be run so, 127 there is no "
    "such\n"
    "program\n";

/* Ends the command if what was to be printed could not be. */
static int finish_output(void) {
    if (fflush(stdout) != 0 || ferror(stdout))
        give_up(1, "standard output can't be written: %s", strerror(errno));
    return 0;
}

static int run(int count, char **words) {
    struct library ours;
    struct verdict found;
    char path[PATH_MAX];
    const char **settings = calloc((size_t)count + 1, sizeof *settings);
    size_t settings_count = 0;
    if (!settings)
        give_up(STATUS_REFUSED, "there is no memory for the options");
    int at = 0;
    for (; at < count && words[at][0] == '-'; at++) {
        if (strcmp(words[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(words[at], "-o") == 0) {
            if (++at == count)
                give_up(STATUS_USAGE, "-o lacks its OPTION=VALUE; see hakmem --help");
            settings[settings_count++] = words[at];
        } else if (strncmp(words[at], "-o", 2) == 0) {
            settings[settings_count++] = words[at] + 2;
        } else {
            give_up(STATUS_USAGE, "run has no option '%s'; see hakmem --help", words[at]);
        }
    }
    if (at == count)
        give_up(STATUS_USAGE, "run lacks the program to run; see hakmem --help");
    library_find(&ours);
    for (size_t i = 0; i < settings_count; i++)
        options_set(&ours, settings[i]);
    free(settings);
    program_judge(words[at], &ours, path, &found);
    if (found.status != 0)
        give_up(found.status, "%s", found.why);
    preload_add(&ours);
    execv(path, words + at);
    give_up(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_REFUSED, "%s can't be run: %s", path,
            strerror(errno));
}

/* The worst of the programs' statuses, which is the highest. */
static int check(int count, char **words) {
    struct library ours;
    int worst = 0;
    if (count > 0 && strcmp(words[0], "--") == 0) {
        words++;
        count--;
    } else if (count > 0 && words[0][0] == '-') {
        give_up(STATUS_USAGE, "check has no option '%s'; see hakmem --help", words[0]);
    }
    if (count == 0)
        give_up(STATUS_USAGE, "check lacks the program to look at; see hakmem --help");
    library_find(&ours);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        struct verdict found;
        program_judge(words[i], &ours, path, &found);
        if (found.status == 0)
            printf("%s: hakmem can serve %s\n", words[i], found.serves);
        else
            printf("%s: no: %s\n", words[i], found.why);
        for (char *line = strtok(found.notes, "\n"); line; line = strtok(NULL, "\n"))
            printf("%s: note: %s\n", words[i], line);
        if (found.status > worst)
            worst = found.status;
    }
    finish_output();
    return worst;
}

static int list_options(int count, char **words) {
    struct library ours;
    bool table = count > 0 && strcmp(words[0], "--table") == 0;
    if (count > (table ? 1 : 0))
        give_up(STATUS_USAGE, "options takes --table or nothing, not '%s'; see hakmem --help",
                words[table ? 1 : 0]);
    library_find(&ours);
    options_print(&ours, table);
    return finish_output();
}

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "run") == 0)
        return run(argc - 2, argv + 2);
    if (strcmp(word, "check") == 0)
        return check(argc - 2, argv + 2);
    if (strcmp(word, "options") == 0)
        return list_options(argc - 2, argv + 2);
    if (strcmp(word, OPTIONS_PROBE) == 0)
        options_probe();
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        fputs(usage, stdout);
        return finish_output();
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        puts("hakmem " HAKMEM_VERSION);
        return finish_output();
    }
    if (*word)
        give_up(STATUS_USAGE, "there is no command '%s' (run, check, options); see hakmem --help",
                word);
    fputs(usage, stderr);
    return STATUS_USAGE;
}
