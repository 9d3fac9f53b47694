"""Programs of every day: shells, compressors, editors and tools do with hakmem what they do without."""

from __future__ import annotations

import http.server
import random
import threading
from functools import partial
from pathlib import Path
from typing import List

import pytest

from real_run import Run, find, same, size


def noise(folder: Path, name: str, megabytes: int) -> Path:
    """Half of it compresses well, half not at all."""
    pick = random.Random(5)
    path = folder / name
    with path.open("wb") as file:
        for i in range(megabytes):
            lines = b"".join(b"line %d of %d\n" % (j, i) for j in range(40000))
            file.write(pick.randbytes(1 << 19) + lines[: 1 << 19])
    return path


@pytest.mark.parametrize(
    "program,package,options",
    [
        ("xz", "xz-utils", ["-T2", "-1", "--block-size=1MiB"]),
        ("zstd", "zstd", ["-T2", "-6", "-q"]),
        ("gzip", "gzip", ["-1"]),
        ("bzip2", "bzip2", ["-2"]),
    ],
)
def test_compressors(real, program: str, package: str, options: List[str]) -> None:
    """What is compressed, tested and unpacked is what it was."""

    def scenario(run: Run) -> None:
        path = find(program, package)
        data = noise(run.folder, "data", size(6, 60) if program != "xz" else size(8, 200))
        packed = run.folder / "packed"
        packed.write_bytes(run.program(path, *options, "-c", str(data)).stdout)
        assert packed.stat().st_size < data.stat().st_size * 0.75
        run.program(path, "-t", stdin=packed.read_bytes())
        same(run.program(path, "-d", "-c", stdin=packed.read_bytes()).stdout, data.read_bytes())
        run.served(path)

    real(scenario)


def test_tar_and_find(real) -> None:
    def scenario(run: Run) -> None:
        tree = run.folder / "a tree"
        for i in range(size(300, 5000)):
            path = tree / f"folder {i % 17}" / f"file-{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{i}\n" * (i % 100 + 1))
        run.program(find("tar", "tar"), "-C", str(tree), "-czf", str(run.folder / "tree.tar.gz"), ".")
        copy = run.folder / "copy"
        copy.mkdir()
        run.program(find("tar", "tar"), "-C", str(copy), "-xzf", str(run.folder / "tree.tar.gz"))
        run.program(find("diff", "diffutils"), "-r", str(tree), str(copy))
        words = [find("find", "findutils"), ".", "-type", "f", "-name", "file-*7", "-printf", "%p %s\n"]
        expected = run.plain(*words, cwd=copy).stdout
        assert expected.count(b"\n") > 20
        same(run.program(*words, cwd=copy).stdout, expected)
        run.served("tar", "gzip", "diff", "find")

    real(scenario)


def test_sort_with_two_threads(real) -> None:
    """No temporary files: everything lies in the allocator's memory."""

    def scenario(run: Run) -> None:
        pick = random.Random(1)
        data = run.folder / "data"
        data.write_text("".join(f"{pick.getrandbits(64):020d} {i}\n" for i in range(size(300_000, 3_000_000))))
        words = [find("sort", "coreutils"), "--parallel=2", "-S", "1G", str(data)]
        done = run.program(*words)
        same(done.stdout, b"".join(sorted(data.read_bytes().splitlines(keepends=True))))
        run.served("sort")

    real(scenario)


SHELL = """
declare -A seen
text=
for ((i = 0; i < COUNT; i++)); do
    seen[key-$((i % 1000))]+=x
    text+="$i,"
    if ((i % 500 == 0)); then text=${text//1/one}; fi
done
total=0
for key in "${!seen[@]}"; do total=$((total + ${#seen[$key]})); done
words=$(for ((i = 0; i < 200; i++)); do echo "$i"; done |
    while read -r n; do echo "$((n * n))"; done | tail -n 1)
echo "$total $words $(printf '%s\\n' a b c | wc -l)"
"""


def test_bash(real) -> None:
    def scenario(run: Run) -> None:
        count = size(10_000, 100_000)
        done = run.program(find("bash", "bash"), "-c", SHELL.replace("COUNT", str(count)))
        assert done.stdout.split() == [b"%d" % count, b"39601", b"3"]
        run.served("bash", "tail", "wc")

    real(scenario)


