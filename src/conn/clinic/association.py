"""Change with change: connectivity and scores across people, one family over all scales and features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn import inference
from conn.clinic.correlations import KINDS, Kind, bent, product, residuals, span, without
from conn.clinic.estimates import Estimate, estimate
from conn.clinic.people import People
from conn.clinic.resampling import Rows, replicates
from conn.errors import DesignError
from conn.inference import FamilyResult, TestResult
from conn.multiplicity import fdr
from conn.permutation import PermutationSet, permutation_set

Floats = NDArray[np.float64]

FEWEST_DF = 3
"""Degrees of freedom of a correlation, people minus columns, below which there is no interval."""


@dataclass(frozen=True, eq=False)
class Association:
    """Correlations of one set of people; shapes (n_scales, n_features), NaN where nothing was tested.

    Attributes
    ----------
    n, df
        People, and degrees of freedom of a partial correlation.
    pearson, spearman, bend
        The three correlations; Pearson's is the primary one.
    fisher_low, fisher_high
        Interval of Pearson's r by Fisher's z, which assumes normal data.
    sim_low, sim_high
        Intervals that hold for all scales and features at once, on the z scale; they exclude 0 exactly when
        ``p_fwe <= alpha``.
    slope, slope_se
        Difference of connectivity per unit of the scale, and its standard error.
    p, p_spearman, p_bend
        Two-sided, by the same rearrangements of people.
    p_fwe
        Of Pearson's r, over all scales and features; one family, or by Bonferroni over scales (`joint`).
    p_fdr
        Of `p`, over all scales and features.
    critical
        |r| above this has ``p_fwe <= alpha``, one number per scale.
    joint
        Whether the largest |r| over all scales was compared; False where scales have people of their own.
    permutations
        What was exchanged.
    n_features
        Scales times features that were tested.
    """

    n: int
    df: int
    pearson: Estimate
    spearman: Estimate
    bend: Estimate
    fisher_low: Floats
    fisher_high: Floats
    sim_low: Floats
    sim_high: Floats
    slope: Floats
    slope_se: Floats
    p: Floats
    p_spearman: Floats
    p_bend: Floats
    p_fwe: Floats
    p_fdr: Floats
    critical: Floats
    joint: bool
    permutations: PermutationSet
    n_features: int
    maxima: Floats = field(repr=False)


def associate(
    people: People,
    *,
    permutations: int,
    seed: int,
    resamples: int,
    alpha: float = 0.05,
    divisor: int = 1,
) -> Association:
    """Correlate scales with connectivity, adjusted for arm and covariates.

    Parameters
    ----------
    people
        Their values.
    permutations
        Number of rearrangements.
    seed
        Of rearrangements and resamples.
    resamples
        Of people, within arms, for BCa intervals; 0 for none.
    alpha
        Family-wise error; intervals have coverage 1 - alpha.
    divisor
        How many such results are corrected for each other by Bonferroni, as those of scales with people of
        their own.

    Returns
    -------
    Association

    Raises
    ------
    DesignError
        Too few people, a scale that does not vary, or columns that depend on each other.

    Notes
    -----
    Residuals of connectivity change places within arms and strata, one set of rearrangements for all scales
    and features, so that scales keep their correlation and so do features. What is compared is the largest
    |r|: all r have the same degrees of freedom. Without covariates the test is exact under independence
    within arms; with them the method of Freedman and Lane is approximate, and every r is fitted anew. The
    correlation of ranks is treated alike, its ranks being the data: ranks of residuals would be another
    quantity, and rearranged residuals would have to be ranked anew to be comparable. Percentage bend
    correlations of rearranged residuals are fitted and bent anew.

    References
    ----------
    Freedman and Lane 1983, 10.2307/1391660; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060; Westfall
    and Young 1993.
    """
    refuse(people)
    chosen = rearrangements(people, permutations, seed)
    tests, of_ranks = _tests(people, chosen), _tests(people.ranks, chosen)
    family = inference.correct(tests, alpha / divisor)
    found = {kind: estimate(people, kind, resamples, seed, alpha) for kind in KINDS}
    p_spearman, p_bend = np.stack([t.p for t in of_ranks]), _bend_p(people, chosen)
    return _association(people, tests, family, found, p_spearman, p_bend, chosen, alpha, divisor)


def _association(
    people: People,
    tests: list[TestResult],
    family: FamilyResult,
    found: dict[Kind, Estimate],
    p_spearman: Floats,
    p_bend: Floats,
    chosen: PermutationSet,
    alpha: float,
    divisor: int,
) -> Association:
    df, r = people.df, found["pearson"].r
    p, valid = np.stack([t.p for t in tests]), np.stack([t.valid for t in tests])
    critical = np.full(len(tests), _as_r(family.critical, df))
    z = np.arctanh(np.clip(np.where(valid, r, np.nan), -1 + 1e-15, 1 - 1e-15))
    # Infinite where the set of rearrangements is too small to reach alpha.
    with np.errstate(divide="ignore"):
        wide = np.arctanh(critical)[:, None]
    half = special.ndtri(1 - alpha / 2) / np.sqrt(df - 1)
    p_fwe = np.minimum(divisor * np.stack([one.p_fwe for one in family.results]), 1.0)
    low, high = _agreed(np.tanh(z - wide), np.tanh(z + wide), p_fwe <= alpha)
    return Association(
        n=people.n,
        df=df,
        pearson=found["pearson"],
        spearman=found["spearman"],
        bend=found["bend"],
        fisher_low=np.tanh(z - half),
        fisher_high=np.tanh(z + half),
        sim_low=low,
        sim_high=high,
        slope=np.stack([t.effect for t in tests]),
        slope_se=np.stack([t.se for t in tests]),
        p=p,
        p_spearman=p_spearman,
        p_bend=p_bend,
        p_fwe=p_fwe,
        p_fdr=fdr(p),
        critical=critical,
        joint=divisor == 1,
        permutations=chosen,
        n_features=family.n_features,
        maxima=_as_r(family.maxima, df),
    )


def _agreed(low: Floats, high: Floats, significant: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Intervals without the rounding of the way through z: only ends within 1e-9 of 0 are moved."""
    tiny = np.finfo(np.float64).tiny
    near_low, near_high = np.abs(low) < 1e-9, np.abs(high) < 1e-9
    low = np.where(near_low, np.where(significant, tiny, -tiny), low)
    return low, np.where(near_high, np.where(significant, -tiny, tiny), high)


