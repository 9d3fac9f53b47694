"""Writes a large C++ program, heavy on the standard library's templates, that checks itself."""

from __future__ import annotations

HEAD = """
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

template <std::size_t N> struct Tag { static constexpr std::size_t value = N; };

template <std::size_t... I> constexpr std::size_t sum_of(std::index_sequence<I...>) {
    return (Tag<I>::value + ... + 0);
}
"""

UNIT = """
namespace unit_@ {
struct Key { int number; std::string name; auto tie() const { return std::tie(number, name); }
    bool operator<(const Key &other) const { return tie() < other.tie(); } };
using Value = std::variant<int, std::string, std::vector<Key>, std::map<std::string, Tag<@>>>;
template <class T> using Tree = std::map<Key, std::vector<std::pair<std::optional<T>, std::shared_ptr<Value>>>>;

template <class F> auto compose(F &&first) { return std::forward<F>(first); }
template <class F, class... G> auto compose(F &&first, G &&...rest) {
    return [first, tail = compose(std::forward<G>(rest)...)](auto &&...x) { return tail(first(x...)); };
}

long run() {
    Tree<std::tuple<int, std::string, Tag<@>>> tree;
    std::unordered_map<std::string, std::set<std::pair<int, std::string>>> index;
    for (int i = 0; i < 50; ++i) {
        Key key{i % 7, std::to_string(i * @)};
        tree[key].emplace_back(std::make_tuple(i, key.name, Tag<@>{}),
                               std::make_shared<Value>(std::vector<Key>(3, key)));
        index[key.name].emplace(i, key.name);
    }
    std::vector<Value> values;
    for (auto &[key, list] : tree) for (auto &[tuple, value] : list) values.push_back(*value);
    std::stable_sort(values.begin(), values.end(), [](const Value &a, const Value &b) {
        return std::visit([](const auto &x, const auto &y) { return sizeof x < sizeof y; }, a, b); });
    std::function<long(long)> f = compose(
        [](long x) { return x + @; }, [](long x) { return x * 2; }, [](long x) { return std::to_string(x); },
        [](std::string s) { return static_cast<long>(s.size()) + std::stol(s); });
    return f(static_cast<long>(values.size() + index.size() + sum_of(std::make_index_sequence<100 + @>{})));
}

long expected() {
    const long names = @ == 0 ? 1 : 50, n = 100 + @;
    const long doubled = (50 + names + n * (n - 1) / 2 + @) * 2;
    return static_cast<long>(std::to_string(doubled).size()) + doubled;
}
}
"""


# As much again as several of the units above.
EXPRESSIONS = """
#include <regex>
static bool expressions_match() {
    const std::string text = "unit_17";
    std::smatch match;
    return std::regex_match(text, match, std::regex("u(n+)it_([0-9]+)")) && match[2] == "17";
}
"""


def program(units: int, expressions: bool) -> str:
    """The source of 1 to 100 units; compiled and run, it prints "ok UNITS" and exits with 0."""
    body = "".join(UNIT.replace("@", str(i)) for i in range(units))
    checks = "".join(f"    if (unit_{i}::run() != unit_{i}::expected()) return {i + 1};\n" for i in range(units))
    if expressions:
        body += EXPRESSIONS
        checks += "    if (!expressions_match()) return 120;\n"
    return f'{HEAD}{body}\nint main() {{\n{checks}    std::cout << "ok {units}\\n";\n    return 0;\n}}\n'
