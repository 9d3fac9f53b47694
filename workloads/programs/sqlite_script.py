"""Makes the script for sqlite3: tables in memory, indices, joins, changes, a check of everything."""
from __future__ import annotations

import random
from pathlib import Path

_WORDS = ("amber basil cedar delta ember fjord grove heath inlet jetty karst lagoon meadow north "
          "ochre prairie quartz ridge summit tundra upland valley willow xenon yonder zephyr").split()
PEOPLE_AT_FULL = 8_000
_ROWS_A_STATEMENT = 20
_OPENING = """.bail on
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT, born INTEGER, note TEXT);
CREATE TABLE purchase(id INTEGER PRIMARY KEY, person INTEGER REFERENCES person(id), item TEXT,
                      price INTEGER, day INTEGER);
CREATE INDEX person_city ON person(city, born);
CREATE INDEX person_name ON person(name);
CREATE INDEX purchase_person ON purchase(person, day);
"""
_QUERIES = """
SELECT city, count(*), min(born), max(born), sum(length(note)) FROM person GROUP BY city ORDER BY city;
SELECT p.city, count(*), sum(b.price) FROM person p JOIN purchase b ON b.person = p.id
    GROUP BY p.city ORDER BY 3 DESC;
SELECT p.name, sum(b.price) AS total FROM person p JOIN purchase b ON b.person = p.id
    WHERE b.day BETWEEN 100 AND 200 GROUP BY p.id ORDER BY total DESC, p.id LIMIT 20;
SELECT item, group_concat(substr(name, 1, 3), '') FROM
    (SELECT b.item, p.name FROM purchase b JOIN person p ON p.id = b.person WHERE b.price < 900
     ORDER BY b.id) GROUP BY item ORDER BY item;
SELECT count(*) FROM person a JOIN person b ON a.city = b.city AND a.born = b.born AND a.id < b.id;
"""
_CLOSING = """CREATE INDEX purchase_item ON purchase(item, price);
PRAGMA integrity_check;
"""


def _texts(generator: random.Random, least: int, most: int) -> str:
    count = least + int(generator.random() * (most - least + 1))
    return " ".join(_WORDS[int(generator.random() * len(_WORDS))] for _ in range(count))


def write_script(path: Path, seed: int, work: int) -> int:
    """Write the script for `work` per cent of a full sample; return its statements."""
    generator = random.Random(f"{seed}:sqlite")
    number = lambda below: int(generator.random() * below)  # noqa: E731
    people = max(40, PEOPLE_AT_FULL * work // 100)
    lines = [_OPENING, "BEGIN;"]
    for start in range(0, people, _ROWS_A_STATEMENT):
        rows = ", ".join(
            f"({row}, '{_texts(generator, 2, 3)}', '{_WORDS[number(len(_WORDS))]}', "
            f"{1930 + number(80)}, '{_texts(generator, 1, 40)}')"
            for row in range(start, min(people, start + _ROWS_A_STATEMENT))
        )
        lines.append(f"INSERT INTO person VALUES {rows};")
    for _ in range(people * 6 // _ROWS_A_STATEMENT):
        rows = ", ".join(
            f"({number(people)}, '{_texts(generator, 1, 1)}', {number(10000)}, {number(365)})"
            for _ in range(_ROWS_A_STATEMENT)
        )
        lines.append(f"INSERT INTO purchase(person, item, price, day) VALUES {rows};")
    lines += ["COMMIT;", _QUERIES, "BEGIN;"]
    for _ in range(people):
        person = number(people)
        choice = generator.random()
        if choice < 0.4:
            lines.append(f"UPDATE person SET note = '{_texts(generator, 1, 60)}', "
                         f"born = born + 1 WHERE id = {person};")
        elif choice < 0.55:
            lines.append(f"DELETE FROM purchase WHERE person = {person} AND day < {number(200)};")
        else:
            lines.append("SELECT p.name, p.note, b.item, b.price FROM person p JOIN purchase b ON "
                         f"b.person = p.id WHERE p.id = {person} ORDER BY b.day, b.id;")
    lines += ["COMMIT;", _QUERIES, _CLOSING]
    text = "\n".join(lines)
    path.write_text(text, "ascii")
    return text.count(";")