def each_scale(
    scales: list[People], *, permutations: int, seed: int, resamples: int, alpha: float = 0.05
) -> list[Association]:
    """Correlate scales that have people of their own: each its own family, corrected by Bonferroni.

    Parameters
    ----------
    scales
        People of each scale, with that scale alone.
    permutations, seed, resamples, alpha
        See `associate`.

    Returns
    -------
    list of Association
        `p_fdr` is over all scales and features.
    """
    found = [
        associate(
            one, permutations=permutations, seed=seed, resamples=resamples, alpha=alpha, divisor=len(scales)
        )
        for one in scales
    ]
    p_fdr = fdr(np.stack([one.p[0] for one in found]))
    return [replace(one, p_fdr=p_fdr[[i]]) for i, one in enumerate(found)]


def refuse(people: People) -> None:
    """Refuse people of whom nothing can be correlated; connectivity is not looked at.

    Raises
    ------
    DesignError
        See `associate`.
    """
    if people.df < FEWEST_DF:
        cells = np.unique(people.cells).size
        raise DesignError(
            f"{people.n} people in {cells} cells of arm and stratum, with {people.n_held} columns held "
            f"constant, leave {people.df} degrees of freedom; a correlation needs {FEWEST_DF}. Hold fewer "
            "columns constant, or leave this comparison out"
        )
    for scale, values in enumerate(people.scores.T):
        left = without(span(people.nuisance(scale)), (values - values.mean())[:, None])
        if np.linalg.norm(left) <= 1e-8 * np.linalg.norm(values):
            raise DesignError(
                f"scale {scale + 1} does not vary among {people.n} people beyond what is held constant, so "
                "that it has no correlation"
            )


def rearrangements(people: People, permutations: int, seed: int) -> PermutationSet:
    """What changes places: residuals, within arms and strata."""
    return permutation_set(
        people.n,
        "labels",
        strata=people.cells,
        n_permutations=permutations,
        seed=seed,
        has_nuisance=people.n_held > 0,
    )


def _tests(people: People, chosen: PermutationSet) -> list[TestResult]:
    """The t of each scale in every feature; t and r say the same at equal degrees of freedom."""
    return [_test(people, scale, chosen) for scale in range(people.scores.shape[1])]


def _test(people: People, scale: int, chosen: PermutationSet) -> TestResult:
    score = people.scores[:, scale]
    matrix = np.column_stack([people.nuisance(scale), score - score.mean()])
    weights = np.zeros(matrix.shape[1])
    weights[-1] = 1.0
    return inference.test(people.connectivity, matrix, weights, chosen, covariate=people.baseline)


def _bend_p(people: People, chosen: PermutationSet) -> Floats:
    """The p of percentage bend correlations: residuals change places, are fitted anew, and bent anew."""
    n_scales = people.scores.shape[1]
    # Scales that hold the same constant share the costly part.
    alike = (
        [range(n_scales)] if people.score_baselines is None else [range(s, s + 1) for s in range(n_scales)]
    )
    p = np.full((n_scales, people.connectivity.shape[1]), np.nan)
    for scales in alike:
        p[scales.start : scales.stop, people.complete] = _bend_p_of(people, scales, chosen)
    return p


def _bend_p_of(people: People, scales: range, chosen: PermutationSet) -> Floats:
    there, nuisance = people.complete, people.nuisance(scales[0])
    own = None if people.baseline is None else people.baseline[:, there]
    left = [residuals(people.connectivity[:, there], people.scores[:, [s]], nuisance, own) for s in scales]
    again = partial(_bend_again, left[0][0], [bent(y) for _, y in left], nuisance, own)
    found = replicates(again, chosen.table, 8 * people.n * max(1, there.size))
    # The identity comes first, and differs from what was observed by rounding alone.
    reached = np.abs(found) >= np.abs(found[:1]) * (1 - 1e-9)
    return np.where(np.isfinite(found[0]), reached.mean(axis=0), np.nan).reshape(len(scales), -1)


def _bend_again(x: Floats, scores: list[Floats], nuisance: Floats, own: Floats | None, order: Rows) -> Floats:
    """Correlations of rearranged residuals with all scores, side by side: (b, n_scales · n_features)."""
    moved = bent(residuals(x[order], np.zeros((len(x), 1)), nuisance, own)[0])
    return np.concatenate([product(moved, score) for score in scores], axis=-1)


def _as_r(t: ArrayLike, df: int) -> Floats:
    """Correlation that has a t; 1 for an infinite one."""
    value = np.asarray(t, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(value), 1.0, value / np.sqrt(value**2 + df))
