"""Permutation test of an effect over several trials, each of which is rearranged by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.permutation import PermutationSet

Floats = NDArray[np.floating[Any]]

TOLERANCE = 1e-9
"""Relative; a rearrangement that gives the observed statistic but for rounding counts as reaching it."""


@dataclass(frozen=True, eq=False)
class JointSet:
    """Rearrangements of all trials at once: for each of them, which one of every trial's own set.

    Attributes
    ----------
    index
        int64 ndarray of shape (n_set, n_trials); the first row, zeros, is what was observed.
    complete
        Every combination is there once.
    smallest_p
        Smallest two-sided p that it can give.
    """

    index: NDArray[np.int64]
    complete: bool
    smallest_p: float

    @property
    def n_set(self) -> int:
        """Number of rearrangements, the observed one included."""
        return int(self.index.shape[0])


def joint_set(sets: Sequence[PermutationSet], permutations: int, seed: int) -> JointSet:
    """All combinations of the trials' rearrangements when there are few, else a random set.

    Parameters
    ----------
    sets
        Of every trial, the observed order first in each.
    permutations
        At most so many combinations are enumerated; if there are more, so many random ones follow the
        observed one.
    seed
        Of the random combinations.

    Returns
    -------
    JointSet

    Notes
    -----
    Trials are independent of each other, so that the group of rearrangements is the product of their groups.
    Of a trial whose set is complete a member is drawn; a random set is gone through in its order, being a
    sequence of independent draws already.
    """
    total = math.prod(one.n_set for one in sets)
    complete = all(one.complete for one in sets) and total <= permutations
    if complete:
        grid = np.indices([one.n_set for one in sets]).reshape(len(sets), -1)
        index = np.ascontiguousarray(grid.T)
    else:
        rng = np.random.default_rng(seed)
        columns = [_drawn(one, permutations, rng) for one in sets]
        index = np.vstack([np.zeros((1, len(sets)), dtype=np.int64), np.column_stack(columns)])
    # Turning all signs round counts once for the trials together, not once for each.
    own = math.prod(one.smallest_p for one in sets) / 2 ** (len(sets) - 1)
    return JointSet(index, complete, max(own, 1 / len(index)))


def _drawn(own: PermutationSet, permutations: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if own.complete:
        return rng.integers(0, own.n_set, permutations)
    return np.arange(1, permutations + 1)


@dataclass(frozen=True, eq=False)
class PooledTest:
    """An effect tested over trials; arrays of shape (n_features,), NaN where fewer than two trials have it.

    Attributes
    ----------
    z
        Weighted sum of the trials' z over its standard deviation.
    p, p_fwe
        Two-sided, of each feature and by the largest absolute z over the features.
    """

    z: Floats
    p: Floats
    p_fwe: Floats


def pooled_test(
    blocks: Iterable[tuple[Sequence[Floats], NDArray[np.bool_]]], weights: Sequence[float], joint: JointSet
) -> PooledTest:
    """Test an effect over trials in blocks of features.

    Parameters
    ----------
    blocks
        Of each block of features: z of every trial under its own rearrangements, of shape (n_set of the
        trial, n_features), what was observed first; and which trials have the feature, of shape
        (n_trials, n_features).
    weights
        Of every trial. They must be the same under every rearrangement, and so may not come from the data.
    joint
        The rearrangements.

    Returns
    -------
    PooledTest

    References
    ----------
    Zaykin 2011, 10.1111/j.1420-9101.2011.02297.x (weighted sum of z); Westfall and Young 1993, ISBN
    978-0471557616 (largest statistic).
    """
    found, counts = [], []
    maxima = np.zeros(joint.n_set)
    for maps, there in blocks:
        size = _combined(maps, there, weights, joint)
        observed = size[0]
        reached = np.abs(size) >= np.abs(observed) * (1 - TOLERANCE)
        maxima = np.maximum(maxima, np.abs(np.where(np.isfinite(size), size, 0.0)).max(axis=1, initial=0.0))
        found.append(observed)
        counts.append(np.where(np.isfinite(observed), reached.mean(axis=0), np.nan))
    z = np.concatenate(found)
    ordered = np.sort(maxima)
    below = np.searchsorted(ordered, np.abs(z) * (1 - TOLERANCE), side="left")
    p_fwe = np.where(np.isfinite(z), (joint.n_set - below) / joint.n_set, np.nan)
    return PooledTest(z, np.concatenate(counts), p_fwe)


def _combined(
    maps: Sequence[Floats], there: NDArray[np.bool_], weights: Sequence[float], joint: JointSet
) -> Floats:
    """Weighted z of every rearrangement, of shape (n_set, n_features)."""
    own = np.asarray(weights)[:, None] * there
    total = np.zeros((joint.n_set, there.shape[1]))
    for trial, z in enumerate(maps):
        total += own[trial] * z[joint.index[:, trial]]
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = total / np.sqrt(np.square(own).sum(axis=0))
    return np.where(there.sum(axis=0) >= 2, scaled, np.nan)
