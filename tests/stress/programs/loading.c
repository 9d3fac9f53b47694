/* Loads, uses and unloads the library that its argument names, again and again, from threads that
 * come and go, while others allocate; memory must not grow. */
#include "load.h"

#include <dlfcn.h>

enum { ROUNDS = 400, USERS = 3, EACH = 10 };

typedef void *use_function(size_t size);

static void *load_library(const char *path, use_function **use) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        load_broken(dlerror());
    void *symbol = dlsym(library, "plugin_use");
    if (!symbol)
        load_broken(dlerror());
    memcpy(use, &symbol, sizeof symbol);
    return library;
}

static void *use_library(void *argument) {
    use_function *use;
    void *library = load_library(argument, &use);
    void *blocks[EACH];
    for (unsigned i = 0; i < EACH; i++)
        blocks[i] = use(i * 200 + 1);
    dlclose(library);
    for (unsigned i = 0; i < EACH; i++) {
        if (!blocks[i] || ((unsigned char *)blocks[i])[i * 200] != 2)
            load_broken("a block of the library has lost its contents");
        free(blocks[i]);
    }
    return NULL; /* what is left of the library's runs now */
}

int main(int argc, char **argv) {
    if (argc != 2)
        load_broken("usage: loading LIBRARY");
    alarm(100);
    load_start(2);
    size_t first = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        use_function *use;
        void *library = load_library(argv[1], &use);
        pthread_t users[USERS];
        for (unsigned i = 0; i < USERS; i++)
            if (pthread_create(&users[i], NULL, use_library, argv[1]) != 0)
                load_broken("a thread can't be started");
        void *late = use(1000);
        if (round % 2) {
            dlclose(library);
            free(late);
        }
        for (unsigned i = 0; i < USERS; i++)
            pthread_join(users[i], NULL);
        if (round % 2 == 0) {
            free(late);
            dlclose(library);
        }
        if (round == ROUNDS / 4)
            first = load_resident();
    }
    size_t last = load_resident();
    if (last > first + ((size_t)24 << 20)) {
        fprintf(stderr, "memory grew from %zu to %zu KiB\n", first >> 10, last >> 10);
        return 1;
    }
    return 0;
}
