"""False positives of a design on null data sets that do not come from the test's own exchange.

Rearranging data as the test does gives alpha whatever is wrong with them. So null data are drawn in another
way: people are drawn again with replacement, from rows whose means were taken out. That keeps what the
exchange assumes away: skew of differences, unequal variances, a spread that goes with the predictor.

Drawing again from few rows has an error of its own: a handful of rows is never symmetric, and never has equal
variances, even when their population is. So the same is done with the same rows after their exchange, for
which the assumption holds. Nothing is blamed on the data that happens with those as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from conn import inference
from conn.errors import DesignError
from conn.glm import Floats
from conn.null_sets import (
    FEWEST_IN_PART,
    NullSet,
    Rng,
    arm_to_split,
    faultless,
    independent,
    resampled,
    split,
)
from conn.row_design import RowDesign

Method = Literal["resampled", "split", "independent"]

TOLERATED = 1.4
"""A rate is called liberal above this times alpha: 7 % instead of 5 %."""

REFERENCES = 19
"""Rearrangements beside the data: where the assumption holds, data are the highest in one study of 20."""

MOST_FEATURES = 500
CONFIDENCE = 0.95
MOST_DRAWS = 50
"""Draws that give no testable data set, one after the other, before a kind of null data is given up."""

SYMMETRY = (
    "that differences are symmetric, as sign flips take for granted: people are drawn again from the centred "
    "differences, with their skew"
)
EQUAL_SHAPES = (
    "that groups differ in nothing but their mean, as an exchange of labels takes for granted: people are "
    "drawn again within their group, with its own variance and skew"
)
EVEN_SPREAD = (
    "that the spread of errors does not go with the predictor, as an exchange of it takes for granted: "
    "people are drawn again with predictor, covariates and residuals"
)
SPLIT = (
    "the exchange of people itself: one arm is split at random into groups in the proportion of the design. "
    "Without covariates this holds for any data; with them it shows the error of Freedman and Lane's method"
)
INDEPENDENT = (
    "the exchange of people itself: values of the predictor are drawn independently of the rows. Without "
    "covariates this holds for any data; with them it shows the error of Freedman and Lane's method"
)


@dataclass(frozen=True)
class NullCheck:
    """False positives of one kind of null data sets.

    Attributes
    ----------
    method
        ``resampled``: people drawn again within cells; ``split``: one arm split at random; ``independent``:
        predictor drawn independently of the rows.
    assumption
        What it probes, in words.
    sets, false
        Null data sets, and those of them with a family-wise p of at most alpha.
    rate, low, high
        `false` / `sets` with its 95 % Clopper-Pearson interval.
    uncorrected
        Share of single tests with an uncorrected p of at most alpha.
    features
        Number of tests in the family of each set.
    references
        Rates of the same check of the same rows rearranged as the test does, for which the assumption holds;
        one per rearrangement. Empty for methods whose null data need no reference.
    alpha
        Family-wise error that the design promises.
    impossible
        Why there are no sets; empty when there are.
    """

    method: Method
    assumption: str
    sets: int
    false: int
    rate: float
    low: float
    high: float
    uncorrected: float
    features: int
    alpha: float
    references: tuple[float, ...] = ()
    impossible: str = ""

    @property
    def limit(self) -> float:
        """Rate above which a design is called liberal."""
        return TOLERATED * self.alpha

    @property
    def too_high(self) -> bool:
        """Whether the estimated rate, not the end of its interval, is above the limit."""
        return self.rate > self.limit

    @property
    def liberal(self) -> bool:
        """Whether the rate is above the limit, its interval above alpha, and no rearrangement as high."""
        return self.too_high and self.low > self.alpha and self.rate > max(self.references, default=0.0)


def check_nulls(
    data: Floats,
    design: RowDesign,
    *,
    covariate: Floats | None = None,
    sets: int = 200,
    permutations: int = 200,
    alpha: float = 0.05,
    seed: int = 0,
    references: int = REFERENCES,
) -> tuple[NullCheck, ...]:
    """False positives of a design on null data made from its own rows.

    Parameters
    ----------
    data
        ndarray of shape (n, n_features), finite, at most 500 features: one row per person. With several
        values in a row, of shape (q, n, n_features).
    design
        How it is tested.
    covariate
        ndarray of the shape of `data`: a column that each feature has of its own, such as its baseline. It
        stays with the people.
    sets, permutations
        Null data sets per method, and rearrangements of each.
    alpha
        Family-wise error asked for.
    seed
        Same seed, same result.
    references
        Rearrangements of the rows that the resampled rate is compared with.

    Returns
    -------
    tuple of NullCheck
        ``resampled`` first; ``split`` where groups are compared, ``independent`` for a predictor, also beside
        groups. A kind that cannot be drawn says why.

    Raises
    ------
    DesignError
        Shapes that do not fit, missing values, or too many features.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (exchangeability); Freedman 1981,
    10.1214/aos/1176345638 (rows drawn with their residuals); Clopper and Pearson 1934,
    10.1093/biomet/26.4.404.
    """
    _check(data, design, covariate, sets)
    own, *cohorts = np.random.SeedSequence(seed).spawn(1 + references)
    rng = np.random.default_rng(own)
    rows = NullSet(np.asarray(data, dtype=np.float64), design, covariate)
    count = _Count(sets, permutations, alpha)
    first = count.of("resampled", _assumption(design), resampled(rng, rows), rng)
    rates = []
    for cohort in map(np.random.default_rng, () if first.impossible else cohorts):
        right = replace(rows, data=faultless(cohort, rows.data, design, covariate))
        rates.append(count.of("resampled", "", resampled(cohort, right), cohort))
    found = [replace(first, references=tuple(one.rate for one in rates if not one.impossible))]
    if design.compares_groups:
        found.append(_split_check(rng, rows, count))
    elif design.exchange == "labels":
        found.append(count.of("independent", INDEPENDENT, independent(rng, rows), rng))
    return tuple(found)


def _check(data: Floats, design: RowDesign, covariate: Floats | None, sets: int) -> None:
    if data.ndim not in (2, 3) or data.shape[-2] != design.n:
        raise DesignError(f"data has shape {data.shape}; the design matrix has {design.n} rows")
    if covariate is not None and covariate.shape != data.shape:
        raise DesignError(f"the covariate has shape {covariate.shape} and the data {data.shape}")
    if not all(np.isfinite(values).all() for values in (data, covariate) if values is not None):
        raise DesignError("data has missing values; leave the features out that have them")
    if not 1 <= data.shape[-1] <= MOST_FEATURES:
        raise DesignError(f"data has {data.shape[-1]} features; null data sets have 1 to {MOST_FEATURES}")
    if sets < 1:
        raise DesignError(f"the number of null data sets is {sets}; it must be at least 1")


def _assumption(design: RowDesign) -> str:
    if design.exchange == "flips":
        return SYMMETRY
    return EQUAL_SHAPES if design.compares_groups else EVEN_SPREAD


def _split_check(rng: Rng, rows: NullSet, count: _Count) -> NullCheck:
    """One arm, the largest, in parts whose sizes have the ratio of the groups."""
    arm, smallest = arm_to_split(rows.design)
    if smallest < FEWEST_IN_PART:
        words = (
            f"the largest arm has {arm.size} people, and a part of it in the ratio of the groups "
            f"{smallest:.1f}; at least {FEWEST_IN_PART} are needed"
        )
        return count.none("split", SPLIT, words)
    return count.of("split", SPLIT, split(rng, rows), rng)


# Counting --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Count:
    """Tests null data sets and counts false positives."""

    sets: int
    permutations: int
    alpha: float

    def of(self, method: Method, assumption: str, made: Iterator[NullSet], rng: Rng) -> NullCheck:
        false, single, features = 0, 0.0, 0
        for _ in range(self.sets):
            try:
                result = self._next(made, rng)
            except DesignError as error:
                return self.none(method, assumption, str(error))
            corrected = inference.correct([result], self.alpha).results[0]
            features = max(features, int(result.valid.sum()))
            false += bool((corrected.p_fwe[result.valid] <= self.alpha).any())
            single += float((result.p[result.valid] <= self.alpha).mean())
        low, high = clopper_pearson(false, self.sets)
        rate, uncorrected = false / self.sets, single / self.sets
        return NullCheck(
            method, assumption, self.sets, false, rate, low, high, uncorrected, features, self.alpha
        )

    def none(self, method: Method, assumption: str, why: str) -> NullCheck:
        """No null data of a kind, and why."""
        nan = float("nan")
        return NullCheck(method, assumption, 0, 0, nan, nan, nan, nan, 0, self.alpha, impossible=why)

    def _next(self, made: Iterator[NullSet], rng: Rng) -> inference.TestResult:
        """Test the next set that can be: a draw may hold too few different people."""
        problem = "no feature varies"
        for _ in range(MOST_DRAWS):
            one = next(made)
            try:
                result = one.design.test(one.data, self.permutations, _seed(rng), one.covariate)
            except DesignError as error:
                problem = str(error)
                continue
            if result.valid.any():
                return result
        raise DesignError(
            f"{MOST_DRAWS} draws in a row cannot be tested ({problem}); there are too few people for so many "
            "columns, groups or strata"
        )


def _seed(rng: Rng) -> int:
    return int(rng.integers(2**32))


def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a share.

    Parameters
    ----------
    count, total
        Successes and trials.
    confidence
        Coverage, at least.

    References
    ----------
    Clopper and Pearson 1934, 10.1093/biomet/26.4.404.
    """
    found = stats.binomtest(count, total).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)
