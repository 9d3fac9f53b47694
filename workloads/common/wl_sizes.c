/* Distributions of block sizes that are not uniform: a power law, a histogram file, a fixed table.
 */
#include "wl_sizes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "wl_args.h"
#include "wl_fail.h"
#include "wl_memory.h"

static uint32_t threshold_of(double share) {
    double scaled = share * 4294967296.0;
    return scaled >= 4294967295.0 ? UINT32_MAX : (uint32_t)scaled;
}

wl_sizes wl_sizes_from_table(const uint32_t *sizes, const double *weights, uint32_t count) {
    wl_sizes result = {.count = count};
    double total = 0, bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += weights[i];
        bytes += weights[i] * (double)sizes[i];
        if (weights[i] > 0 && sizes[i] > result.largest)
            result.largest = sizes[i];
    }
    result.mean = bytes / total;
    result.cells = wl_map_table(count, sizeof *result.cells, 1, "the table of --sizes");
    /* Shares relative to the average; those below it wait at the front, those above at the back. */
    double *share = wl_map_table(count, sizeof *share, 1, "the table of --sizes");
    uint32_t *waiting = wl_map_table(count, sizeof *waiting, 1, "the table of --sizes");
    uint32_t small = 0, large = count;
    for (uint32_t i = 0; i < count; i++) {
        share[i] = weights[i] / total * (double)count;
        waiting[share[i] < 1.0 ? small++ : --large] = i;
    }
    while (small > 0 && large < count) {
        uint32_t less = waiting[--small], more = waiting[large];
        result.cells[less] = (wl_size_cell){threshold_of(share[less]), sizes[less], sizes[more]};
        share[more] -= 1.0 - share[less];
        if (share[more] < 1.0) {
            large++;
            waiting[small++] = more;
        }
    }
    /* What is left has, up to rounding, exactly the average. */
    while (small > 0) {
        uint32_t i = waiting[--small];
        result.cells[i] = (wl_size_cell){UINT32_MAX, sizes[i], sizes[i]};
    }
    for (; large < count; large++) {
        uint32_t i = waiting[large];
        result.cells[i] = (wl_size_cell){UINT32_MAX, sizes[i], sizes[i]};
    }
    wl_unmap_table(share, count, sizeof *share);
    wl_unmap_table(waiting, count, sizeof *waiting);
    return result;
}

wl_sizes wl_sizes_power_law(uint32_t least, uint32_t limit, double exponent) {
    enum { STEPS = 4096 };
    static uint32_t sizes[STEPS];
    static double weights[STEPS];
    uint32_t count = 0;
    if (limit - least < STEPS) {
        while (least + count <= limit) {
            sizes[count] = least + count;
            count++;
        }
    } else {
        double ratio = log((double)limit / (double)least) / (STEPS - 1);
        for (int i = 0; i < STEPS; i++) {
            uint32_t size = i == STEPS - 1 ? limit : (uint32_t)(least * exp(ratio * i));
            if (count == 0 || size > sizes[count - 1])
                sizes[count++] = size;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        double next = i + 1 < count ? (double)sizes[i + 1] : (double)limit + 1.0;
        weights[i] = pow((double)sizes[i], -exponent) - pow(next, -exponent);
    }
    return wl_sizes_from_table(sizes, weights, count);
}

wl_sizes wl_sizes_pareto(uint32_t limit) {
    return wl_sizes_power_law(limit < 8 ? 1 : 8, limit, 1.0);
}

/* ---- histogram files --------------------------------------------------------------------------
 */

enum { FILE_MOST = 4 << 20 }; /* bytes; far above 65,536 lines */

static size_t read_file(const char *path, char *text) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        wl_fail(WL_EXIT_USAGE,
                "--sizes takes uniform, pareto or a readable histogram file, not '%.300s' (%s)",
                path, strerror(errno));
    size_t used = 0;
    ssize_t got;
    while ((got = read(file, text + used, FILE_MOST - used)) > 0)
        used += (size_t)got;
    if (got < 0)
        wl_fail(WL_EXIT_USAGE, "--sizes: the file '%.300s' can't be read (%s)", path,
                strerror(errno));
    if (used == FILE_MOST)
        wl_fail(WL_EXIT_USAGE, "--sizes: the file '%.300s' is too long; at most 4 MiB are read",
                path);
    close(file);
    return used;
}

/* Cuts the next word out of a line; NULL at its end. */
static char *next_word(char **rest) {
    char *word = *rest + strspn(*rest, " \t\r");
    if (*word == '\0')
        return NULL;
    char *end = word + strcspn(word, " \t\r");
    *rest = end;
    if (*end != '\0') {
        *end = '\0';
        *rest = end + 1;
    }
    return word;
}

static bool parse_line(char *line, const char *path, uint64_t number, uint64_t limit,
                       uint32_t *size, double *weight) {
    const uint64_t most = UINT64_C(1000000000000000);
    line[strcspn(line, "#")] = '\0';
    char *first = next_word(&line);
    if (first == NULL)
        return false;
    char *second = next_word(&line);
    if (second == NULL || next_word(&line) != NULL)
        wl_fail(WL_EXIT_USAGE, "--sizes: %.300s:%" PRIu64 ": a line must be SIZE COUNT", path,
                number);
    uint64_t bytes, count;
    if (!wl_parse_number(first, &bytes) || bytes < 1 || bytes > limit)
        wl_fail(WL_EXIT_USAGE,
                "--sizes: %.300s:%" PRIu64 ": SIZE must be a whole number from 1 to %" PRIu64
                ", not '%.100s'",
                path, number, limit, first);
    if (!wl_parse_number(second, &count) || count > most)
        wl_fail(WL_EXIT_USAGE,
                "--sizes: %.300s:%" PRIu64 ": COUNT must be a whole number from 0 to %" PRIu64
                ", not '%.100s'",
                path, number, most, second);
    *size = (uint32_t)bytes;
    *weight = (double)count;
    return count > 0;
}

wl_sizes wl_sizes_from_file(const char *path, uint64_t limit) {
    static uint32_t sizes[WL_SIZES_MOST];
    static double weights[WL_SIZES_MOST];
    char *text = wl_map_table(FILE_MOST + 1, 1, 0, "the file of --sizes");
    size_t length = read_file(path, text);
    uint32_t count = 0;
    uint64_t number = 0;
    for (size_t at = 0; at < length;) {
        char *line = text + at;
        char *end = memchr(line, '\n', length - at);
        size_t line_length = end == NULL ? length - at : (size_t)(end - line);
        line[line_length] = '\0'; /* the table has room for one byte more than the file */
        number++;
        if (strlen(line) != line_length)
            wl_fail(WL_EXIT_USAGE,
                    "--sizes: %.300s:%" PRIu64 ": a line must be SIZE COUNT, in text", path,
                    number);
        uint32_t size;
        double weight;
        if (parse_line(line, path, number, limit, &size, &weight)) {
            if (count == WL_SIZES_MOST)
                wl_fail(WL_EXIT_USAGE, "--sizes: %.300s:%" PRIu64 ": more than %d sizes", path,
                        number, WL_SIZES_MOST);
            sizes[count] = size;
            weights[count++] = weight;
        }
        at += line_length + 1;
    }
    if (count == 0)
        wl_fail(WL_EXIT_USAGE,
                "--sizes: the file '%.300s' holds no line SIZE COUNT with a COUNT "
                "above 0",
                path);
    wl_unmap_table(text, FILE_MOST + 1, 1);
    return wl_sizes_from_table(sizes, weights, count);
}
