"""Measure error rates of associations; write docs/explanation/association_rates.json and its tables.

.venv/bin/python scripts/calibrate_association.py               measures what is missing, 500 sets a cell
.venv/bin/python scripts/calibrate_association.py --sets 2000   adds sets to those that are there
.venv/bin/python scripts/calibrate_association.py --page        only writes the tables into the page

It can be stopped at any time and goes on where it stopped. Every set has its own seed, so that the result
depends on neither the order nor the number of calls. The whole takes about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from pathlib import Path

from conn.files import write_text

ROOT = Path(__file__).parents[1]
# The simulated people are those of the tests, so that page and tests speak of the same thing.
sys.path.insert(0, str(ROOT / "tests"))

import association_trials as at  # noqa: E402

RESULTS = ROOT / "docs" / "explanation" / "association_rates.json"
PAGE = ROOT / "docs" / "explanation" / "associations.md"
SETS, STEP = 500, 100
PEOPLE = (20, 40)
ARMS = ((20, 20), (24, 10), (14, 13, 13), (20, 12, 8))
PLAIN = ("p", "ranks", "bend")
"""Counted over features; anything else over sets."""
SPREADS, SHAPES = ("1", "2", "3"), ("normal", "skewed")

Results = dict[str, dict[str, dict[str, int]]]


def keys(part: str) -> list[str]:
    """Sizes, spread and shape of every cell of a part."""
    sizes = [(n,) for n in PEOPLE] if part == "single" else list(ARMS)
    spreads = SPREADS if part == "single" else (*SPREADS, "arm")
    return [
        f"{', '.join(map(str, own))}|{spread}|{shape}"
        for own in sizes
        for shape in SHAPES
        for spread in spreads
    ]


def load() -> Results:
    """Results so far."""
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    return {"single": {}, "arms": {}} | found


def save(results: Results) -> None:
    """One line per cell, so that a change is a change of lines."""
    parts = []
    for part, entries in results.items():
        lines = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in entries.items()]
        parts.append(f'"{part}": {{\n' + ",\n".join(lines) + "\n}")
    write_text(RESULTS, "{\n" + ",\n".join(parts) + "\n}\n")


def count(part: str, key: str, numbers: range) -> dict[str, int]:
    """False positives of some sets of a cell."""
    sizes, spread, shape = key.split("|")
    own = [int(n) for n in sizes.split(", ")]
    more = {"skew": shape == "skewed", "seed": zlib.crc32(f"{part}|{key}".encode())}
    if part == "single":
        return dict(at.single(numbers, own[0], spread, **more))
    return dict(at.arms(numbers, own, spread, **more))


def measure(results: Results, sets: int, only: str) -> None:
    """Measure what is missing, and save after every step."""
    for part, entries in results.items():
        for key in keys(part):
            if not re.search(only, f"{part}|{key}"):
                continue
            while (done := entries.get(key, {}).get("sets", 0)) < sets:
                new = count(part, key, range(done, min(done + STEP, sets)))
                old = entries.get(key, {})
                entries[key] = {name: value + old.get(name, 0) for name, value in new.items()}
                save(results)
            print(part, key, entries[key], flush=True)


def table(results: Results, part: str, columns: dict[str, str]) -> str:
    """A Markdown table of rates in percent."""
    head = ["people", "varies", "errors", *columns.values()]
    lines = [head, ["---"] * len(head)]
    for key in keys(part):
        sizes, spread, shape = key.split("|")
        one = results[part][key]
        varies = "3 times in the last arm" if spread == "arm" else f"{spread} times"
        of = {name: one["features" if name in PLAIN else "sets"] for name in columns}
        rates = [f"{100 * one[name] / of[name]:.1f}" for name in columns]
        lines.append([sizes, "equally" if spread == "1" else varies, shape, *rates])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


COLUMNS = {
    "single": {
        "one": "family, one variance",
        "robust": "family, robust",
        "p": "p, robust",
        "ranks": "p of ranks",
        "bend": "p of percentage bend",
    },
    "arms": {"one": "family, one variance", "robust": "family, as it is tested"},
}


def filled(page: str, results: Results) -> str:
    """The page with its tables."""
    for part, columns in COLUMNS.items():
        text = f"<!-- {part} -->\n\n{table(results, part, columns)}\n\n<!-- end -->"
        page = re.sub(rf"<!-- {part} -->\n.*?<!-- end -->", lambda _, t=text: t, page, flags=re.DOTALL)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=SETS, help="sets of each cell")
    parser.add_argument("--only", default="", help="regular expression for part|sizes|spread|shape")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the tables")
    asked = parser.parse_args()
    results = load()
    if not asked.page:
        measure(results, asked.sets, asked.only)
    if results.keys() >= COLUMNS.keys() and all(set(keys(p)) <= set(results[p]) for p in COLUMNS):
        write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), results))


if __name__ == "__main__":
    main()
