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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conn import inference
from conn.errors import DesignError
from conn.glm import Floats, residuals
from conn.permutation import Exchange, permutation_set

Codes = NDArray[np.int64]
Rng = np.random.Generator
Method = Literal["resampled", "split", "independent"]

TOLERATED = 1.4
"""A rate is called liberal above this times alpha: 7 % instead of 5 %."""

REFERENCES = 19
"""Rearrangements beside the data: where the assumption holds, data are the highest in one study of 20."""

MOST_FEATURES = 500
CONFIDENCE = 0.95
FEWEST_IN_CELL = 3
FEWEST_IN_PART = 2
MOST_DRAWS = 50
"""Draws that give no testable data set, one after the other, before it is an error."""

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


@dataclass(frozen=True, eq=False)
class RowDesign:
    """How the rows of a contrast are tested.

    Attributes
    ----------
    matrix : ndarray of shape (n, p)
        Full column rank; the first column is the intercept.
    contrast : ndarray of shape (p,)
        Picks one column, the tested one.
    exchange
        ``flips`` or ``labels``.
    strata : ndarray of shape (n,), int
        Rows change places within equal values.
    variance_groups : ndarray of shape (n,), int
        Rows of equal value share a variance.
    groups : ndarray of shape (n,), int
        The group of each row; all equal when the design has none.
    has_nuisance
        Whether the test has nuisance that changes when rows are exchanged.
    own_variances
        Each row has an error variance of its own.
    """

    matrix: Floats
    contrast: Floats
    exchange: Exchange
    strata: Codes
    variance_groups: Codes
    groups: Codes
    has_nuisance: bool
    own_variances: bool = False

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.matrix.shape[0])

    @property
    def column(self) -> int:
        """Place of the tested column."""
        return int(np.argmax(np.abs(self.contrast)))

    @property
    def tested(self) -> Floats:
        """The tested column, of shape (n,)."""
        return np.asarray(self.matrix[:, self.column])

    @property
    def compares_groups(self) -> bool:
        """Whether the tested column says nothing but the group."""
        return self.exchange == "labels" and np.unique(self.groups).size == 2


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
        ndarray of shape (n, n_features), finite, at most 500 features: one row per person.
    design
        How it is tested.
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
        ``resampled`` first; ``split`` for two groups, ``independent`` for a predictor.

    Raises
    ------
    DesignError
        Shapes that do not fit, missing values, too many features, or rows from which no null data can be
        drawn.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (exchangeability); Freedman 1981,
    10.1214/aos/1176345638 (rows drawn with their residuals); Clopper and Pearson 1934,
    10.1093/biomet/26.4.404.
    """
    _check(data, design, sets)
    own, *cohorts = np.random.SeedSequence(seed).spawn(1 + references)
    rng = np.random.default_rng(own)
    clean = np.asarray(data, dtype=np.float64)
    count = _Count(sets, permutations, alpha)
    found = [count.of("resampled", _assumption(design), _resampled(rng, clean, design), rng)]
    rates = []
    for cohort in map(np.random.default_rng, cohorts):
        right = faultless(cohort, clean, design)
        rates.append(count.of("resampled", "", _resampled(cohort, right, design), cohort).rate)
    found[0] = replace(found[0], references=tuple(rates))
    if design.compares_groups:
        found.append(_split_check(rng, clean, design, count))
    elif design.exchange == "labels" and np.unique(design.groups).size == 1:
        found.append(count.of("independent", INDEPENDENT, _independent(rng, clean, design), rng))
    return tuple(found)


def _check(data: Floats, design: RowDesign, sets: int) -> None:
    if data.ndim != 2 or data.shape[0] != design.n:
        raise DesignError(f"data has shape {data.shape}; the design matrix has {design.n} rows")
    if not np.isfinite(data).all():
        raise DesignError("data has missing values; leave the features out that have them")
    if not 1 <= data.shape[1] <= MOST_FEATURES:
        raise DesignError(f"data has {data.shape[1]} features; null data sets have 1 to {MOST_FEATURES}")
    if sets < 1:
        raise DesignError(f"the number of null data sets is {sets}; it must be at least 1")


def _assumption(design: RowDesign) -> str:
    if design.exchange == "flips":
        return SYMMETRY
    return EQUAL_SHAPES if design.compares_groups else EVEN_SPREAD


# Null data -------------------------------------------------------------------------------------------

_Set = tuple[Floats, RowDesign]
"""Data of a null set, and how it is tested."""


def cells(design: RowDesign) -> Codes:
    """Within which rows people are drawn again: group × stratum, or the group when some cell is too small.

    Returns
    -------
    ndarray of shape (n,), int
    """
    both = np.unique(np.column_stack([design.groups, design.strata]), axis=0, return_inverse=True)[1]
    fine = np.asarray(both).reshape(-1).astype(np.int64)
    return fine if np.bincount(fine).min() >= FEWEST_IN_CELL else design.groups


def centred(data: Floats, design: RowDesign) -> Floats:
    """Rows without any effect, means of cells included; each cell keeps its own variance.

    Residuals of a cell are too small, since its mean and the covariates were fitted to it. That is made good
    by one factor per cell.

    Parameters
    ----------
    data
        ndarray of shape (n, n_features).
    design
        How it is tested.
    """
    codes = cells(design)
    dummies = (codes[:, None] == np.unique(codes)).astype(np.float64)
    left, values, _ = np.linalg.svd(np.column_stack([design.matrix, dummies]), full_matrices=False)
    basis = left[:, values > 1e-8 * values[0]]
    free = 1 - np.square(basis).sum(axis=1)
    factor = np.ones(design.n)
    for code in np.unique(codes):
        rows = codes == code
        factor[rows] = np.sqrt(rows.sum() / max(free[rows].sum(), 0.5))
    # The factor may bring back a little of the effects.
    return residuals(residuals(data, basis) * factor[:, None], basis)


def faultless(rng: Rng, data: Floats, design: RowDesign) -> Floats:
    """The rows without effects, rearranged at random as the test does: what it assumes then holds.

    People keep what is no fault: how noisy each of them is, and how edges go together.

    Parameters
    ----------
    rng
        Source of random numbers.
    data
        ndarray of shape (n, n_features).
    design
        How it is tested.

    Returns
    -------
    ndarray of shape (n, n_features)
    """
    rows = centred(data, design)
    if design.exchange == "flips":
        return np.asarray(rows * rng.choice([-1.0, 1.0], (design.n, 1)))
    order = np.arange(design.n)
    for code in np.unique(design.strata):
        own = np.flatnonzero(design.strata == code)
        order[own] = rng.permutation(own)
    return rows[order]


def _resampled(rng: Rng, data: Floats, design: RowDesign) -> Iterator[_Set]:
    """People drawn again within cells, each with all that the design says of the person."""
    rows, codes = centred(data, design), cells(design)
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    while True:
        drawn = np.sort(np.concatenate([rng.choice(own, own.size) for own in members]))
        yield rows[drawn], _of_rows(design, drawn)


def _of_rows(design: RowDesign, rows: Codes) -> RowDesign:
    named = ("matrix", "strata", "variance_groups", "groups")
    return replace(design, **{name: getattr(design, name)[rows] for name in named})


def _independent(rng: Rng, data: Floats, design: RowDesign) -> Iterator[_Set]:
    """Rows drawn again, and values of the predictor drawn again independently of them."""
    rows = centred(data, design)
    while True:
        drawn = rng.choice(design.n, design.n)
        made = _of_rows(design, drawn)
        yield rows[drawn], _with_tested(made, design.tested[rng.choice(design.n, design.n)])


def _with_tested(design: RowDesign, values: Floats) -> RowDesign:
    matrix = design.matrix.copy()
    matrix[:, design.column] = values
    return replace(design, matrix=matrix)


def _split_check(rng: Rng, data: Floats, design: RowDesign, count: _Count) -> NullCheck:
    """One arm, the largest, in two parts whose sizes have the ratio of the groups."""
    sizes = np.bincount(design.groups)
    arm = np.flatnonzero(design.groups == sizes.argmax())
    smaller = arm.size * sizes.min() / design.n
    if smaller < FEWEST_IN_PART:
        words = (
            f"the largest arm has {arm.size} people, and a part of it in the ratio of the groups "
            f"{smaller:.1f}; at least {FEWEST_IN_PART} are needed"
        )
        nan = float("nan")
        return NullCheck("split", SPLIT, 0, 0, nan, nan, nan, nan, 0, count.alpha, impossible=words)
    share = float(sizes[1] / design.n)
    return count.of("split", SPLIT, _split(rng, data[arm], _of_rows(design, arm), share), rng)


def _split(rng: Rng, data: Floats, arm: RowDesign, share: float) -> Iterator[_Set]:
    """One arm with random labels, `share` of each stratum in the second group."""
    welch = not np.isclose(share, 0.5)
    while True:
        second = np.zeros(arm.n, dtype=np.int64)
        for code in np.unique(arm.strata):
            rows = rng.permutation(np.flatnonzero(arm.strata == code))
            second[rows[: int(share * rows.size + rng.random())]] = 1
        if FEWEST_IN_PART <= second.sum() <= arm.n - FEWEST_IN_PART:
            groups = second if welch else np.zeros_like(second)
            made = _with_tested(arm, np.where(second == 1, -0.5, 0.5))
            yield data, replace(_estimable(made), groups=second, variance_groups=groups)


def _estimable(design: RowDesign) -> RowDesign:
    """Without the covariates that say nothing within one arm; intercept and tested column stay."""
    first = [0, design.column]
    kept = list(first)
    for j in sorted(set(range(design.matrix.shape[1])) - set(first)):
        if np.linalg.matrix_rank(_scaled(design.matrix[:, [*kept, j]]), tol=1e-8) > len(kept):
            kept.append(j)
    return replace(design, matrix=design.matrix[:, kept], contrast=design.contrast[kept])


def _scaled(matrix: Floats) -> Floats:
    norms = np.linalg.norm(matrix, axis=0)
    return np.asarray(matrix / np.where(norms, norms, 1.0))


# Counting --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Count:
    """Tests null data sets and counts false positives."""

    sets: int
    permutations: int
    alpha: float

    def of(self, method: Method, assumption: str, made: Iterator[_Set], rng: Rng) -> NullCheck:
        false, single, features = 0, 0.0, 0
        for _ in range(self.sets):
            result = self._next(made, rng)
            corrected = inference.correct([result], self.alpha).results[0]
            features = max(features, int(result.valid.sum()))
            false += bool((corrected.p_fwe[result.valid] <= self.alpha).any())
            single += float((result.p[result.valid] <= self.alpha).mean())
        low, high = clopper_pearson(false, self.sets)
        rate, uncorrected = false / self.sets, single / self.sets
        return NullCheck(
            method, assumption, self.sets, false, rate, low, high, uncorrected, features, self.alpha
        )

    def _next(self, made: Iterator[_Set], rng: Rng) -> inference.TestResult:
        """Test the next set that can be: a draw may hold too few different people."""
        problem = "no feature varies"
        for _ in range(MOST_DRAWS):
            data, design = next(made)
            try:
                result = self._test(data, design, int(rng.integers(2**32)))
            except DesignError as error:
                problem = str(error)
                continue
            if result.valid.any():
                return result
        raise DesignError(
            f"null data: {MOST_DRAWS} draws in a row cannot be tested ({problem}). There are too few people "
            "for so many columns, groups or strata."
        )

    def _test(self, data: Floats, design: RowDesign, seed: int) -> inference.TestResult:
        own = permutation_set(
            design.n,
            design.exchange,
            strata=design.strata,
            matrix_effect=design.tested,
            n_permutations=self.permutations,
            seed=seed,
            has_nuisance=design.has_nuisance,
        )
        groups: Any = design.variance_groups if np.ptp(design.variance_groups) else None
        return inference.test(
            data, design.matrix, design.contrast, own, groups, own_variances=design.own_variances
        )


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
