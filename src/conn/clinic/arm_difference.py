"""Whether connectivity goes with scores more in one arm than in another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from conn import inference
from conn.clinic.estimates import Estimate, difference, estimate
from conn.clinic.people import People
from conn.correlation import CLIP
from conn.errors import DesignError
from conn.inference import TestResult
from conn.multiplicity import fdr
from conn.permutation import PermutationSet, permutation_set

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArmDifference:
    """Slopes compared between arms; shapes (n_scales, n_features), NaN where nothing was tested.

    Attributes
    ----------
    n, df
        People, and degrees of freedom of the rest.
    stat, rank
        t of the difference of slopes (rank 0); F of equal slopes with that many degrees of freedom.
    slope, slope_se
        Two arms: slope in the first minus slope in the second, with its standard error; else NaN.
    r
        Two arms: difference of Pearson's correlations, with its BCa interval; else NaN.
    p_fisher
        Two arms: two-sided p of the difference of correlations by Fisher's z, for comparison; else NaN.
    p, p_fwe, p_fdr
        Of equal slopes, by rearrangement; family-wise over all scales and features.
    permutations
        What was exchanged.
    n_features
        Scales times features that were tested.
    """

    n: int
    df: int
    stat: Floats
    rank: int
    slope: Floats
    slope_se: Floats
    r: Estimate
    p_fisher: Floats
    p: Floats
    p_fwe: Floats
    p_fdr: Floats
    permutations: PermutationSet
    n_features: int


def differ(
    people: People,
    *,
    permutations: int,
    seed: int,
    resamples: int,
    alpha: float = 0.05,
    divisor: int = 1,
) -> ArmDifference:
    """Test whether slopes on the scores are the same in all arms.

    Parameters
    ----------
    people
        Of two or more arms.
    permutations, seed, resamples, alpha, divisor
        See `conn.clinic.association.associate`.

    Returns
    -------
    ArmDifference

    Raises
    ------
    DesignError
        One arm, or an arm with fewer than three people.

    Notes
    -----
    Covariates and the baseline of a feature have one slope for all arms, the baseline of a scale one for
    each, so that a change and the later score say the same. Residuals of the common slope change places
    within arms and strata, so that arms may vary differently; the method of Freedman and Lane is approximate
    here, for the common slope is estimated. Equal slopes are not equal correlations: where a scale or
    connectivity varies more in one arm, one may differ and the other not. Both are given.
    """
    refuse(people)
    levels, chosen = people.levels, rearrangements(people, permutations, seed)
    tests = [_test(people, scale, chosen) for scale in range(people.scores.shape[1])]
    family = inference.correct(tests, alpha / divisor)
    nothing = np.full((len(tests), people.connectivity.shape[1]), np.nan)
    r, p_fisher = Estimate(nothing, nothing, nothing), nothing
    if len(levels) == 2:
        first, second = (people.of(people.arms == arm) for arm in levels)
        r = difference(first, second, resamples, seed, alpha)
        p_fisher = _fisher(first, second)
    p = np.stack([t.p for t in tests])
    return ArmDifference(
        n=people.n,
        df=people.df - (len(levels) - 1) * (1 if people.score_baselines is None else 2),
        stat=np.stack([t.stat for t in tests]),
        rank=tests[0].rank,
        slope=np.stack([t.effect for t in tests]),
        slope_se=np.stack([t.se for t in tests]),
        r=r,
        p_fisher=p_fisher,
        p=p,
        p_fwe=np.minimum(divisor * np.stack([one.p_fwe for one in family.results]), 1.0),
        p_fdr=fdr(p),
        permutations=chosen,
        n_features=family.n_features,
    )


def refuse(people: People) -> None:
    """Refuse people whose slopes cannot be compared; connectivity is not looked at.

    Raises
    ------
    DesignError
        See `differ`.
    """
    counts = [int((people.arms == arm).sum()) for arm in people.levels]
    if len(counts) < 2 or min(counts) < 3:
        told = ", ".join(f"{arm} {count}" for arm, count in zip(people.levels, counts, strict=True))
        raise DesignError(f"slopes are compared between arms of three people or more; there are: {told}")


def rearrangements(people: People, permutations: int, seed: int) -> PermutationSet:
    """What changes places: residuals of the common slope, within arms and strata."""
    return permutation_set(
        people.n,
        "labels",
        strata=people.cells,
        n_permutations=permutations,
        seed=seed,
        has_nuisance=True,
    )


def _test(people: People, scale: int, chosen: PermutationSet) -> TestResult:
    """A slope for each arm, and the differences between them."""
    held, slopes = people.held, people.by_arm(people.scores[:, scale])
    if people.score_baselines is not None:
        held = np.column_stack([held, people.by_arm(people.score_baselines[:, scale])])
    matrix = np.column_stack([held, slopes])
    weights = np.zeros((slopes.shape[1] - 1, matrix.shape[1]))
    for row in range(len(weights)):
        weights[row, held.shape[1] + row] = 1.0
        weights[row, -1] = -1.0
    contrast = weights[0] if len(weights) == 1 else weights
    return inference.test(people.connectivity, matrix, contrast, chosen, covariate=people.baseline)


def _fisher(first: People, second: People) -> Floats:
    """Two-sided p of equal correlations in two independent samples."""
    found = [estimate(arm, "pearson", 0, 0).r.clip(-CLIP, CLIP) for arm in (first, second)]
    df = first.df, second.df
    if min(df) < 2:
        return np.full_like(found[0], np.nan)
    z = (np.arctanh(found[0]) - np.arctanh(found[1])) / np.sqrt(1 / (df[0] - 1) + 1 / (df[1] - 1))
    return np.asarray(2 * special.ndtr(-np.abs(z)))
