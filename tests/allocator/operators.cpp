// Calls every form of operator new and delete and checks what each owes its caller. The forms of
// new with std::nothrow are the C++ runtime's: they must end in hakmem's, and catch what is thrown
// there.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <new>
#include <string>
#include <vector>

static int failures;
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::printf("line %d: %s\n", __LINE__, #condition);                                    \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static int handler_calls;
static void handler() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

struct Unexpected {};
static int throwing_calls;
static void throwing_handler() {
    if (++throwing_calls % 2)
        throw std::bad_alloc();
    throw Unexpected();
}
static void *freed_by_handler;
static void freeing_handler() {
    std::free(freed_by_handler);
    freed_by_handler = nullptr;
    std::set_new_handler(nullptr);
}

static bool from_hakmem(const char *name) {
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, name);
    return function && dladdr(function, &info) && std::strstr(info.dli_fname, "libhakmem");
}

int main() {
    const char *names[] = {"_Znwm",
                           "_Znam",
                           "_ZnwmSt11align_val_t",
                           "_ZnamSt11align_val_t",
                           "_ZdlPv",
                           "_ZdaPv",
                           "_ZdlPvm",
                           "_ZdaPvm",
                           "_ZdlPvRKSt9nothrow_t",
                           "_ZdaPvRKSt9nothrow_t",
                           "_ZdlPvSt11align_val_t",
                           "_ZdaPvSt11align_val_t",
                           "_ZdlPvmSt11align_val_t",
                           "_ZdaPvmSt11align_val_t",
                           "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                           "_ZdaPvSt11align_val_tRKSt9nothrow_t"};
    for (const char *name : names)
        if (!from_hakmem(name)) {
            std::printf("%s is not hakmem's\n", name);
            failures++;
        }

    volatile std::size_t sizes[] = {0, 1, 24, 1000, 40000, 3000000};
    for (std::size_t size : sizes) {
        void *p = ::operator new(size);
        std::memset(p, 1, size);
        ::operator delete(p);
        p = ::operator new[](size);
        ::operator delete[](p, size);
        p = ::operator new(size, std::nothrow);
        ::operator delete(p, std::nothrow);
        p = ::operator new[](size, std::nothrow);
        ::operator delete[](p, std::nothrow);
        for (std::size_t alignment = 16; alignment <= 1 << 17; alignment *= 2) {
            std::align_val_t a{alignment};
            p = ::operator new(size, a);
            CHECK(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
            ::operator delete(p, a);
            p = ::operator new[](size, a, std::nothrow);
            CHECK(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
            ::operator delete[](p, size, a);
        }
    }

    volatile std::size_t absurd = PTRDIFF_MAX;
    bool thrown = false;
    try {
        ::operator delete(::operator new(absurd));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(::operator new(absurd, std::nothrow) == nullptr);
    CHECK(::operator new[](absurd, std::align_val_t{64}, std::nothrow) == nullptr);
    thrown = false;
    try {
        ::operator delete[](::operator new[](absurd, std::align_val_t{64}), std::align_val_t{64});
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);

    std::set_new_handler(handler);
    thrown = false;
    try {
        ::operator delete(::operator new(absurd));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown && handler_calls == 3);

    // What a handler throws reaches the caller of the forms that may throw, and no other.
    std::set_new_handler(throwing_handler);
    for (int i = 0; i < 4; i++) {
        CHECK(::operator new(absurd, std::nothrow) == nullptr);
        CHECK(::operator new[](absurd, std::nothrow) == nullptr);
        CHECK(::operator new (absurd, std::align_val_t{64}, std::nothrow) == nullptr);
        CHECK(::operator new[](absurd, std::align_val_t{64}, std::nothrow) == nullptr);
    }
    CHECK(throwing_calls == 16);
    bool unexpected = false;
    thrown = false;
    for (int i = 0; i < 2; i++) {
        try {
            ::operator delete[](::operator new[](absurd));
        } catch (const std::bad_alloc &error) {
            thrown = std::strcmp(error.what(), "std::bad_alloc") == 0;
        } catch (const Unexpected &) {
            unexpected = true;
        }
    }
    CHECK(thrown && unexpected);

    // A handler that makes room is not called again.
    freed_by_handler = std::malloc(absurd / 4);
    if (!freed_by_handler)
        freed_by_handler = std::malloc(64);
    std::set_new_handler(freeing_handler);
    CHECK(::operator new(absurd, std::nothrow) == nullptr);
    CHECK(freed_by_handler == nullptr && std::get_new_handler() == nullptr);

    // A bad_alloc from here is one like any other: copied, kept, thrown again in another place.
    std::exception_ptr kept;
    try {
        ::operator delete(::operator new(absurd));
    } catch (...) {
        kept = std::current_exception();
    }
    thrown = false;
    try {
        std::rethrow_exception(kept);
    } catch (const std::exception &error) {
        thrown = dynamic_cast<const std::bad_alloc *>(&error) != nullptr;
    }
    CHECK(thrown);

    // The length of an array is checked by the compiler's own code.
    volatile std::size_t length = SIZE_MAX / 4;
    thrown = false;
    try {
        delete[] new double[length];
    } catch (const std::bad_array_new_length &) {
        thrown = true;
    }
    CHECK(thrown);

    std::vector<std::string> strings;
    for (int i = 0; i < 10000; i++)
        strings.push_back(std::string(static_cast<std::size_t>(i % 300), 'x'));
    for (const auto &s : strings)
        CHECK(s.find_first_not_of('x') == std::string::npos);

    if (!failures)
        std::puts("ok");
    return failures ? 1 : 0;
}
