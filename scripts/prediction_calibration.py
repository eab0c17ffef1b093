"""Measure prediction on simulated people: error rates, bias of scores, coverage of intervals.

.venv/bin/python scripts/prediction_calibration.py             measures what is missing, up to 200 sets a cell
.venv/bin/python scripts/prediction_calibration.py --sets 600  adds sets to those that are there
.venv/bin/python scripts/prediction_calibration.py --coverage  only intervals, not p
.venv/bin/python scripts/prediction_calibration.py --part increment  only cells with this in their key
.venv/bin/python scripts/prediction_calibration.py --page      only writes the tables into the page

Every set has its own seed, so that the result depends on neither the order nor the number of calls. Results
are kept in docs/explanation/prediction_rates.json. tests/test_prediction.py does the same with fewer sets.
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
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
from conn.clinic.prediction.summary import TITLES
from conn.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "explanation" / "prediction_rates.json"
PAGE = ROOT / "docs" / "explanation" / "prediction.md"
ALPHAS = (0.01, 0.05, 0.1, 0.5)
NEW_PEOPLE = 4000
N_SIGNAL = 5


@dataclass(frozen=True)
class Cohort:
    """People to be simulated: an effect in SD on each of the first five features, or of them on a score.

    With `shared`, every feature has this correlation with the first clinical value, and so knows of the
    outcome what that does.
    """

    kind: Kind
    n: int
    n_features: int = 50
    effect: float = 0.0
    cases: float = 0.5
    reduce: Reduce = "none"
    n_clinical: int = 0
    shared: float = 0.0

    @property
    def name(self) -> str:
        """Seeds hang on it, so that what was added later stands in it only where it is used."""
        parts = [str(part) for key, part in vars(self).items() if key != "shared"]
        return "-".join([*parts, *([f"shared{self.shared}"] if self.shared else [])])

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.kind, penalties=(1.0, 30.0), reduce=self.reduce, n_reduced=10, inner_folds=3)

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
        if self.shared:
            imaging = self.shared * clinical[:, :1] + np.sqrt(1 - self.shared**2) * imaging
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
    Cohort("classifier", 18, n_features=10, effect=1.5, cases=0.45),
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
    (Cohort("classifier", 40, n_features=20, n_clinical=1, shared=0.9), True),
    (Cohort("regression", 40, n_features=20, n_clinical=1, shared=0.9), True),
)
PERMUTATIONS = 99

Entry = dict[str, Any]


def covered(cohort: Cohort, seed: int) -> Entry:
    """One set: honest scores with intervals, apparent ones, and the truth about the model in new people."""
    rng = np.random.default_rng([1, zlib.crc32(cohort.name.encode()), seed])
    who, outcome = cohort.draw(rng, cohort.n)
    new, truth = cohort.draw(rng, NEW_PEOPLE)
    recipe = cohort.recipe
    found = crossfit(who, outcome, recipe, folds_of(outcome, recipe, 5, 5, seed), seed, inner=True)
    fitted = fit(who, outcome, recipe, (seed,))
    entry = {}
    for name in (name for name in SCORES[cohort.kind] if name not in CALIBRATION):
        one = interval(name, found, outcome, cohort.kind)
        true = _in(fitted, name, new, truth)
        entry[name] = {
            "true": true,
            "honest": one.estimate,
            "apparent": _in(fitted, name, who, outcome),
            "covered": float(one.low <= true <= one.high),
            "width": one.high - one.low,
            "usual": float(abs(one.estimate - true) <= 1.96 * one.usual_se),
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
    below = {f"p {alpha:g}": float(found.p <= alpha + 1e-9) for alpha in ALPHAS}
    return {"test": {**below, "honest": found.observed, "apparent": apparent}}


def measure(sets: int, coverage_only: bool = False, part: str = "") -> None:
    """Add sets to every cell, to those of coverage or with a part in their key; kept are sums over sets."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    cells: list[tuple[str, Callable[[int], Entry]]] = []
    for cohort, imaging_only in () if coverage_only else NULL:
        cells.append((null_key(cohort, imaging_only), partial(tested, cohort, imaging_only)))
    for cohort in COVERAGE:
        cells.append((cohort.name, partial(covered, cohort)))
    for key, one in cells:
        if part not in key:
            continue
        cell = results.setdefault(key, {"sets": 0, "sums": {}})
        for seed in range(cell["sets"], sets):
            for name, columns in one(seed).items():
                sums = cell["sums"].setdefault(name, dict.fromkeys(columns, 0.0))
                for column, value in columns.items():
                    sums[column] = round(sums[column] + value, 6)
            cell["sets"] = seed + 1
        write_text(RESULTS, json.dumps(results, indent=1, sort_keys=True) + "\n")
        print(key, cell["sets"], flush=True)


def null_key(cohort: Cohort, imaging_only: bool) -> str:
    return f"{cohort.name}-{'increment' if imaging_only else 'total'}"


def null_rows(results: Entry) -> Iterable[str]:
    yield (
        "| people, features, test | sets | "
        + " | ".join(f"p ≤ {a:g}" for a in ALPHAS)
        + " | honest | apparent |"
    )
    yield "|---" * (len(ALPHAS) + 4) + "|"
    for cohort, imaging_only in NULL:
        cell = results[null_key(cohort, imaging_only)]
        n, sums = cell["sets"], cell["sums"]["test"]
        cells = []
        for alpha in ALPHAS:
            low, high = stats.binom.ppf([0.0005, 0.9995], n, alpha) / n
            cells.append(f"{sums[f'p {alpha:g}'] / n:.3f} ({low:.3f}-{high:.3f})")
        cells += [f"{sums[key] / n:.2f}" for key in ("honest", "apparent")]
        what = "increment" if imaging_only else "total"
        yield f"| {words(cohort)}, {what} | {n} | " + " | ".join(cells) + " |"


def coverage_rows(results: Entry) -> Iterable[str]:
    yield "| people, features, effect | score | sets | true | honest | apparent | covered | width | usual |"
    yield "|---" * 9 + "|"
    for cohort in COVERAGE:
        cell = results[cohort.name]
        n = cell["sets"]
        for name, sums in cell["sums"].items():
            cells = [f"{sums[key] / n:.2f}" for key in ("true", "honest", "apparent")]
            cells += [f"{100 * sums['covered'] / n:.0f} %", f"{sums['width'] / n:.2f}"]
            cells += [f"{100 * sums['usual'] / n:.0f} %"]
            yield f"| {words(cohort)} | {TITLES[name]} | {n} | " + " | ".join(cells) + " |"


def words(cohort: Cohort) -> str:
    what = "class" if cohort.kind == "classifier" else "score"
    share = "" if cohort.cases == 0.5 else f" ({cohort.cases:.0%} respond)"
    best = ", best 10 chosen" if cohort.reduce == "best" else ""
    effect = f", effect {cohort.effect:g}" if cohort.effect else ""
    shared = f" that go with a clinical value (r {cohort.shared:g})" if cohort.shared else ""
    return f"{what}, {cohort.n} people{share}, {cohort.n_features} features{shared}{best}{effect}"


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
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--part", default="")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    if not options.page:
        measure(options.sets, options.coverage, options.part)
    if PAGE.is_file():
        write_page()


if __name__ == "__main__":
    main()
