"""What the tests of installing share: make, hakmem as it is installed, and programs to try it on."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[2]

# Prints what it got: the object that malloc is from, its process, arguments and environment.
TELLS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static const char *value(const char *name) { return getenv(name) ? getenv(name) : ""; }
int main(int argc, char **argv) {
    Dl_info where = {0};
    void *volatile block = malloc(100);
    dladdr(dlsym(RTLD_DEFAULT, "malloc"), &where);
    printf("malloc=%s\npid=%d\npreload=%s\ndelay=%s\nname=%s\n", where.dli_fname, (int)getpid(),
           value("LD_PRELOAD"), value("HAKMEM_PURGE_DELAY"), argv[0]);
    for (int i = 1; i < argc; i++) printf("argument=%s\n", argv[i]);
    free(block);
    return argc > 1 ? atoi(argv[1]) : 0;
}
"""
# Allocates, so that statistics prove who served it; says nothing.
ALLOCATES = "#include <stdlib.h>\nint main(void) { void *volatile p = malloc(100); free(p); return p == 0; }\n"
# Has a malloc of its own, and ends with 9 if that was called.
OWN_MALLOC = r"""
#include <stddef.h>
static _Alignas(16) char memory[1 << 20];
static size_t used;
void *malloc(size_t size) { void *block = memory + used; used += (size + 15) & ~(size_t)15; return block; }
void free(void *block) { (void)block; }
int main(void) { free(malloc(100)); return used > 0 ? 9 : 0; }
"""


@dataclass(frozen=True)
class Installed:
    """hakmem as a user has it after make install."""

    prefix: Path
    scratch: Path  # that every user may look into

    @property
    def command(self) -> Path:
        return self.prefix / "bin/hakmem"

    @property
    def library(self) -> Path:
        return self.prefix / "lib/libhakmem.so.0"

    def environment(self, **others: str) -> dict[str, str]:
        """Nothing of ours in it but what is given."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "LD_"))}
        return {**plain, "TMPDIR": str(self.scratch / "links"), "LC_ALL": "C", **others}

    def run(self, *words: object, user: Optional[int] = None, **options) -> subprocess.CompletedProcess:
        """The command."""
        return self.start(self.command, *words, user=user, **options)

    def start(self, *words: object, user: Optional[int] = None, **options) -> subprocess.CompletedProcess:
        """A program, as this user or another, in the scratch folder."""
        environment = self.environment(**options.pop("env", {}))
        before = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        before += options.pop("before", [])
        return subprocess.run(
            [*before, *map(str, words)], env=environment, cwd=self.scratch, capture_output=True, text=True,
            timeout=60, **options,
        )


def make(*words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
    """make in the checkout, without the variables of a make that may have started the tests."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT), *words], capture_output=True, text=True, env=dict(clean, **environment)
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def answers(text: str) -> dict[str, list[str]]:
    """What the program that tells said, by key."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


def declared() -> set[str]:
    """The functions that hakmem.h declares."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "allocator/include/hakmem.h").read_text(), flags=re.S)
    return set(re.findall(r"^HAKMEM_API\b[^;]*?\b(hak_\w+)\(", text, flags=re.M))