def test_awk_and_sed(real) -> None:
    def scenario(run: Run) -> None:
        count = size(100_000, 1_000_000)
        numbers = "".join(f"{i}\n" for i in range(1, count + 1)).encode()
        gather = '{ k = $1 % 5000; seen[k] = seen[k] "," $1; n += $1 }'
        program = gather + ' END { for (k in seen) c++; printf("%.0f %d", n, c) }'
        done = run.program(find("awk", "mawk"), program, stdin=numbers)
        assert done.stdout == b"%d 5000" % (count * (count + 1) // 2)
        gather = "s/^([0-9]*)7$/<\\1>/;T;H;$!b;x;s/\\n/ /g;p"
        done = run.program(find("sed", "sed"), "-E", "-n", gather, stdin=numbers + b"7\n")
        assert len(done.stdout.split()) == count // 10 + 1
        run.served("awk", "sed")

    real(scenario)


def test_openssl(real) -> None:
    """A key is made, signs and encrypts; what it signed is valid, what was encrypted comes back."""

    def scenario(run: Run) -> None:
        openssl, folder = find("openssl", "openssl"), run.folder
        data = noise(folder, "data", size(2, 50))

        def call(*words: str, status: int = 0) -> bytes:
            return run.program(openssl, *words, cwd=folder, status=status).stdout

        call("genrsa", "-out", "key", "2048")
        call("rsa", "-in", "key", "-pubout", "-out", "public")
        call("dgst", "-sha256", "-sign", "key", "-out", "signature", str(data))
        checked = call("dgst", "-sha256", "-verify", "public", "-signature", "signature", str(data))
        assert checked == b"Verified OK\n"
        cipher = ["enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:secret"]
        call(*cipher, "-in", str(data), "-out", "sealed")
        call(*cipher, "-d", "-in", "sealed", "-out", "opened")
        same((folder / "opened").read_bytes(), data.read_bytes())
        assert (folder / "sealed").read_bytes()[:8] == b"Salted__"
        call("req", "-x509", "-key", "key", "-subj", "/CN=test", "-out", "certificate", "-days", "2")
        assert b"OK" in call("verify", "-CAfile", "certificate", "certificate")
        call(*cipher[:-1], "pass:wrong", "-d", "-in", "sealed", "-out", "wrong", status=1)
        run.served("openssl")

    real(scenario)


def test_curl(real) -> None:
    """Several files at once from a server of the test's own."""

    def scenario(run: Run) -> None:
        (run.folder / "site").mkdir()
        data = noise(run.folder / "site", "data", size(2, 20)).read_bytes()
        handler = partial(QuietHandler, directory=str(run.folder / "site"))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            try:
                curl = [find("curl", "curl"), "-sS", "--fail", "--noproxy", "*"]
                run.program(*curl, "--parallel", "--parallel-max", "4", "-o", "copy-#1", url + "/data?[1-12]")
                run.program(*curl, url + "/nothing", status=22)
            finally:
                server.shutdown()
        for i in range(1, 13):
            same((run.folder / f"copy-{i}").read_bytes(), data)
        run.served("curl")

    real(scenario)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def test_vi(real) -> None:
    """An editor without a screen: lines are changed, moved, sorted and saved."""

    def scenario(run: Run) -> None:
        count = size(5000, 50_000)
        text = run.folder / "text"
        text.write_text("".join(f"line {i}\n" for i in range(1, count + 1)))
        commands = b"%s/line/row/g\ng/7$/m0\n%s/$/ end/\nsort n /row/\nwq\n"
        run.program(find("vi", "vim-tiny"), "-u", "NONE", "-es", str(text), stdin=commands)
        same(text.read_bytes(), b"".join(b"row %d end\n" % i for i in range(1, count + 1)))
        run.served("vi")

    real(scenario)


def test_jq(real) -> None:
    def scenario(run: Run) -> None:
        count = size(20_000, 300_000)
        query = (
            f'[range({count}) | {{id: ., name: "n\\(. % 100)", list: [range(. % 5)]}}] | tojson | fromjson | '
            "group_by(.name) | map({n: length, s: (map(.list | length) | add)}) | "
            "[length, (map(.n) | add), (map(.s) | add)]"
        )
        done = run.program(find("jq", "jq"), "-n", "-c", query)
        assert done.stdout == b"[100,%d,%d]\n" % (count, count * 2)
        run.served("jq")

    real(scenario)
