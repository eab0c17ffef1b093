"""Trials in which nothing is there, simulated at the level of results, for every contrast of every design.

A scan is ``spread * (person + growth * response + session)`` plus what the design holds constant. The person
is shared by all scans of somebody, the response by all scans after treatment, the session is of one scan.
Matrices, weights and exchange are those of the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import inference
from conn.config.model import (
    Contrast,
    Crossover,
    Formula,
    GroupByTime,
    Model,
    Moderator,
    OneSample,
    Paired,
    ParallelArms,
    Regression,
    TreatmentByOutcome,
    TwoSample,
    Within,
)
from conn.design import Design, DesignContrast
from conn.stages.rows import rearrangements
from trials import CATEGORIES, INFERENCE, compiled, contrast, trial

Floats = NDArray[np.float64]
ALPHA = 0.05
N_FEATURES = 20
PERMUTATIONS = 199
"""With the identity 200, so that 5 % are 10 of them."""

LOGNORMAL = 0.8
"""Of the logarithm of skewed persons and responses; rows then have a skewness of 1.6 to 2.3."""

GROWTH = {"pre": 0.0, "mid": 0.5, "post": 1.0, "placebo": 0.0, "drug": 1.0}
"""Share of the response at a time point or in a condition."""

ARMS = ("drug", "placebo")
THREE = ("drug", "placebo", "cbt")
ORDERS = ("drugFirst", "placeboFirst")
OUTCOMES = ("responder", "nonresponder")
LEVELS = ("drug", "responder", "A", "f", "placebo", "nonresponder", "B", "m", "cbt")
"""Four of code 0, four of code 1, one of code 2."""

Held = Mapping[str, tuple[float, float]]
"""What a design holds constant: effect on every scan, and its growth, per unit or level of a variable."""


def noise(rng: np.random.Generator, n: int, n_features: int, *, skewed: bool = False) -> Floats:
    """Rows of variance 1 whose features are correlated by 0.36."""
    plain = 0.6 * rng.normal(size=(n, 1)) + 0.8 * rng.normal(size=(n, n_features))
    if not skewed:
        return plain
    variance = LOGNORMAL**2
    return (np.exp(LOGNORMAL * plain) - np.exp(variance / 2)) / np.sqrt(
        np.exp(variance) * (np.exp(variance) - 1)
    )


@dataclass(frozen=True, eq=False)
class Case:
    """A contrast, its people, and what their scans are made of.

    Attributes
    ----------
    model, name, people, points
        What is compiled.
    held
        Effects that the design has to hold constant.
    ratio
        Standard deviation of the last cell over that of the first (of the largest predictor over that of the
        mean, where there are no cells; of the outcome's errors in the last arm, where scans explain it).
    skewed
        Whether persons and responses are skewed.
    absent
        Share of values that are missing, in half of the features.
    person, session, response
        Standard deviations.
    robust
        As `inference.robust_slopes`.
    """

    model: Model
    name: str
    people: Mapping[str, Mapping[str, Any]]
    points: tuple[str, ...] = ("pre", "post")
    held: Held = field(default_factory=dict)
    ratio: float = 1.0
    skewed: bool = False
    absent: float = 0.0
    person: float = 1.0
    session: float = 0.6
    response: float = 1.0
    robust: bool = True


@dataclass(frozen=True, eq=False)
class NullTrial:
    """A compiled case: draws data and tests them.

    Attributes
    ----------
    case, contrast
        What is simulated, and how it is tested.
    weights : ndarray of shape (q, n, n_points)
        Of each value of a row.
    own : ndarray of shape (n, n_points) or None
        Of the baseline of each feature.
    fixed : ndarray of shape (n_points, n)
        What is held constant.
    spread : ndarray of shape (n,)
        Standard deviation of a row, as a factor.
    """

    case: Case
    contrast: DesignContrast
    weights: Floats
    own: Floats | None
    fixed: Floats
    spread: Floats

    def scans(self, rng: np.random.Generator, n_features: int = N_FEATURES) -> Floats:
        """Scans of shape (n_points, n, n_features)."""
        case, n = self.case, self.contrast.n
        person = case.person * noise(rng, n, n_features, skewed=case.skewed)
        response = case.response * noise(rng, n, n_features, skewed=case.skewed)
        made = [
            person + GROWTH[point] * response + case.session * noise(rng, n, n_features)
            for point in case.points
        ]
        return self.spread[:, None] * np.array(made) + self.fixed[:, :, None]

    def rows(self, rng: np.random.Generator, scans: Floats) -> tuple[Floats, Floats | None]:
        """Data of the rows, with what is missing, and the baseline of each feature."""
        data = np.einsum("qnp,pnf->qnf", self.weights, scans)
        data = data if len(data) > 1 else data[0]
        if self.case.absent:
            gone = rng.random(data.shape) < self.case.absent
            data[:, ::2][gone[:, ::2]] = np.nan
        return data, None if self.own is None else np.einsum("np,pnf->nf", self.own, scans)

    def test(
        self, data: Floats, own: Floats | None, seed: int, permutations: int = PERMUTATIONS
    ) -> inference.TestResult:
        """Test rows as the design says."""
        one = self.contrast
        rearranged = rearrangements(one, permutations, seed)
        options: dict[str, Any] = {"covariate": own, "own_variances": one.own_variances}
        if self.case.absent:
            options |= {"cells": one.counted_cells, "min_share": 0.5}
        groups = one.variance_groups if np.ptp(one.variance_groups) else None
        return inference.test(data, one.matrix, one.contrast, rearranged, groups, **options)

    def is_false(self, rng: np.random.Generator) -> bool:
        """Whether null data have a family-wise false positive."""
        seed, scans = int(rng.integers(2**31)), self.scans(rng)
        return bool(significant(self.test(*self.rows(rng, scans), seed)).any())


PROGNOSIS = 0.4
"""Slope of the outcome on feature 0 in both arms: an effect that moderation has to hold constant."""


@dataclass(frozen=True, eq=False)
class OutcomeTrial(NullTrial):
    """A trial whose outcome is explained by scans: it is drawn with them.

    Attributes
    ----------
    errors : ndarray of shape (n,)
        Standard deviation of a person's outcome.
    """

    errors: Floats

    def is_false(self, rng: np.random.Generator) -> bool:
        """Whether null data have a family-wise false positive."""
        seed, scans = int(rng.integers(2**31)), self.scans(rng)
        data, own = self.rows(rng, scans)
        return bool(significant(self.with_outcome(rng, scans).test(data, own, seed)).any())

    def with_outcome(self, rng: np.random.Generator, scans: Floats) -> OutcomeTrial:
        """The same trial with scores drawn anew: baseline, arm and perhaps scans explain the outcome."""
        one, scale = self.contrast, self.case.model.outcome.partition(".")[0]
        noisy = noise(rng, one.n, 1, skewed=self.case.skewed)[:, 0]
        start = rng.normal(size=one.n)
        end = 0.5 * start - (one.cells == 0) + self.errors * noisy
        if one.covariate_weights:
            end += PROGNOSIS * scans[self.case.points.index(self.case.model.at), :, 0]
        matrix = one.matrix.copy()
        for name, values in ((f"{scale}.pre", start), (self.case.model.outcome, end)):
            matrix[:, one.columns.index(name)] = values - values.mean()
        return replace(self, contrast=replace(one, matrix=matrix))


def significant(result: inference.TestResult) -> NDArray[np.bool_]:
    """Features with a family-wise p of at most 5 %; the family is one test."""
    return inference.correct([result], ALPHA).results[0].p_fwe <= ALPHA


def design_of(case: Case, tables: tuple[pd.DataFrame, pd.DataFrame] | None = None) -> Design:
    """The model of a case, compiled."""
    chosen = INFERENCE.model_copy(update={"robust_slopes": case.robust})
    return compiled(case.model, tables or trial(case.people, case.points), chosen)


def made(case: Case) -> NullTrial:
    """Compile a case."""
    tables = trial(case.people, case.points)
    one = contrast(design_of(case, tables), case.name)
    weights = [_weights(one, w, case.points) for w in (one.run_weights, *one.more_weights)]
    own = _weights(one, one.covariate_weights, case.points) if one.covariate_weights else None
    cohort = tables[0].set_index(["subject", "time_point"])
    subjects = [subject for _, subject in one.subjects]
    fixed = sum(
        (_effect(cohort, subjects, case.points, name, size) for name, size in case.held.items()),
        np.zeros((len(case.points), one.n)),
    )
    spread = _spread(one, case)
    if one.effect_type == "outcome":
        return OutcomeTrial(case, one, np.array(weights), own, fixed, np.ones(one.n), spread)
    return NullTrial(case, one, np.array(weights), own, fixed, spread)


def _weights(one: DesignContrast, weights: Sequence[Mapping[str, float]], points: Sequence[str]) -> Floats:
    people = [subject for _, subject in one.subjects]
    return np.array(
        [[row.get(f"r{s}{p}", 0.0) for p in points] for s, row in zip(people, weights, strict=True)]
    )


def _effect(
    cohort: Any, subjects: Sequence[str], points: Sequence[str], name: str, size: tuple[float, float]
) -> Floats:
    """What a variable does to scans, of shape (n_points, n).

    Numbers act around their mean: a mean change of people of mean age must stay 0.
    """
    codes = np.array([[_code(cohort.loc[(s, point)], name, point) for s in subjects] for point in points])
    if name not in ("time", "period", "response", *CATEGORIES):
        codes -= codes.mean(axis=1, keepdims=True)
    growth = np.array([GROWTH[point] for point in points])
    return codes * (size[0] + size[1] * growth)[:, None]


def _code(row: Any, name: str, point: str) -> float:
    """Value of a variable in a scan; levels of a category are counted."""
    if name == "time":
        return 1.0
    if name == "period":
        return float((point == "drug") != (row["order"] == "drugFirst"))
    if name in (*CATEGORIES, "response"):
        return float(LEVELS.index(row[name]) // 4)
    return float(row[name])


def _spread(one: DesignContrast, case: Case) -> Floats:
    """Standard deviations from 1 in the first cell to `ratio` in the last, or along the predictor."""
    cells, count = one.cells, len(one.levels)
    if case.model.design == "formula":
        cells = np.array([THREE.index(case.people[subject]["arm"]) for _, subject in one.subjects])
        count = cells.max() + 1
    if count:
        return np.linspace(1.0, case.ratio, count)[cells]
    far = np.abs(one.tested - one.tested.mean())
    return 1 + (case.ratio - 1) * far / far.max() if far.max() > 1e-12 else np.ones(one.n)


def false_positives(one: NullTrial, sets: int | range, seed: int) -> int:
    """Number of null sets with a family-wise false positive; a set has its own seed."""
    numbers = range(sets) if isinstance(sets, int) else sets
    return sum(one.is_false(np.random.default_rng([seed, i])) for i in numbers)


# People ---------------------------------------------------------------------------------------------


def people(**cells: int) -> dict[str, dict[str, Any]]:
    """People by cell, as in ``people(drug=4, placebo=5)`` or ``people(drug_responder=3)``.

    Everybody has an age, a sex and a site that go round within cells.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, count in cells.items():
        first, _, second = name.partition("_")
        for i in range(count):
            one = {"arm": first, "order": first, "response": second or "n/a"}
            one |= {"sex": "fm"[i % 2], "site": "A" if i % 3 else "B", "age": 20 + (13 * len(found)) % 41}
            found[f"{len(found) + 1:03d}"] = one
    return found


def crossed(*sizes: int) -> dict[str, dict[str, Any]]:
    """People of a crossover by sequence."""
    return people(**dict(zip(ORDERS, sizes, strict=True)))


def armed(*sizes: int) -> dict[str, dict[str, Any]]:
    """People by arm: drug, placebo and perhaps cbt."""
    return people(**dict(zip(THREE, sizes, strict=False)))


def factorial(*sizes: int) -> dict[str, dict[str, Any]]:
    """People by arm and outcome: drug responders, drug nonresponders, and the same of placebo."""
    cells = [f"{arm}_{outcome}" for arm in ARMS for outcome in OUTCOMES]
    return people(**dict(zip(cells, sizes, strict=True)))


# Models ---------------------------------------------------------------------------------------------

Made = Callable[..., Case]


def only(name: str) -> dict[str, Any]:
    return {"contrasts": {name: Contrast()}, "sensitivity": "none"}


def paired(n: int, **options: Any) -> Case:
    model = Paired(design="paired", before="pre", after="post", **only("change"))
    return Case(model, "change", armed(n), **options)


def paired_motion(n: int, **options: Any) -> Case:
    model = Paired(
        design="paired", before="pre", after="post", covariates=("mean_fd", "age"), **only("change")
    )
    return Case(model, "change", armed(n), held={"mean_fd": (4.0, 0.0), "age": (0.02, 0.03)}, **options)


def one_sample(n: int, **options: Any) -> Case:
    return Case(OneSample(design="one_sample", at="post", **only("mean")), "mean", armed(n), **options)


def two_sample(*sizes: int, **options: Any) -> Case:
    levels = THREE[: len(sizes)]
    model = TwoSample(design="two_sample", at="pre", group="arm", levels=levels, **only("difference"))
    return Case(model, "difference", armed(*sizes), held={"time": (0.3, 0.0)}, **options)


def two_sample_strata(*sizes: int, **options: Any) -> Case:
    model = TwoSample(
        design="two_sample", at="pre", group="arm", levels=ARMS, strata=("site",), **only("difference")
    )
    return Case(model, "difference", armed(*sizes), held={"site": (1.0, 0.0)}, **options)


def by_time(name: str, *sizes: int, covariates: tuple[str, ...] = (), **options: Any) -> Case:
    """Of an interaction, groups may differ before; of time, groups may change apart around no mean change."""
    model = GroupByTime(
        design="group_by_time",
        before="pre",
        after="post",
        group="arm",
        levels=THREE[: len(sizes)],
        covariates=covariates,
        **only(name),
    )
    held = {"interaction": {"arm": (0.5, 0.0), "time": (0.0, 0.5)}, "group": {"time": (0.2, 0.5)}}.get(
        name, {}
    )
    held = held | ({"age": (0.02, 0.03)} if "age" in covariates else {})
    return Case(model, name, armed(*sizes), held=held, **options)


def arms(name: str, *sizes: int, covariates: tuple[str, ...] = (), **options: Any) -> Case:
    model = ParallelArms(
        design="parallel_arms",
        before="pre",
        after="post",
        arm="arm",
        levels=THREE[: len(sizes)],
        randomised=True,
        covariates=covariates,
        **only(name),
    )
    held = {"time": (0.0, 0.5)} | ({"age": (0.02, 0.03)} if "age" in covariates else {})
    return Case(model, name, armed(*sizes), held=held, **options)


def crossover(name: str, *sizes: int, **options: Any) -> Case:
    """The period acts in all contrasts but its own, the treatment in its own and in that of carry-over."""
    model = Crossover(
        design="crossover",
        treatment="drug",
        control="placebo",
        sequence="order",
        levels=ORDERS,
        **only(name),
    )
    held = {} if name == "period" else {"period": (0.5, 0.0)}
    held |= {"time": (0.0, 0.7)} if name in ("period", "carryover") else {}
    return Case(model, name, crossed(*sizes), ("drug", "placebo"), held=held, **options)


def within(name: str, *sizes: int, **options: Any) -> Case:
    groups = {"group": "arm", "levels": THREE[: len(sizes)]} if len(sizes) > 1 else {}
    model = Within(design="within", points=("pre", "mid", "post"), **groups, **only(name))
    held = {"time": (0.0, 0.5)} if name == "groupByWithin" else {}
    return Case(model, name, armed(*sizes), ("pre", "mid", "post"), held=held, **options)


def by_outcome(name: str, *sizes: int, **options: Any) -> Case:
    """Main effects are there; they are nothing to the interaction, and one is nothing to the other."""
    model = TreatmentByOutcome(
        design="treatment_by_outcome",
        before="pre",
        after="post",
        arm="arm",
        arm_levels=ARMS,
        outcome="response",
        outcome_levels=OUTCOMES,
        **only(name),
    )
    held = {"time": (0.0, 0.4), "arm": (0.0, 0.6), "response": (0.0, 0.6)}
    held = {key: size for key, size in held.items() if key != {"outcome": "response"}.get(name, name)}
    return Case(model, name, factorial(*sizes), held=held, **options)


def regression(n: int, **options: Any) -> Case:
    model = Regression(
        design="regression",
        before="pre",
        after="post",
        predictor="MADRS.change",
        covariates=("age",),
        **only("slope"),
    )
    return Case(model, "slope", armed(n), held={"age": (0.02, 0.05), "time": (0.0, 0.5)}, **options)


def regression_plain(n: int, **options: Any) -> Case:
    model = Regression(design="regression", at="pre", predictor="age", **only("slope"))
    return Case(model, "slope", armed(n), **options)


def moderator(name: str, *sizes: int, **options: Any) -> Case:
    model = Moderator(
        design="moderator", at="pre", arm="arm", levels=ARMS, outcome="MADRS.post", **only(name)
    )
    return Case(model, name, armed(*sizes), **options)


def formula(*sizes: int, exchange: str = "labels", **options: Any) -> Case:
    tests = {"groups": ("arm=drug", "arm=placebo")}
    model = Formula(design="formula", at="pre", formula="age + arm + sex", tests=tests, sensitivity="none")
    held = {"age": (0.05, 0.0), "sex": (0.5, 0.0)}
    return Case(model, "groups", armed(*sizes), held=held, **options)


def formula_weighted(*sizes: int, **options: Any) -> Case:
    tests = {"product": {"arm=placebo:sex=m": 1.0}}
    model = Formula(design="formula", at="pre", formula="age + arm * sex", tests=tests, sensitivity="none")
    held = {"age": (0.05, 0.0), "sex": (0.5, 0.0), "arm": (0.5, 0.0)}
    return Case(model, "product", armed(*sizes), held=held, **options)


def missing(case: Case, share: float = 0.12) -> Case:
    """The same with values missing at random in half of the features."""
    return replace(case, absent=share)
