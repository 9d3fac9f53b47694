"""Writes all of a history as CSV or as JSON Lines: a line for each number."""
from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Optional, TextIO

from runner.verdict.comparison import METRICS
from runner.trends.query import choose_machine

COLUMNS = (
    "machine", "machine_title", "run", "started", "complete", "check", "allocator", "product", "version",
    "commit", "dirty", "committed", "subject", "workload", "cell", "threads", "parameters", "phase",
    "metric", "unit", "baseline", "median", "lower_quartile", "upper_quartile", "lowest", "highest",
    "samples",
)
_QUERY = """
SELECT m.key AS machine, m.title AS machine_title, r.name AS run, r.started, r.complete,
    r.checked AS "check", e.allocator, e.product, e.version, e.commit_id AS "commit", e.dirty, e.committed,
    e.subject, c.workload, s.cell, c.concurrency AS threads, c.parameters, s.phase, s.metric,
    v.baseline, v.median, v.lower_quartile, v.upper_quartile, v.lowest, v.highest, v.samples
FROM value v JOIN series s ON s.id = v.series JOIN entry e ON e.id = v.entry JOIN run r ON r.id = e.run
    JOIN machine m ON m.key = r.machine JOIN cell c ON c.run = r.id AND c.name = s.cell
WHERE ? IS NULL OR m.key = ?
ORDER BY r.started, r.name, e.id, s.cell, s.phase, s.metric, v.baseline
"""


def export(
    connection: sqlite3.Connection, form: str, stream: TextIO, machine: Optional[str] = None
) -> int:
    """Write everything, of one machine if it is named; return the number of lines. Raises UsageError, and
    OSError of the stream."""
    key = choose_machine(connection, machine)[0] if machine is not None else None
    count = 0
    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n") if form == "csv" else None
    if table is not None:
        table.writeheader()
    for row in _rows(connection, key):
        if table is not None:
            table.writerow({**row, "parameters": json.dumps(row["parameters"], sort_keys=True)})
        else:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
        count += 1
    return count


def _rows(connection: sqlite3.Connection, machine: Optional[str]) -> Iterator[dict[str, Any]]:
    for found in connection.execute(_QUERY, (machine, machine)):
        row = dict(found)
        metric = METRICS.get(row["metric"])
        row["unit"] = "ratio" if row["baseline"] else metric.unit if metric else ""
        row["parameters"] = json.loads(row["parameters"])
        for name in ("complete", "check", "dirty"):
            row[name] = bool(row[name])
        yield {name: row[name] for name in COLUMNS}
