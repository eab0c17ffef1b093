"""Measure error rates and power of the designs; write docs/explanation/rates.json and its tables.

.venv/bin/python scripts/calibrate.py                 measures what is missing, up to 1,000 sets a cell
.venv/bin/python scripts/calibrate.py --sets 2000     adds sets to those that are there; moderation has 400
.venv/bin/python scripts/calibrate.py --only crossover
.venv/bin/python scripts/calibrate.py --page          only writes the tables into the page

It can be stopped at any time and goes on where it stopped. Every set has its own seed, so that the result
depends on neither the order nor the number of calls. The whole takes about half an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conn.files import write_text

ROOT = Path(__file__).parents[1]
# The simulated trials are those of the tests, so that page and tests speak of the same thing.
sys.path.insert(0, str(ROOT / "tests"))

import calibration_tables  # noqa: E402

import null_trials as nt  # noqa: E402
import rival_trials as rivals  # noqa: E402

RESULTS = ROOT / "docs" / "explanation" / "rates.json"
PAGE = ROOT / "docs" / "explanation" / "rates.md"
SETS = 1000
STEP = 250
"""Sets between two times of saving."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A design with sizes, a ratio of standard deviations and a shape."""

    design: str
    sizes: tuple[int, ...]
    ratio: float = 1.0
    skewed: bool = False

    @property
    def key(self) -> str:
        """Name, and source of the seed."""
        sizes = "+".join(map(str, self.sizes))
        return f"{self.design}|{sizes}|{self.ratio:g}|{'skewed' if self.skewed else 'normal'}"

    @property
    def case(self) -> nt.Case:
        """What is simulated."""
        return DESIGNS[self.design](*self.sizes, ratio=self.ratio, skewed=self.skewed)


def _named(make: nt.Made, name: str) -> nt.Made:
    return lambda *sizes, **options: make(name, *sizes, **options)


def _one_variance(name: str) -> nt.Made:
    return lambda *sizes, **options: nt.moderator(name, *sizes, robust=False, **options)


DESIGNS: dict[str, nt.Made] = {
    "two_sample": nt.two_sample,
    "group_by_time interaction": _named(nt.by_time, "interaction"),
    "parallel_arms adjusted": _named(nt.arms, "adjusted"),
    "crossover treatment": _named(nt.crossover, "treatment"),
    "two_sample, three groups": nt.two_sample,
    "parallel_arms adjusted, three arms": _named(nt.arms, "adjusted"),
    "within groupByWithin": _named(nt.within, "groupByWithin"),
    "treatment_by_outcome interaction": _named(nt.by_outcome, "interaction"),
    "formula, F over three groups": nt.formula,
    "two_sample, 12 % of values missing": lambda *sizes, **options: nt.missing(
        nt.two_sample(*sizes, **options)
    ),
    "one_sample": nt.one_sample,
    "paired": nt.paired,
    "group_by_time time": _named(nt.by_time, "time"),
    "crossover treatmentFlips": _named(nt.crossover, "treatmentFlips"),
    "within": _named(nt.within, "within"),
    "regression": nt.regression,
    "moderator moderation": _named(nt.moderator, "moderation"),
    "moderator prognosis": _named(nt.moderator, "prognosis"),
    "moderator moderation, one variance": _one_variance("moderation"),
    "moderator prognosis, one variance": _one_variance("prognosis"),
}
"""By the name that stands in the results."""

TWO = ((12, 12), (18, 12), (20, 8), (40, 16))
FEW_TWO = ((12, 12), (20, 8))
ARMS = ((12, 12), (20, 8), (40, 16))
THREE = ((9, 9, 9), (14, 9, 6))
GRID: dict[str, tuple[tuple[tuple[int, ...], ...], tuple[float, ...]]] = {
    "two_sample": ((*TWO, (15, 6), (30, 30)), (0.5, 1, 2, 3)),
    "group_by_time interaction": (TWO, (0.5, 1, 2, 3)),
    "parallel_arms adjusted": (TWO, (0.5, 1, 2, 3)),
    "crossover treatment": (FEW_TWO, (0.5, 1, 2, 3)),
    "two_sample, three groups": (THREE, (0.5, 1, 2, 3)),
    "parallel_arms adjusted, three arms": (THREE, (0.5, 1, 2, 3)),
    "within groupByWithin": ((*FEW_TWO, (14, 9, 6)), (0.5, 1, 2, 3)),
    "treatment_by_outcome interaction": (((7, 7, 7, 7), (12, 8, 8, 5)), (0.5, 1, 2, 3)),
    "formula, F over three groups": (THREE, (0.5, 1, 2, 3)),
    "two_sample, 12 % of values missing": (FEW_TWO, (0.5, 1, 2, 3)),
    "one_sample": (((12,), (20,), (40,)), (1,)),
    "paired": (((12,), (20,), (40,)), (1,)),
    "within": (((12,), (20,), (40,)), (1,)),
    "group_by_time time": (FEW_TWO, (0.5, 1, 2, 3)),
    "crossover treatmentFlips": (FEW_TWO, (0.5, 1, 2, 3)),
    "regression": (((20,), (40,)), (1, 2, 3)),
    "moderator moderation": (ARMS, (0.5, 1, 2, 3)),
    "moderator prognosis": (ARMS, (0.5, 1, 2, 3)),
    "moderator moderation, one variance": (FEW_TWO, (1, 3)),
    "moderator prognosis, one variance": (FEW_TWO, (1, 3)),
}
"""Sizes of the cells, and standard deviation of the last cell over that of the first."""


