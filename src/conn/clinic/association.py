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
from conn.glm import Model, make_model, z_to_t
from conn.inference import FamilyResult, TestResult
from conn.multiplicity import fdr
from conn.permutation import PermutationSet, permutation_set
from conn.sandwich import decisive

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
        Difference of connectivity per unit of the scale, and its standard error, see `robust`.
    p, p_spearman, p_bend
        Two-sided, by the same rearrangements of people; `p` of the slope over its standard error.
    p_fwe
        Of the same, over all scales and features; one family, or by Bonferroni over scales (`joint`).
    p_fdr
        Of `p`, over all scales and features.
    critical
        |t| of a slope above this has ``p_fwe <= alpha``; infinite when none can.
    robust
        Whether each person has an error variance of their own (HC3), or one serves all.
    joint
        Whether the largest |t| over all scales was compared; False where scales have people of their own.
    permutations
        What was exchanged.
    n_features
        Scales times features that were tested.
    maxima
        ndarray of shape (n_set,): largest |t| of the family for every rearrangement.
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
    critical: float
    robust: bool
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
    robust: bool = True,
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
    robust
        Each person has an error variance of their own (HC3). False: one serves all, and then the t of a slope
        and its r say the same.

    Returns
    -------
    Association

    Raises
    ------
    DesignError
        Too few people, a scale that does not vary, columns that depend on each other, or somebody who alone
        decides on a robust slope.

    Notes
    -----
    Residuals of connectivity change places within arms and strata, one set of rearrangements for all scales
    and features, so that scales keep their correlation and so do features. What is compared is the largest
    |t| of a slope. Without covariates the test is exact under independence within arms; with them the method
    of Freedman and Lane is approximate, and every slope is fitted anew. Connectivity that goes with the score
    in its spread alone is not independent of it, and then it is the robust t that keeps the error of a test
    of correlation. The correlation of ranks is tested by one variance, its ranks being the data: ranks of
    residuals would be another quantity, and rearranged residuals would have to be ranked anew to be
    comparable. Percentage bend correlations of rearranged residuals are fitted and bent anew.

    References
    ----------
    Freedman and Lane 1983, 10.2307/1391660; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060; Westfall
    and Young 1993; DiCiccio and Romano 2017, 10.1080/01621459.2016.1202117 (permutation of a robust t).
    """
    refuse(people, robust)
    chosen = rearrangements(people, permutations, seed)
    tests, of_ranks = _tests(people, chosen, robust), _tests(people.ranks, chosen, False)
    family = inference.correct(tests, alpha / divisor)
    found = {kind: estimate(people, kind, resamples, seed, alpha) for kind in KINDS}
    p_spearman, p_bend = np.stack([t.p for t in of_ranks]), _bend_p(people, chosen)
    return _association(people, tests, family, found, p_spearman, p_bend, chosen, alpha, divisor, robust)


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
    robust: bool,
) -> Association:
    df, r = people.df, found["pearson"].r
    p, valid, se = (np.stack([getattr(t, key) for t in tests]) for key in ("p", "valid", "se"))
    critical = _as_t(family.critical, family.scale, df)
    # The r whose t is critical in a feature depends on how much larger its robust standard error is.
    share = se / _plain_se(people, r) if robust else np.ones_like(se)
    z = np.arctanh(np.clip(np.where(valid, r, np.nan), -1 + 1e-15, 1 - 1e-15))
    # Infinite where the set of rearrangements is too small to reach alpha.
    with np.errstate(divide="ignore"):
        wide = np.arctanh(_as_r(critical * share, df))
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
        slope_se=se,
        p=p,
        p_spearman=p_spearman,
        p_bend=p_bend,
        p_fwe=p_fwe,
        p_fdr=fdr(p),
        critical=float(critical),
        robust=robust,
        joint=divisor == 1,
        permutations=chosen,
        n_features=family.n_features,
        maxima=_as_t(family.maxima, family.scale, df),
    )


def _plain_se(people: People, r: Floats) -> Floats:
    """Standard errors of slopes with one variance, of shape (n_scales, n_features)."""
    se = np.full_like(r, np.nan)
    there = people.complete
    own = None if people.baseline is None else people.baseline[:, there]
    for scale, score in enumerate(people.scores.T):
        held = people.nuisance(scale)
        x, y = residuals(people.connectivity[:, there], score[:, None], held, own)
        left = (1 - np.square(r[scale, there])) / people.df
        se[scale, there] = np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0) * np.sqrt(left)
    return se


def _agreed(low: Floats, high: Floats, significant: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Intervals without the rounding of the way through z: only ends within 1e-9 of 0 are moved."""
    tiny = np.finfo(np.float64).tiny
    near_low, near_high = np.abs(low) < 1e-9, np.abs(high) < 1e-9
    low = np.where(near_low, np.where(significant, tiny, -tiny), low)
    return low, np.where(near_high, np.where(significant, -tiny, tiny), high)


