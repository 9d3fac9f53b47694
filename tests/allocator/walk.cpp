/* hak_walk from C++: the blocks of containers, and an end by the function's value. */
#include "hakmem.h"

#include <cstdio>
#include <map>
#include <memory>
#include <string>

namespace {

struct Sum {
    std::size_t blocks = 0, bytes = 0;
};

int add(void *, std::size_t size, void *argument) {
    auto *sum = static_cast<Sum *>(argument);
    sum->blocks++;
    sum->bytes += size;
    return 0;
}

int find(void *block, std::size_t size, void *argument) {
    return block == argument && size >= 3000000 ? 5 : 0;
}

Sum all() {
    Sum sum;
    hak_walk(add, &sum);
    return sum;
}

} // namespace

int main() {
    std::fputs("", stderr);
    Sum before = all();
    {
        std::map<int, std::string> names;
        for (int i = 0; i < 1000; i++)
            names[i] = std::string(100, 'x');
        auto large = std::make_unique<char[]>(3000000);
        Sum now = all();
        if (now.blocks - before.blocks != 2001 || now.bytes - before.bytes < 3100000)
            return 1;
        if (hak_walk(find, large.get()) != 5)
            return 2;
    }
    Sum after = all();
    return after.blocks == before.blocks && after.bytes == before.bytes ? 0 : 3;
}
