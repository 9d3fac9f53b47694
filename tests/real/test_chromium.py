"""Headless Chromium loads a page whose script computes something.

Debian's Chromium defines malloc and its relatives itself (PartitionAlloc), and its own stay in charge with
any malloc preloaded: what is shown here is that hakmem does it no harm.
"""

from __future__ import annotations

import re
from pathlib import Path

from real_run import Run, find, size

PAGE = Path(__file__).with_name("page.html")
SUM = sum(i * 7919 % 20011 for i in range(20000))


def test_page(real) -> None:
    def scenario(run: Run) -> None:
        chromium = find("chromium", "chromium")
        page = run.folder / "page.html"
        page.write_bytes(PAGE.read_bytes())
        for i in range(size(1, 5)):
            done = run.program(
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                f"--user-data-dir={run.folder}/profile-{i}", "--dump-dom", page.as_uri(), timeout=60,
            )
            result = re.search(rb'<p id="result">(.*)</p>', done.stdout)
            assert result, done.stdout[-500:]
            assert result[1].decode() == f"sum {SUM} rows 500 pixel 10,20,30 bytes 3000000"
        run.served("chromium", apart_from=("chromium", "chrome_crashpad_handler"))

    real(scenario)
