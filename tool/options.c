/* Asks the library for its options and whether it takes a value, in a process of its own: so what
 * is said here is right for the very library that will be preloaded. */
#include "options.h"
#include "preload.h"
#include "say.h"

#include <ctype.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREFIX        "HAKMEM_"
#define ASK_FOR_TABLE PREFIX "HELP=table"
#define CANT_TELL     "the library %s does not tell its options; is it older than this command?"

_Noreturn void options_probe(void) {
    void *volatile block = malloc(1);
    /* Without what happens at exit: statistics may have been asked for. */
    _exit(block ? 0 : 1);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* All that comes out of a pipe, as a text that the caller frees; NULL without memory. */
static char *read_all(int fd) {
    size_t size = 0, room = 4096;
    char *text = malloc(room);
    while (text) {
        ssize_t got = read(fd, text + size, room - size - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
        if (room - size < 2048) {
            char *larger = realloc(text, room *= 2);
            if (!larger)
                free(text);
            text = larger;
        }
    }
    if (text)
        text[size] = '\0';
    return text;
}

/* Starts this command with the library, with its standard error in a pipe. 0 or an error. */
static int start_probe(char *const environment[], pid_t *child, int *output) {
    char *const arguments[] = {(char[]){"hakmem"}, (char[]){OPTIONS_PROBE}, NULL};
    int ends[2];
    if (pipe(ends) != 0)
        return errno;
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (!error) {
        error = posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        if (!error && ends[0] != STDERR_FILENO)
            error = posix_spawn_file_actions_addclose(&actions, ends[0]);
        if (!error)
            error = posix_spawn(child, "/proc/self/exe", &actions, NULL, arguments, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (error)
        close(ends[0]);
    *output = ends[0];
    return error;
}

/* Ends the command where the library can't be loaded by this command, but perhaps by the program.
 */
static void check_kinship(const struct library *library) {
    elf_file self;
    if (elf_map("/proc/self/exe", &self) != 0)
        return;
    const char *ours = elf_c_library(&self), *theirs = elf_c_library(&library->file);
    if (!elf_same_machine(&self, &library->file) || (ours && theirs && strcmp(ours, theirs) != 0))
        give_up(STATUS_REFUSED,
                "the library %s is for another machine or C library than this command, which can't "
                "ask it for its options; give them in the environment, such as HAKMEM_STATS=1",
                library->path);
    elf_unmap(&self);
}

/* What the library prints in a process whose environment has only `setting`; the caller frees it.
 */
static char *ask(const struct library *library, const char *setting) {
    char name[PATH_MAX], preload[PATH_MAX + 16];
    check_kinship(library);
    preload_name(library, name);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", name);
    char *copy = strdup(setting);
    char *const environment[] = {preload, copy, NULL};
    pid_t child;
    int output = -1, status;
    int error = copy ? start_probe(environment, &child, &output) : ENOMEM;
    free(copy);
    if (error)
        give_up(STATUS_REFUSED, "the library can't be asked for its options: %s", strerror(error));
    char *text = read_all(output);
    close(output);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!text)
        give_up(STATUS_REFUSED, "there is no memory for the list of options");
    /* The loader says so, too, when it leaves out a library that it can't load. */
    if (strstr(text, "LD_PRELOAD") || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        give_up(STATUS_REFUSED, "the library %s does not load: %s", library->path,
                *text ? strtok(text, "\n") : "the process ended at once");
    return text;
}

void options_print(const struct library *library, bool table) {
    char *text = ask(library, table ? ASK_FOR_TABLE : PREFIX "HELP=list");
    if (!*text)
        give_up(STATUS_REFUSED, CANT_TELL, library->path);
    fputs(text, stdout);
    free(text);
}

/* ---- setting ------------------------------------------------------------------------------- */

static bool has_option(const char *table, const char *name) {
    size_t length = strlen(name);
    for (const char *line = table; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == '\t')
            return true;
    }
    return false;
}

/* PREFIX and the name in upper case, "-" as "_", then "=" and the value. The caller frees it. */
static char *in_full(const char *setting, size_t name_length) {
    bool has_prefix = strncmp(setting, PREFIX, strlen(PREFIX)) == 0;
    size_t prefix = has_prefix ? 0 : strlen(PREFIX);
    char *text = malloc(prefix + strlen(setting) + 1);
    if (!text)
        give_up(STATUS_REFUSED, "there is no memory for the options");
    memcpy(text, PREFIX, prefix);
    strcpy(text + prefix, setting);
    for (size_t i = prefix; i < prefix + name_length; i++)
        text[i] = text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
    return text;
}

/* Ends the command if the library complains about the setting; its last clause says which value it
 * takes instead, which is not to be. */
static void check_value(const struct library *library, const char *setting) {
    char *said = ask(library, setting);
    char *line = strstr(said, "hakmem: ");
    if (line) {
        line = strtok(line + strlen("hakmem: "), "\n");
        char *clause = strrchr(line, ';');
        if (clause)
            *clause = '\0';
        give_up(STATUS_USAGE, "-o %s", line);
    }
    free(said);
}

void options_set(const struct library *library, const char *setting) {
    static char *table; /* what the library said, once it was asked */
    const char *equals = strchr(setting, '=');
    if (!equals || equals == setting)
        give_up(STATUS_USAGE, "-o %s is not NAME=VALUE, such as purge_delay=0", setting);
    size_t length = (size_t)(equals - setting);
    char *full = in_full(setting, length);
    char *value = strchr(full, '=') + 1;
    value[-1] = '\0';
    if (!table)
        table = ask(library, ASK_FOR_TABLE);
    if (!*table)
        give_up(STATUS_REFUSED, CANT_TELL, library->path);
    if (!has_option(table, full))
        give_up(STATUS_USAGE, "-o %.*s: there is no such option; 'hakmem options' lists them",
                (int)length, setting);
    value[-1] = '=';
    check_value(library, full);
    value[-1] = '\0';
    if (setenv(full, value, 1) != 0)
        give_up(STATUS_REFUSED, "there is no memory for the options");
    free(full);
}
