"""Maps of rearranged statistics, whole, for what looks at all features at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.glm import Floats
from conn.tiles import TILE_PERMUTATIONS, Job


class Enhancer(Protocol):
    """What turns maps of a statistic into scores, such as `conn.tfce.Tfce`."""

    def scores(self, values: ArrayLike) -> Floats:
        """Scores of one map, of shape (n_features,); NaN takes no part."""

    def maxima(self, values: ArrayLike) -> Floats:
        """Largest absolute score of each of several maps, of shape (n_maps, n_features)."""


def enhanced(
    jobs: Sequence[Job], enhance: Enhancer, observed: Floats, step: Callable[[], None]
) -> tuple[Floats, Floats]:
    """Scores of what was observed, and the largest score for every rearrangement.

    Parameters
    ----------
    jobs
        Which together test all features, on one scale.
    enhance
        Of maps over all features.
    observed
        ndarray of shape (n_features,): the observed statistic with its sign, NaN where nothing was tested.
    step
        Is called after each batch.

    Returns
    -------
    score : ndarray of shape (n_features,)
        NaN where nothing was tested.
    maxima : ndarray of shape (n_set,)
        The first is that of `score`.
    """
    maxima = np.zeros(jobs[0].permutations.n_set)
    for batch, maps in statistic_maps(jobs, observed.size):
        maxima[batch] = enhance.maxima(maps)
        step()
    score = np.where(np.isfinite(observed), enhance.scores(observed), np.nan)
    # The identity is what was observed, in full precision.
    maxima[0] = np.nanmax(np.abs(score), initial=0.0)
    return score, maxima


def statistic_maps(jobs: Sequence[Job], n_features: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The signed statistic of every feature for one batch of rearrangements after the other.

    Parameters
    ----------
    jobs
        Of the same permutations and precision.
    n_features
        Number of features of a map.

    Yields
    ------
    batch
        Which rearrangements.
    maps : ndarray of shape (n_batch, n_features)
        t, root of F, or z when degrees of freedom differ; 0 where a feature is not tested. Valid until the
        next batch.
    """
    tiles = [(job, job.features[start:], job.tile(start)) for job in jobs for start in job.starts]
    maps = np.zeros((TILE_PERMUTATIONS, n_features), dtype=jobs[0].dtype)
    for batch in jobs[0].batches():
        turned = {id(job): job.turned(batch) for job in jobs}
        for job, features, tile in tiles:
            if tile.columns.size:
                made = job.signed(tile, turned[id(job)])
                maps[:, features[tile.columns]] = made[:, : tile.columns.size]
        yield batch, maps[: batch.stop - batch.start]
