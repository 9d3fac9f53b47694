"""Makes the C file for gcc: functions with structures, loops, switches and calls of each other."""
from __future__ import annotations

import random
from pathlib import Path

FUNCTIONS_AT_FULL = 60
_BINARY = ("+", "-", "*", "^", "&", "|")
_OPENING = """/* Made for measuring; includes nothing, so that it is the same everywhere. */
typedef unsigned long word;
typedef struct node { struct node *left, *right; word key, values[8]; const char *name; } node;
typedef struct { word count, sum; double mean; node *root; word (*step)(word, word); } state;
extern void observe(word);
"""


class _Body:
    """Writes one function."""

    def __init__(self, generator: random.Random, number: int) -> None:
        self._generator, self._number = generator, number
        self._lines: list[str] = []

    def _below(self, limit: int) -> int:
        return int(self._generator.random() * limit)

    def _pick(self) -> str:
        return ("a", "b", "x", "y", "s->sum", "s->count", f"t[{self._below(16)}]",
                f"{self._below(99999)}UL")[self._below(8)]

    def _value(self, depth: int = 2) -> str:
        if depth == 0 or self._below(4) == 0:
            return self._pick()
        operator = _BINARY[self._below(len(_BINARY))]
        return f"({self._value(depth - 1)} {operator} {self._value(depth - 1)})"

    def _call(self) -> str:
        if self._number == 0:
            return self._value()
        callee = self._number - 1 - self._below(min(self._number, 12))
        return f"work_{callee}(s, {self._value(1)}, {self._value(1)})"

    def _statement(self, depth: int) -> None:
        pad, kind = "    " * (3 - depth), self._below(7)
        if depth == 0 or kind < 2:
            target = ("x", "y", "s->sum", f"t[{self._below(16)}]")[self._below(4)]
            self._lines.append(f"{pad}{target} = {self._value()};")
        elif kind == 2:
            self._lines.append(f"{pad}for (word i = 0; i < ({self._pick()} & 63); i++) {{")
            self._lines.append(f"{pad}    t[i & 15] += {self._value()} + i;")
            self._statement(depth - 1)
            self._lines.append(f"{pad}}}")
        elif kind == 3:
            self._lines.append(f"{pad}switch ({self._value(1)} & 7) {{")
            for case in range(6):
                self._lines.append(f"{pad}case {case}: y += {self._value()}; break;")
            self._lines.append(f"{pad}default: x ^= {self._call()};\n{pad}}}")
        elif kind == 4:
            self._lines.append(f"{pad}if ({self._value()} > {self._value(1)}) {{")
            self._statement(depth - 1)
            self._statement(depth - 1)
            self._lines.append(f"{pad}}} else {{")
            self._statement(depth - 1)
            self._lines.append(f"{pad}}}")
        elif kind == 5:
            self._lines.append(f"{pad}for (node *n = s->root; n; n = n->key > {self._pick()} ? n->left "
                               f": n->right)\n{pad}    x += n->values[{self._below(8)}] + "
                               f"(word)n->name[{self._below(4)}];")
        else:
            self._lines.append(f"{pad}x += {self._call()};\n{pad}s->mean += (double)y / 3.5;")

    def text(self) -> str:
        """Return the function."""
        self._lines += [
            f"{'' if self._below(3) else 'static '}word work_{self._number}"
            "(state *s, word a, word b) {",
            "    word x = a, y = b, t[16] = {0};",
        ]
        for _ in range(4 + self._below(4)):
            self._statement(1)
        self._lines.append(f"    observe(x);\n    return x ^ y ^ t[a & 15];\n}}\n")
        return "\n".join(self._lines)


def write_source(path: Path, seed: int, work: int) -> int:
    """Write the file for `work` per cent of a full sample; return its functions."""
    generator = random.Random(f"{seed}:gcc")
    count = max(4, FUNCTIONS_AT_FULL * work // 100)
    bodies = [_Body(generator, number).text() for number in range(count)]
    path.write_text(_OPENING + "\n".join(bodies), "ascii")
    return count