def each_scale(
    scales: list[People],
    *,
    permutations: int,
    seed: int,
    resamples: int,
    alpha: float = 0.05,
    robust: bool = True,
) -> list[Association]:
    """Correlate scales that have people of their own: each its own family, corrected by Bonferroni.

    Parameters
    ----------
    scales
        People of each scale, with that scale alone.
    permutations, seed, resamples, alpha, robust
        See `associate`.

    Returns
    -------
    list of Association
        `p_fdr` is over all scales and features.
    """
    found = [
        associate(
            one,
            permutations=permutations,
            seed=seed,
            resamples=resamples,
            alpha=alpha,
            divisor=len(scales),
            robust=robust,
        )
        for one in scales
    ]
    p_fdr = fdr(np.stack([one.p[0] for one in found]))
    return [replace(one, p_fdr=p_fdr[[i]]) for i, one in enumerate(found)]


def refuse(people: People, robust: bool = True) -> None:
    """Refuse people of whom nothing can be correlated; connectivity is not looked at.

    Parameters
    ----------
    people, robust
        See `associate`.

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
        if robust:
            refuse_alone(_model(people, scale), scale)


def refuse_alone(model: Model, scale: int) -> None:
    """Refuse a slope that a person alone decides on: no residual says how much that person varies.

    Raises
    ------
    DesignError
        Naming how many they are.
    """
    alone = np.flatnonzero(decisive(model)).size
    if alone:
        who = "1 person" if alone == 1 else f"{alone} people"
        raise DesignError(
            f"{who} of {len(model.matrix)} alone decide{'s' if alone == 1 else ''} on a slope of scale "
            f"{scale + 1}, so that its robust error has no variance. Hold fewer columns constant, leave them "
            "out by subset, or set inference.robust_slopes: false"
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


def _tests(people: People, chosen: PermutationSet, robust: bool) -> list[TestResult]:
    """The t of each scale in every feature."""
    models = [_model(people, scale) for scale in range(people.scores.shape[1])]
    return [
        inference.test(
            people.connectivity,
            model.matrix,
            model.contrast,
            chosen,
            covariate=people.baseline,
            own_variances=robust,
        )
        for model in models
    ]


def _model(people: People, scale: int) -> Model:
    """What is held constant, and the score, whose slope is tested."""
    score = people.scores[:, scale]
    matrix = np.column_stack([people.nuisance(scale), score - score.mean()])
    return make_model(matrix, np.eye(matrix.shape[1])[-1])


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


def _as_t(size: ArrayLike, scale: str, df: int) -> Floats:
    """|t| of a statistic of a family, which may be on the scale z."""
    value = np.asarray(size, dtype=np.float64)
    return z_to_t(value, np.full_like(value, df)) if scale == "z" else value


def _as_r(t: ArrayLike, df: int) -> Floats:
    """Correlation that has a t; 1 for an infinite one."""
    value = np.asarray(t, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(value), 1.0, value / np.sqrt(value**2 + df))
