"""Measure prediction on simulated people: error rates, bias of scores, coverage of intervals.

.venv/bin/python scripts/prediction_calibration.py             measures what is missing, up to 300 sets a cell
.venv/bin/python scripts/prediction_calibration.py --sets 600  adds sets to those that are there
.venv/bin/python scripts/prediction_calibration.py --page      only writes the tables into the page

Every set has its own seed, so that the result depends on neither the order nor the number of calls. Results
are kept in docs/explanation/prediction_rates.json. tests/test_prediction.py does the same with fewer sets.
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from conn.clinic.prediction.chance import chance
from conn.clinic.prediction.crossfit import crossfit, folds_of
from conn.clinic.prediction.interval import interval
from conn.clinic.prediction.people import People, people
from conn.clinic.prediction.pipeline import Fitted, fit
from conn.clinic.prediction.recipe import Kind, Recipe, Reduce
from conn.clinic.prediction.scores import CALIBRATION, SCORES, score
from conn.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "explanation" / "prediction_rates.json"
PAGE = ROOT / "docs" / "explanation" / "prediction.md"
ALPHAS = (0.01, 0.05, 0.1, 0.5)
NEW_PEOPLE = 4000
N_SIGNAL = 5


@dataclass(frozen=True)
class Cohort:
    """People to be simulated: an effect in SD on each of the first five features, or of them on a score."""

    kind: Kind
    n: int
    n_features: int = 50
    effect: float = 0.0
    cases: float = 0.5
    reduce: Reduce = "none"
    n_clinical: int = 0

    @property
    def name(self) -> str:
        return "-".join(str(part) for part in vars(self).values())

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            self.kind, penalties=(0.1, 1.0, 10.0, 100.0), reduce=self.reduce, n_reduced=10, inner_folds=4
        )

    def draw(self, rng: np.random.Generator, n: int) -> tuple[People, np.ndarray]:
        imaging, clinical = rng.normal(size=(n, self.n_features)), rng.normal(size=(n, self.n_clinical))
        if self.kind == "classifier":
            outcome = (np.arange(n) < round(self.cases * n)).astype(float)
            imaging[:, :N_SIGNAL] += self.effect * outcome[:, None]
            clinical += outcome[:, None]
        else:
            outcome = (
                self.effect * imaging[:, :N_SIGNAL].sum(axis=1) + clinical.sum(axis=1) + rng.normal(size=n)
            )
        return people(range(n), imaging, clinical), outcome


COVERAGE = (
    Cohort("classifier", 30),
    Cohort("classifier", 50),
    Cohort("classifier", 30, effect=0.5),
    Cohort("classifier", 50, effect=0.5),
    Cohort("classifier", 30, effect=1.0),
    Cohort("classifier", 50, effect=1.0),
    Cohort("classifier", 50, effect=0.7, cases=0.3),
    Cohort("classifier", 50, n_features=200, effect=0.7, reduce="best"),
    Cohort("regression", 40),
    Cohort("regression", 40, effect=0.4),
    Cohort("regression", 80, effect=0.4),
)
NULL = (
    (Cohort("classifier", 24), False),
    (Cohort("classifier", 24, n_features=200, reduce="best"), False),
    (Cohort("classifier", 30, cases=0.3), False),
    (Cohort("regression", 24), False),
    (Cohort("classifier", 24, n_clinical=2), True),
    (Cohort("regression", 24, n_clinical=2), True),
)
PERMUTATIONS = 99

Entry = dict[str, Any]


def covered(cohort: Cohort, seed: int) -> Entry:
    """One set: honest scores with intervals, apparent ones, and the truth about the model in new people."""
    rng = np.random.default_rng([1, zlib.crc32(cohort.name.encode()), seed])
    who, outcome = cohort.draw(rng, cohort.n)
    new, truth = cohort.draw(rng, NEW_PEOPLE)
    recipe = cohort.recipe
    found = crossfit(who, outcome, recipe, folds_of(outcome, recipe, 5, 10, seed), seed, inner=True)
    fitted = fit(who, outcome, recipe, (seed,))
    entry = {}
    for name in (name for name in SCORES[cohort.kind] if name not in CALIBRATION):
        one = interval(name, found, outcome, cohort.kind)
        entry[name] = {
            "estimate": one.estimate,
            "low": one.low,
            "high": one.high,
            "usual_se": one.usual_se,
            "true": _in(fitted, name, new, truth),
            "apparent": _in(fitted, name, who, outcome),
        }
    return entry


def _in(fitted: Fitted, name: str, who: People, outcome: np.ndarray) -> float:
    return score(name, fitted.predict(who), np.full(who.n, fitted.centre), outcome, fitted.kind)


def tested(cohort: Cohort, imaging_only: bool, seed: int) -> Entry:
    """One set without effect: p, the honest score and the apparent one."""
    rng = np.random.default_rng([2, zlib.crc32(cohort.name.encode()), seed])
    who, outcome = cohort.draw(rng, cohort.n)
    recipe = cohort.recipe
    fold = folds_of(outcome, recipe, 4, 1, seed)
    found = chance(
        who, outcome, recipe, fold, n_permutations=PERMUTATIONS, seed=seed, imaging_only=imaging_only
    )
    apparent = _in(fit(who, outcome, recipe, (seed,)), SCORES[cohort.kind][0], who, outcome)
    return {"p": found.p, "honest": found.observed, "apparent": apparent}


def measure(sets: int) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"coverage": {}, "null": {}}
    for cohort, imaging_only in NULL:
        key = f"{cohort.name}-{'increment' if imaging_only else 'total'}"
        entries = results["null"].setdefault(key, [])
        entries += [tested(cohort, imaging_only, seed) for seed in range(len(entries), sets)]
        save(results)
        print(key, len(entries), flush=True)
    for cohort in COVERAGE:
        entries = results["coverage"].setdefault(cohort.name, [])
        entries += [covered(cohort, seed) for seed in range(len(entries), sets)]
        save(results)
        print(cohort.name, len(entries), flush=True)


def save(results: Entry) -> None:
    """Sets as lists of numbers with six digits, one set a line."""
    rounded = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.6g}"))
    parts = []
    for kind, cells in rounded.items():
        lines = [
            f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"
            for key, entries in cells.items()
        ]
        parts.append(f"{json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n}")
    write_text(RESULTS, "{\n" + ",\n".join(parts) + "\n}\n")


def null_rows(results: Entry) -> Iterable[str]:
    yield (
        "| people, features, test | sets | "
        + " | ".join(f"p ≤ {a:g}" for a in ALPHAS)
        + " | honest | apparent |"
    )
    yield "|---" * (len(ALPHAS) + 4) + "|"
    for cohort, imaging_only in NULL:
        key = f"{cohort.name}-{'increment' if imaging_only else 'total'}"
        entries = results["null"][key]
        p = np.array([entry["p"] for entry in entries])
        cells = []
        for alpha in ALPHAS:
            low, high = stats.binom.ppf([0.0005, 0.9995], p.size, alpha) / p.size
            cells.append(f"{(p <= alpha + 1e-9).mean():.3f} ({low:.3f}-{high:.3f})")
        means = [f"{np.mean([entry[key] for entry in entries]):.2f}" for key in ("honest", "apparent")]
        what = "increment" if imaging_only else "total"
        yield f"| {words(cohort)}, {what} | {p.size} | " + " | ".join((*cells, *means)) + " |"


def coverage_rows(results: Entry) -> Iterable[str]:
    yield "| people, features, effect | score | sets | true | honest | apparent | covered | width | usual |"
    yield "|---" * 9 + "|"
    for cohort in COVERAGE:
        entries = results["coverage"][cohort.name]
        for name in entries[0]:
            columns = {key: np.array([entry[name][key] for entry in entries]) for key in entries[0][name]}
            true, low, high = columns["true"], columns["low"], columns["high"]
            usual = np.abs(columns["estimate"] - true) <= 1.96 * columns["usual_se"]
            cells = [f"{columns[key].mean():.2f}" for key in ("true", "estimate", "apparent")]
            covers = f"{100 * ((low <= true) & (true <= high)).mean():.0f} %"
            cells += [covers, f"{(high - low).mean():.2f}", f"{100 * usual.mean():.0f} %"]
            yield f"| {words(cohort)} | {name} | {len(entries)} | " + " | ".join(cells) + " |"


def words(cohort: Cohort) -> str:
    what = "class" if cohort.kind == "classifier" else "score"
    share = "" if cohort.cases == 0.5 else f" ({cohort.cases:.0%} respond)"
    best = ", best 10 chosen" if cohort.reduce == "best" else ""
    effect = f", effect {cohort.effect:g}" if cohort.effect else ""
    return f"{what}, {cohort.n} people{share}, {cohort.n_features} features{best}{effect}"


def write_page() -> None:
    """Put the tables between their marks."""
    results, text = json.loads(RESULTS.read_text()), PAGE.read_text()
    for mark, rows in (("null", null_rows(results)), ("coverage", coverage_rows(results))):
        block = f"<!-- {mark} -->\n" + "\n".join(rows) + f"\n<!-- /{mark} -->"
        text = re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _, b=block: b, text, flags=re.S)
    write_text(PAGE, text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    if not options.page:
        measure(options.sets)
    if PAGE.is_file():
        write_page()


if __name__ == "__main__":
    main()
