"""sqlite3: a script of a million rows (short: 100,000), whose sums are known without it."""

from __future__ import annotations

from real_run import Run, find, size

ROWS = size(100_000, 1_000_000)

# v is a permutation's image, so that the index is filled out of order; t has text of many lengths.
SCRIPT = """
PRAGMA journal_mode = WAL;
PRAGMA cache_size = -65536;
CREATE TABLE rows(id INTEGER PRIMARY KEY, v INTEGER NOT NULL, t TEXT NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
    INSERT INTO rows SELECT i, i * 7919 % 1000003, printf('%d:%.*c', i, i % 97, 'x') FROM n;
CREATE INDEX by_v ON rows(v);
CREATE INDEX by_t ON rows(t);
UPDATE rows SET t = t || '-changed' WHERE id % 5 = 0;
DELETE FROM rows WHERE id % 7 = 0;
INSERT INTO rows SELECT id + 10000000, v, 'copy of ' || t FROM rows WHERE id % 11 = 0;
CREATE VIRTUAL TABLE words USING fts5(w);
INSERT INTO words SELECT 'word' || (v % 1000) || ' and ' || t FROM rows WHERE id <= {rows} / 10;
SELECT 'integrity', integrity_check FROM pragma_integrity_check;
SELECT 'rows', count(*), sum(id), sum(v), sum(length(t)) FROM rows;
SELECT 'groups', count(*), sum(n), sum(most) FROM (SELECT count(*) n, max(v) most FROM rows GROUP BY v % 1000);
SELECT 'window', max(running) FROM (SELECT sum(v) OVER (ORDER BY id) AS running FROM rows);
SELECT 'join', count(*) FROM rows a JOIN rows b ON b.id = a.id + 10000000;
SELECT 'json', sum(json_extract(j, '$.v')) FROM (SELECT json_object('v', v, 't', t) j FROM rows);
SELECT 'sorted', count(DISTINCT t), length(group_concat(t)) FROM (SELECT t FROM rows ORDER BY t DESC);
SELECT 'words', count(*) FROM words WHERE words MATCH 'word500 OR word7';
VACUUM;
SELECT 'integrity', integrity_check FROM pragma_integrity_check;
"""


def expected() -> str:
    """What the SELECTs above answer, computed by plain Python."""
    rows = {}
    for i in range(1, ROWS + 1):
        if i % 7:
            text = f"{i}:" + "x" * max(i % 97, 1) + ("-changed" if i % 5 == 0 else "")
            rows[i] = (i * 7919 % 1000003, text)
    rows.update({i + 10_000_000: (v, "copy of " + t) for i, (v, t) in list(rows.items()) if i % 11 == 0})
    values = [v for v, _ in rows.values()]
    lengths = sum(len(t) for _, t in rows.values())
    most: dict[int, int] = {}
    for v in values:
        most[v % 1000] = max(most.get(v % 1000, 0), v)
    words = sum(1 for i, (v, _) in rows.items() if i <= ROWS // 10 and v % 1000 in (500, 7))
    return "\n".join((
        "integrity|ok",
        f"rows|{len(rows)}|{sum(rows)}|{sum(values)}|{lengths}",
        f"groups|{len(most)}|{len(rows)}|{sum(most.values())}",
        f"window|{sum(values)}",
        f"join|{sum(1 for i in rows if i > 10_000_000)}",
        f"json|{sum(values)}",
        f"sorted|{len({t for _, t in rows.values()})}|{lengths + len(rows) - 1}",
        f"words|{words}",
        "integrity|ok",
    ))


def test_many_rows(real) -> None:
    def scenario(run: Run) -> None:
        sqlite, base = find("sqlite3", "sqlite3"), str(run.folder / "base")
        script = SCRIPT.format(rows=ROWS).encode()
        done = run.program(sqlite, "-bail", base, stdin=script)
        assert done.stdout.decode().split("\n", 1) == ["wal", expected() + "\n"]

        # Dumped as text and read again, it is the same base.
        dump = run.program(sqlite, base, ".dump rows").stdout
        copy = str(run.folder / "copy")
        run.program(sqlite, "-bail", copy, stdin=dump)
        sums = [run.program(sqlite, one, ".sha3sum rows").stdout for one in (base, copy)]
        assert sums[0] == sums[1] and len(sums[0]) > 50
        run.served("sqlite3")

    real(scenario)
