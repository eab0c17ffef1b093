"""The same simulated trials analysed in several ways: false positives and power beside naive alternatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import null_trials as nt
from conn import inference
from conn.config.model import Paired, TwoSample
from conn.permutation import permutation_set

PLANTED = 4
"""Of the features, the first ones; the others have no effect."""

Analysis = Callable[[nt.Floats, int], inference.TestResult]
"""Scans of shape (n_points, n, n_features) and a seed become a test."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scans, analyses of them by name, and what is added to planted features, of shape (n_points, n)."""

    trial: nt.NullTrial
    analyses: Mapping[str, Analysis]
    effect: nt.Floats | None = None

    def counts(self, rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
        """For every analysis: whether a feature without effect is significant, and how many planted ones."""
        seed, scans = int(rng.integers(2**31)), self.trial.scans(rng)
        planted = 0 if self.effect is None else PLANTED
        if self.effect is not None:
            scans[:, :, :planted] += self.effect[:, :, None]
        found = {name: nt.significant(analyse(scans, seed)) for name, analyse in self.analyses.items()}
        return {
            name: np.array([significant[planted:].any(), significant[:planted].sum()])
            for name, significant in found.items()
        }


def as_designed(case: nt.Case) -> Analysis:
    """The analysis that a compiled case has."""
    made = nt.made(case)

    def analyse(scans: nt.Floats, seed: int) -> inference.TestResult:
        return made.test(*made.rows(np.random.default_rng(0), scans), seed)

    return analyse


def scans_as_people(column: nt.Floats) -> Analysis:
    """Every scan is a row, as if each were of another person; `column` has shape (n_points, n)."""
    tested = column.ravel()
    matrix = np.column_stack([np.ones(tested.size), tested - tested.mean()])

    def analyse(scans: nt.Floats, seed: int) -> inference.TestResult:
        rearranged = permutation_set(
            tested.size,
            "labels",
            matrix_effect=tested,
            n_permutations=nt.PERMUTATIONS,
            seed=seed,
            has_nuisance=False,
        )
        return inference.test(scans.reshape(tested.size, -1), matrix, [0.0, 1.0], rearranged)

    return analyse


# Both sessions of a person as rows ------------------------------------------------------------------


def group_of_scans() -> Comparison:
    """Does the mean of both sessions differ between groups?"""
    trial = nt.made(nt.by_time("group", 12, 12, response=0.0))
    column = np.tile(trial.contrast.tested, (2, 1))
    ours = as_designed(nt.by_time("group", 12, 12))
    return Comparison(trial, {"one row per person": ours, "one row per scan": scans_as_people(column)})


def slope_of_scans() -> Comparison:
    """Does connectivity go with age?"""
    trial = nt.made(nt.regression_plain(24, response=0.0))
    column = np.tile(trial.contrast.tested, (2, 1))
    ours = as_designed(nt.regression_plain(24))
    return Comparison(trial, {"one row per person": ours, "one row per scan": scans_as_people(column)})


def change_of_scans() -> Comparison:
    """Do sessions differ? Here rows of scans lose the power that scanning people twice was for."""
    trial = nt.made(nt.paired(24, response=0.0))
    column = np.repeat([[0.0], [1.0]], 24, axis=1)
    ours = as_designed(nt.paired(24))
    analyses = {"one row per person": ours, "one row per scan": scans_as_people(column)}
    return Comparison(trial, analyses, 0.6 * column)


# The baseline of a randomised trial -----------------------------------------------------------------


def baseline(correlation: float) -> Comparison:
    """20 and 20 people, variance 1 at both time points; the drug adds one standard deviation."""
    parts = {"person": correlation**0.5, "session": (1 - correlation) ** 0.5, "response": 0.0}
    trial = nt.made(nt.arms("adjusted", 20, 20, **parts))
    at_post = TwoSample(design="two_sample", at="post", group="arm", levels=nt.ARMS, **nt.only("difference"))
    analyses = {
        "adjusted for baseline": as_designed(nt.arms("adjusted", 20, 20)),
        "change": as_designed(nt.arms("change", 20, 20)),
        "after treatment only": as_designed(nt.Case(at_post, "difference", nt.armed(20, 20))),
    }
    effect = np.stack([np.zeros(40), (trial.contrast.cells == 0).astype(float)])
    return Comparison(trial, analyses, effect)


# The order of a crossover ---------------------------------------------------------------------------


def crossed(first: int, second: int) -> Comparison:
    """The second period adds 0.5 to everybody, the drug 0.7; variance of differences is 1."""
    parts = {"person": 1.0, "session": 0.5**0.5, "response": 0.0}
    trial = nt.made(nt.crossover("treatment", first, second, **parts))
    paired = Paired(design="paired", before="placebo", after="drug", **nt.only("change"))
    people, points = nt.crossed(first, second), ("drug", "placebo")
    analyses = {
        "sequence labels": as_designed(nt.crossover("treatment", first, second)),
        "sign flips with the period": as_designed(nt.crossover("treatmentFlips", first, second)),
        "paired, without the period": as_designed(nt.Case(paired, "change", people, points)),
    }
    effect = 0.7 * np.stack([np.ones(first + second), np.zeros(first + second)])
    return Comparison(trial, analyses, effect)


RIVALS: dict[str, Callable[[], Comparison]] = {
    "scans|group": group_of_scans,
    "scans|slope": slope_of_scans,
    "scans|change": change_of_scans,
    **{f"baseline|{r:g}": (lambda r=r: baseline(r)) for r in (0.2, 0.4, 0.6, 0.8)},
    **{f"crossover|{a}+{b}": (lambda a=a, b=b: crossed(a, b)) for a, b in ((12, 12), (16, 8))},
}
"""By the name that stands in the results."""


def counted(comparison: Comparison, sets: range, seed: int) -> dict[str, NDArray[np.int64]]:
    """False positives and planted features found, of each analysis, over sets with seeds of their own."""
    total = {name: np.zeros(2, dtype=np.int64) for name in comparison.analyses}
    for i in sets:
        for name, counts in comparison.counts(np.random.default_rng([seed, i])).items():
            total[name] += counts
    return total


def extended(entry: dict[str, Any] | None, comparison: Comparison, more: range, seed: int) -> dict[str, Any]:
    """An entry of the results with more sets."""
    before = entry["analyses"] if entry else {name: [0, 0] for name in comparison.analyses}
    counts = counted(comparison, more, seed)
    planted = 0 if comparison.effect is None else PLANTED
    total = {name: (np.array(before[name]) + counts[name]).tolist() for name in counts}
    return {"sets": more.stop, "planted": planted, "analyses": total}
