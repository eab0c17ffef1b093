"""Measure error rates and coverage of mediation; write docs/explanation/mediation.json and its tables.

.venv/bin/python scripts/calibrate_mediation.py               measures what is missing, 1,000 trials a cell
.venv/bin/python scripts/calibrate_mediation.py --sets 2000   adds trials to those that are there
.venv/bin/python scripts/calibrate_mediation.py --page        only writes the tables into the page

It can be stopped at any time and goes on where it stopped. Every trial has its own seed, so that the result
depends on neither the order nor the number of calls. The whole takes about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conn.files import write_text

ROOT = Path(__file__).parents[1]
# The simulated trials are those of the tests, so that page and tests speak of the same thing.
sys.path.insert(0, str(ROOT / "tests"))

import mediation_trials as mt  # noqa: E402

RESULTS = ROOT / "docs" / "explanation" / "mediation.json"
PAGE = ROOT / "docs" / "explanation" / "mediation.md"
SETS, STEP = 1000, 250
PEOPLE = (30, 60, 120)
SINGLE = {**mt.NULLS, "a ≠ 0, b ≠ 0": mt.EFFECT}
FAMILIES = (*mt.NULLS, "mixed")
PARTS = ("single", "families", "paths")

Entry = dict[str, Any]
Results = dict[str, dict[str, Entry]]


def seed_of(key: str) -> int:
    """A seed that belongs to a name."""
    return zlib.crc32(key.encode())


def load() -> Results:
    """Results so far."""
    if RESULTS.is_file():
        return {part: {} for part in PARTS} | json.loads(RESULTS.read_text(encoding="utf-8"))
    return {part: {} for part in PARTS}


def save(results: Results) -> None:
    """One line per cell, so that a change is a change of lines."""
    parts = []
    for part, entries in results.items():
        lines = [f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(one)}" for key, one in entries.items()]
        parts.append(f'"{part}": {{\n' + ",\n".join(lines) + "\n}")
    write_text(RESULTS, "{\n" + ",\n".join(parts) + "\n}\n")


def single(key: str, kind: str, n: int, more: range) -> Entry:
    """Trials with one feature."""
    a, b = SINGLE[kind]
    return asdict(mt.tally(more, n, a, b, seed=seed_of(key), plain=True))


def family(key: str, kind: str, n: int, more: range) -> Entry:
    """Trials with thirty features of which none carries anything."""
    false = sum(bool((p <= 0.05).any()) for p in mt.families(more, n, kind, seed=seed_of(key)))
    return {"sets": len(more), "false": false}


def alone(key: str, kind: str, n: int, more: range) -> Entry:
    """Features of which one path is missing, that path alone; `features` and `false` count features."""
    found = [mt.alone(number, n, kind, seed=seed_of(key)) for number in more]
    return {
        "sets": len(more),
        "features": sum(p.size for p in found),
        "false": sum(int((p <= 0.05).sum()) for p in found),
    }


def measure(results: Results, sets: int, only: str) -> None:
    """Measure what is missing, and save after every step."""
    work = [("single", kind, n, single) for n in PEOPLE for kind in SINGLE]
    work += [("families", kind, n, family) for n in (30, 60) for kind in FAMILIES]
    work += [("paths", kind, n, alone) for n in PEOPLE for kind in ("a", "b")]
    for part, kind, n, count in work:
        if not re.search(only, f"{part}|{kind}|{n}"):
            continue
        key, wanted = f"{kind}|{n}", sets // 4 if part == "paths" else sets
        while (done := results[part].get(key, {}).get("sets", 0)) < wanted:
            new = count(key, kind, n, range(done, min(done + STEP, wanted)))
            old = results[part].get(key, {})
            results[part][key] = {name: value + old.get(name, 0) for name, value in new.items()}
            save(results)
        print(part, key, results[part][key], flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def errors(results: Results) -> str:
    """How often an effect is claimed that is not there."""
    rows = []
    for n in PEOPLE:
        for kind in mt.NULLS:
            one = results["single"][f"{kind}|{n}"]
            names = ("joint", "percentile", "bca", "plain", "plain_bca")
            rows.append([str(n), kind, *(f"{100 * one[name] / one['sets']:.1f}" for name in names)])
    head = [
        "people",
        "truth",
        "joint test",
        "percentile",
        "BCa",
        "percentile, not widened",
        "BCa, not widened",
    ]
    return table(head, rows)


def coverage(results: Results) -> str:
    """How often intervals hold an effect that is there, and how often it is found."""
    rows = []
    for n in PEOPLE:
        one = results["single"][f"a ≠ 0, b ≠ 0|{n}"]
        sets = one["sets"]
        held = [one["covered"], one["bca_covered"], sets - one["plain"], sets - one["plain_bca"]]
        rows.append([str(n), *(f"{100 * x / sets:.1f}" for x in (*held, one["joint"]))])
    head = [
        "people",
        "percentile",
        "BCa",
        "percentile, not widened",
        "BCa, not widened",
        "found by the joint test",
    ]
    return table(head, rows)


def families(results: Results) -> str:
    """How often any of thirty features is claimed."""
    rows = []
    for kind in FAMILIES:
        cells = [results["families"][f"{kind}|{n}"] for n in (30, 60)]
        name = "ten features of each" if kind == "mixed" else kind
        rows.append([name, *(f"{100 * one['false'] / one['sets']:.1f}" for one in cells)])
    return table(["truth", "30 people", "60 people"], rows)


def paths(results: Results) -> str:
    """How often one path is claimed that is not there."""
    rows = []
    for kind in ("a", "b"):
        cells = [results["paths"][f"{kind}|{n}"] for n in PEOPLE]
        rows.append([f"{kind} = 0", *(f"{100 * one['false'] / one['features']:.2f}" for one in cells)])
    return table(["path", *(f"{n} people" for n in PEOPLE)], rows)


def filled(page: str, results: Results) -> str:
    """The page with its tables."""
    for name, make in (("errors", errors), ("coverage", coverage), ("families", families), ("paths", paths)):
        text = f"<!-- {name} -->\n{make(results)}\n<!-- end -->"
        page = re.sub(rf"<!-- {name} -->\n.*?<!-- end -->", lambda _, t=text: t, page, flags=re.DOTALL)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=SETS, help="trials of each cell")
    parser.add_argument("--only", default="", help="regular expression for part|truth|people")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the tables")
    asked = parser.parse_args()
    results = load()
    if not asked.page:
        measure(results, asked.sets, asked.only)
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), results))


if __name__ == "__main__":
    main()