FEWER = {"moderator moderation": 400}
"""Null sets of designs whose rearrangements are slow."""


def cells() -> Iterator[Cell]:
    """Every cell of the table."""
    for design, (all_sizes, ratios) in GRID.items():
        for sizes in all_sizes:
            for ratio in ratios:
                for skewed in (False, True):
                    yield Cell(design, sizes, ratio, skewed)


def seed_of(key: str) -> int:
    """A seed that belongs to a name."""
    return zlib.crc32(key.encode())


def extended(entry: Entry | None, sets: int) -> range:
    """Sets that are missing, at most a step of them."""
    done = entry["sets"] if entry else 0
    return range(done, max(done, min(sets, done + STEP)))


def measured(cell: Cell, made: nt.NullTrial, entry: Entry | None, more: range) -> Entry:
    """A cell with more sets."""
    false = nt.false_positives(made, more, seed_of(cell.key)) + (entry["false"] if entry else 0)
    return {
        "design": cell.design,
        "sizes": list(cell.sizes),
        "ratio": cell.ratio,
        "skewed": cell.skewed,
        "sets": more.stop,
        "false": false,
    }


def load() -> dict[str, Any]:
    """Results so far."""
    if RESULTS.is_file():
        return json.loads(RESULTS.read_text(encoding="utf-8"))
    return {"settings": settings(), "cells": {}, "rivals": {}}


def settings() -> dict[str, Any]:
    """What holds for every cell."""
    return {
        "alpha": nt.ALPHA,
        "features": nt.N_FEATURES,
        "rearrangements": nt.PERMUTATIONS + 1,
        "lognormal": nt.LOGNORMAL,
    }


def save(results: dict[str, Any]) -> None:
    """One line per cell in the order of the table, so that a change is a change of lines."""
    parts = [f'"settings": {json.dumps(results["settings"])}']
    for part, order in (("cells", [cell.key for cell in cells()]), ("rivals", list(rivals.RIVALS))):
        found = [(key, results[part][key]) for key in order if key in results[part]]
        lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in found]
        parts.append(f'"{part}": {{\n' + ",\n".join(lines) + "\n}")
    write_text(RESULTS, "{\n" + ",\n".join(parts) + "\n}\n")


def run(results: dict[str, Any], sets: int, only: str) -> None:
    """Measure what is missing, and save after every step."""
    if results["settings"] != settings():
        raise SystemExit(f"{RESULTS.name} was made with other settings; delete it and run again")
    for cell in cells():
        if not re.search(only, cell.key):
            continue
        made, most = nt.made(cell.case), min(sets, FEWER.get(cell.design, sets))
        while more := extended(results["cells"].get(cell.key), most):
            results["cells"][cell.key] = measured(cell, made, results["cells"].get(cell.key), more)
            save(results)
        print(cell.key, results["cells"][cell.key]["false"], flush=True)
    for key in filter(re.compile(only).search, rivals.RIVALS):
        comparison = rivals.RIVALS[key]()
        while more := extended(results["rivals"].get(key), sets):
            entry = rivals.extended(results["rivals"].get(key), comparison, more, seed_of(key))
            results["rivals"][key] = entry
            save(results)
        print(key, results["rivals"][key]["analyses"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=SETS, help="null sets of each cell")
    parser.add_argument("--only", default="", help="regular expression for names of cells")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the tables")
    asked = parser.parse_args()
    results = load()
    if not asked.page:
        run(results, asked.sets, asked.only)
    save(results)
    write_text(PAGE, calibration_tables.filled(PAGE.read_text(encoding="utf-8"), results))


if __name__ == "__main__":
    main()
