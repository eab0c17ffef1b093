"""Maps of rearranged statistics, whole, for what looks at all features at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.glm import Floats
from conn.tiles import TILE_PERMUTATIONS, Job, Tile


class Enhancer(Protocol):
    """What turns maps of a statistic into scores, such as `conn.tfce.Tfce`."""

    def scores(self, values: ArrayLike) -> Floats:
        """Scores of one map, of shape (n_features,); NaN takes no part."""

    def maxima(self, values: ArrayLike) -> Floats:
        """Largest absolute score of each of several maps, of shape (n_maps, n_features)."""


def enhanced(
    jobs: Sequence[Job], enhance: Enhancer, observed: Floats, step: Callable[[], None], workers: int = 1
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
    workers
        Threads that compute statistics; results do not depend on it.

    Returns
    -------
    score : ndarray of shape (n_features,)
        NaN where nothing was tested.
    maxima : ndarray of shape (n_set,)
        The first is that of `score`.
    """
    maxima = np.zeros(jobs[0].permutations.n_set)
    for batch, maps in statistic_maps(jobs, observed.size, workers):
        maxima[batch] = enhance.maxima(maps)
        step()
    score = np.where(np.isfinite(observed), enhance.scores(observed), np.nan)
    # The identity is what was observed, in full precision.
    maxima[0] = np.nanmax(np.abs(score), initial=0.0)
    return score, maxima


@dataclass(frozen=True, eq=False)
class _Place:
    """A tile of a job, and where in a map its features with a value stand."""

    job: Job
    tile: Tile
    where: slice | NDArray[np.int64]


def statistic_maps(
    jobs: Sequence[Job], n_features: int, workers: int = 1
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The signed statistic of every feature for one batch of rearrangements after the other.

    Parameters
    ----------
    jobs
        Of the same permutations and precision.
    n_features
        Number of features of a map.
    workers
        Threads, each with tiles of its own.

    Yields
    ------
    batch
        Which rearrangements.
    maps : ndarray of shape (n_batch, n_features)
        t, root of F, or z when degrees of freedom differ; 0 where a feature is not tested. Valid until the
        next batch.
    """
    places = _places(jobs)
    shares = [places[first::workers] for first in range(min(workers, len(places)))]
    maps = np.zeros((TILE_PERMUTATIONS, n_features), dtype=jobs[0].dtype)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for batch in jobs[0].batches():
            made = [pool.submit(_fill, maps, share, batch) for share in shares]
            for one in made:
                one.result()
            yield batch, maps[: batch.stop - batch.start]


def _places(jobs: Sequence[Job]) -> list[_Place]:
    tiles = [(job, start, job.tile(start)) for job in jobs for start in job.starts]
    return [
        _Place(job, tile, _span(job.features[start + tile.columns]))
        for job, start, tile in tiles
        if tile.columns.size
    ]


def _span(where: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Features that follow each other as a slice, which is faster to write to."""
    if where[-1] - where[0] == where.size - 1:
        return slice(int(where[0]), int(where[-1]) + 1)
    return where


def _fill(maps: NDArray[Any], places: Sequence[_Place], batch: slice) -> None:
    """Statistics of some tiles; what is rearranged has room for one tile, so that each thread has its own."""
    for job, own in groupby(places, key=lambda place: place.job):
        turned = job.turned(batch)
        for place in own:
            maps[:, place.where] = job.signed(place.tile, turned)[:, : place.tile.columns.size]
