/* A library that allocates whenever it can: when it is loaded, used, left by a thread, unloaded. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What C++ compiles a thread_local object's destructor to. */
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library);
extern void *__dso_handle;

static void *from_constructor[50];
static pthread_key_t key;
static _Thread_local char large[3000]; /* not in the static block: the loader allocates it */
static _Thread_local void *object;

static void end_object(void *value) {
    void **place = value;
    free(*place);
    *place = NULL;
    free(malloc(333));
}

static void end_value(void *value) {
    free(value);
    free(malloc(444));
}

__attribute__((constructor)) static void begin(void) {
    for (unsigned i = 0; i < 50; i++)
        from_constructor[i] = calloc(1, 100 * i + 1);
    pthread_key_create(&key, end_value);
}

__attribute__((destructor)) static void end(void) {
    pthread_key_delete(key);
    for (unsigned i = 0; i < 50; i++)
        free(from_constructor[i]);
    free(malloc(100000));
}

/* A block for the caller, who frees it, maybe after the library is gone. */
void *plugin_use(size_t size);
void *plugin_use(size_t size) {
    memset(large, 1, sizeof large);
    if (!object) {
        object = malloc(200);
        __cxa_thread_atexit_impl(end_object, &object, &__dso_handle);
    }
    free(pthread_getspecific(key));
    pthread_setspecific(key, malloc(70));
    void *block = malloc(size);
    if (block)
        memset(block, 2, size);
    return block;
}
