"""Whether an effect through a mediator is there: both of its paths, each by permutation over all features.

The effect a·b is 0 when a or b is, so it is shown only by showing both: the p of the pair is the larger one.

For a, labels of the arm are exchanged and each feature has its own baseline (Freedman and Lane).

For b, the feature is a predictor, and its outcome is shared. But the t of M1 in Y1 ~ M1 + arm + M0 + Y0 is a
function of the partial correlation of Y1 and M1 given arm, M0 and Y0, and so it is the t of Y1 in
M1 ~ Y1 + arm + M0 + Y0. In this form the feature is what is rearranged, as everywhere else: residuals of M1
given arm, M0 and Y0 change places, the same for all features, so that what features have in common stays.
Residuals stay within their arm, so that arms that vary differently remain what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn import inference
from conn.clinic.mediation.paths import checked
from conn.clinic.mediation.trial import Trial
from conn.inference import TestResult
from conn.permutation import PermutationSet, permutation_set

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Family:
    """One path tested over all features; arrays of shape (n_features,), NaN where nothing was tested.

    Attributes
    ----------
    stat
        t, or Aspin-Welch v of arms of unequal size.
    p, p_fwe
        Plain and family-wise p by permutation.
    n_features
        Number of features tested.
    n_permutations
        Size of the set, the identity counted once.
    smallest_p
        Smallest p the set can give.
    """

    stat: Floats
    p: Floats
    p_fwe: Floats
    n_features: int
    n_permutations: int
    smallest_p: float

    def of(self, features: NDArray[np.int64]) -> Family:
        """The same of some features."""
        return replace(self, stat=self.stat[features], p=self.p[features], p_fwe=self.p_fwe[features])


def family(tests: Sequence[TestResult], alpha: float) -> Family:
    """Tests made with one permutation set as one family, their features in order."""
    corrected = inference.correct(tests, alpha)
    return Family(
        np.concatenate([test.stat for test in tests]),
        np.concatenate([test.p for test in tests]),
        np.concatenate([one.p_fwe for one in corrected.results]),
        corrected.n_features,
        corrected.n_permutations,
        corrected.smallest_p,
    )


@dataclass(frozen=True, eq=False)
class Joint:
    """Both paths; arrays of shape (n_features,), NaN where nothing was tested."""

    a: Family
    b: Family

    @property
    def p(self) -> Floats:
        """Larger of the plain p of both paths."""
        return np.maximum(self.a.p, self.b.p)

    @property
    def p_fwe(self) -> Floats:
        """Larger of the family-wise p of both paths."""
        return np.maximum(self.a.p_fwe, self.b.p_fwe)

    def of(self, features: NDArray[np.int64]) -> Joint:
        """The same of some features."""
        return Joint(self.a.of(features), self.b.of(features))


def exchanges(trial: Trial, permutations: int, seed: int) -> tuple[PermutationSet, PermutationSet]:
    """The rearrangements of both paths: arms within strata, and people within arms and strata.

    Parameters
    ----------
    trial
        Of n people.
    permutations
        Number of permutations.
    seed
        Of the sets.
    """
    first = permutation_set(
        trial.n,
        "labels",
        strata=trial.blocks,
        matrix_effect=trial.arm,
        n_permutations=permutations,
        seed=seed,
        has_nuisance=True,
    )
    second = permutation_set(
        trial.n, "labels", strata=trial.strata, n_permutations=permutations, seed=seed, has_nuisance=True
    )
    return first, second


@dataclass(frozen=True, eq=False)
class PathTests:
    """Both paths of some features, not yet corrected."""

    a: TestResult
    b: TestResult

    @property
    def size(self) -> Floats:
        """Smaller of the two absolute statistics, by which features are ordered."""
        return np.asarray(np.minimum(np.abs(self.a.stat), np.abs(self.b.stat)))


def path_tests(
    trial: Trial,
    mediator: ArrayLike,
    own: ArrayLike | None = None,
    *,
    permutations: int = 5000,
    seed: int = 0,
    workers: int = 1,
) -> PathTests:
    """Test both paths of every feature.

    Parameters
    ----------
    trial, mediator, own
        See `conn.clinic.mediation.paths.estimate`.
    permutations
        Number of permutations of each path.
    seed
        Of the permutation sets.
    workers
        Threads, see `conn.inference.test`.

    Returns
    -------
    PathTests

    Raises
    ------
    DesignError
        Arrays of other shapes, or see `conn.permutation.permutation_set`.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060.
    """
    m, o = checked(trial, mediator, own)
    first, second = exchanges(trial, permutations, seed)
    a = inference.test(
        m,
        trial.columns("arm"),
        _last(trial.shared.shape[1] + 1),
        first,
        variance_groups(trial),
        covariate=o if trial.adjusted else None,
        workers=workers,
    )
    names = ("arm", "outcome_before", "outcome") if trial.adjusted else ("arm", "outcome")
    matrix = trial.columns(*names)
    b = inference.test(m, matrix, _last(matrix.shape[1]), second, covariate=o, workers=workers)
    return PathTests(a, b)


def joined(tests: Sequence[PathTests], alpha: float = 0.05) -> Joint:
    """Tests that were made with one trial as one family, their features in order.

    Parameters
    ----------
    tests
        Of one kind of feature each, such as the maps of several seeds.
    alpha
        Family-wise error.

    References
    ----------
    Berger 1982, 10.1080/00401706.1982.10487790 (intersection-union); MacKinnon et al. 2002,
    10.1037/1082-989X.7.1.83 (joint significance).
    """
    return Joint(family([one.a for one in tests], alpha), family([one.b for one in tests], alpha))


def _last(size: int) -> Floats:
    return np.asarray(np.eye(size)[-1])


def variance_groups(trial: Trial) -> NDArray[np.int64] | None:
    """Arms, where their sizes are unequal and each may have a variance of its own; None otherwise."""
    codes = (trial.arm > trial.arm.min()).astype(np.int64)
    sizes = np.bincount(codes)
    return codes if sizes[0] != sizes[1] else None
