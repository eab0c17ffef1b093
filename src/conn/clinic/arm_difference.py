"""Whether connectivity goes with scores more in one arm than in another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from conn import inference
from conn.clinic.association import refuse_alone
from conn.clinic.estimates import Estimate, difference, estimate
from conn.clinic.people import People
from conn.correlation import CLIP
from conn.errors import DesignError
from conn.glm import Model, make_model
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
        t of the difference of slopes (rank 0). More than two arms: the largest |t| of all pairs of them, or
        with one variance F of equal slopes with that many degrees of freedom.
    slope, slope_se
        Two arms: slope in the first minus slope in the second, with its standard error; else NaN.
    robust
        Whether each person has an error variance of their own (HC3).
    r
        Two arms: difference of Pearson's correlations, with its BCa interval; else NaN.
    p_fisher
        Two arms: two-sided p of the difference of correlations by Fisher's z, for comparison; else NaN.
    p, p_fwe, p_fdr
        Of equal slopes, by rearrangement; family-wise over all scales and features, and pairs of arms. For
        the number of pairs, `p` is corrected by Bonferroni.
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
    robust: bool
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
    robust: bool = True,
) -> ArmDifference:
    """Test whether slopes on the scores are the same in all arms.

    Parameters
    ----------
    people
        Of two or more arms.
    permutations, seed, resamples, alpha, divisor
        See `conn.clinic.association.associate`.
    robust
        Each person has an error variance of their own (HC3), and more than two arms are compared in pairs.
        False: one variance serves all.

    Returns
    -------
    ArmDifference

    Raises
    ------
    DesignError
        One arm, an arm with fewer than three people, or somebody who alone decides on a robust slope.

    Notes
    -----
    Covariates and the baseline of a feature have one slope for all arms, the baseline of a scale one for
    each, so that a change and the later score say the same. Residuals of the common slope change places
    within arms and strata, so that arms may vary differently; the method of Freedman and Lane is approximate
    here, for the common slope is estimated. Equal slopes are not equal correlations: where a scale or
    connectivity varies more in one arm, one may differ and the other not. Both are given. An F has no error
    variance of each person, so that more than two arms are compared in pairs by the largest |t|.
    """
    refuse(people, robust)
    levels, chosen = people.levels, rearrangements(people, permutations, seed)
    tests = [
        [_test(people, model, chosen, robust) for model in _models(people, scale, robust)]
        for scale in range(people.scores.shape[1])
    ]
    family = inference.correct([one for own in tests for one in own], alpha / divisor)
    n_pairs = len(tests[0])
    shape = (len(tests), n_pairs, people.connectivity.shape[1])
    p_fwe = np.stack([one.p_fwe for one in family.results]).reshape(shape).min(axis=1)
    p = np.minimum(n_pairs * np.stack([[t.p for t in own] for own in tests]).min(axis=1), 1.0)
    nothing = np.full((len(tests), people.connectivity.shape[1]), np.nan)
    r, p_fisher = Estimate(nothing, nothing, nothing), nothing
    if len(levels) == 2:
        first, second = (people.of(people.arms == arm) for arm in levels)
        r = difference(first, second, resamples, seed, alpha)
        p_fisher = _fisher(first, second)
    return ArmDifference(
        n=people.n,
        df=people.df - (len(levels) - 1) * (1 if people.score_baselines is None else 2),
        stat=np.stack([_largest(own) for own in tests]),
        rank=tests[0][0].rank,
        slope=nothing if n_pairs > 1 else np.stack([own[0].effect for own in tests]),
        slope_se=nothing if n_pairs > 1 else np.stack([own[0].se for own in tests]),
        robust=robust,
        r=r,
        p_fisher=p_fisher,
        p=p,
        p_fwe=np.minimum(divisor * p_fwe, 1.0),
        p_fdr=fdr(p),
        permutations=chosen,
        n_features=family.n_features // n_pairs,
    )


def _largest(pairs: list[TestResult]) -> Floats:
    """Statistic of the only test, or the largest absolute one."""
    if len(pairs) == 1:
        return pairs[0].stat
    return np.asarray(np.abs([one.stat for one in pairs]).max(axis=0))


def refuse(people: People, robust: bool = True) -> None:
    """Refuse people whose slopes cannot be compared; connectivity is not looked at.

    Parameters
    ----------
    people, robust
        See `differ`.

    Raises
    ------
    DesignError
        See `differ`.
    """
    counts = [int((people.arms == arm).sum()) for arm in people.levels]
    if len(counts) < 2 or min(counts) < 3:
        told = ", ".join(f"{arm} {count}" for arm, count in zip(people.levels, counts, strict=True))
        raise DesignError(f"slopes are compared between arms of three people or more; there are: {told}")
    for scale in range(people.scores.shape[1] if robust else 0):
        for model in _models(people, scale, robust):
            refuse_alone(model, scale)


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


def _test(people: People, model: Model, chosen: PermutationSet, robust: bool) -> TestResult:
    return inference.test(
        people.connectivity,
        model.matrix,
        model.contrast,
        chosen,
        covariate=people.baseline,
        own_variances=robust,
    )


def _models(people: People, scale: int, robust: bool) -> list[Model]:
    """A slope for each arm; the difference of each pair of them, or all differences together."""
    held, slopes = people.held, people.by_arm(people.scores[:, scale])
    if people.score_baselines is not None:
        held = np.column_stack([held, people.by_arm(people.score_baselines[:, scale])])
    matrix, n_arms = np.column_stack([held, slopes]), slopes.shape[1]
    pairs = np.array([np.eye(n_arms)[i] - np.eye(n_arms)[j] for i, j in combinations(range(n_arms), 2)])
    weights = np.column_stack([np.zeros((len(pairs), held.shape[1])), pairs])
    if robust or n_arms == 2:
        return [make_model(matrix, one) for one in weights]
    # All pairs depend on each other; those with the last arm say everything.
    return [make_model(matrix, weights[pairs[:, -1] != 0])]


def _fisher(first: People, second: People) -> Floats:
    """Two-sided p of equal correlations in two independent samples."""
    found = [estimate(arm, "pearson", 0, 0).r.clip(-CLIP, CLIP) for arm in (first, second)]
    df = first.df, second.df
    if min(df) < 2:
        return np.full_like(found[0], np.nan)
    z = (np.arctanh(found[0]) - np.arctanh(found[1])) / np.sqrt(1 / (df[0] - 1) + 1 / (df[1] - 1))
    return np.asarray(2 * special.ndtr(-np.abs(z)))
