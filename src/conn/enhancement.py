"""Maps of rearranged statistics, whole, for what looks at all features at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.glm import Floats
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Tile, make_tile, squared_v, tile_width
from conn.zscale import squared_to_z


class Enhancer(Protocol):
    """What turns maps of a statistic into scores, such as `conn.tfce.Tfce`."""

    def scores(self, values: ArrayLike) -> Floats:
        """Scores of one map, of shape (n_features,); NaN takes no part."""

    def maxima(self, values: ArrayLike) -> Floats:
        """Largest absolute score of each of several maps, of shape (n_maps, n_features)."""


def enhanced(values: NDArray[Any], job: Job, enhance: Enhancer, observed: Floats) -> tuple[Floats, Floats]:
    """Scores of what was observed, and the largest score for every rearrangement.

    Parameters
    ----------
    values
        ndarray of shape (n, n_features), the data.
    job
        Design, permutations and precision.
    enhance
        Of maps over all features.
    observed
        ndarray of shape (n_features,): the observed statistic with its sign, NaN where nothing was tested.

    Returns
    -------
    score : ndarray of shape (n_features,)
        NaN where nothing was tested.
    maxima : ndarray of shape (n_set,)
        The first is that of `score`.
    """
    maxima = np.zeros(job.permutations.n_set)
    for batch, maps in statistic_maps(values, job):
        maxima[batch] = enhance.maxima(maps)
    score = np.where(np.isfinite(observed), enhance.scores(observed), np.nan)
    # The identity is what was observed, in full precision.
    maxima[0] = np.nanmax(np.abs(score), initial=0.0)
    return score, maxima


def statistic_maps(values: NDArray[Any], job: Job) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The signed statistic of every feature for one batch of rearrangements after the other.

    Parameters
    ----------
    values
        ndarray of shape (n, n_features).
    job
        Design, permutations and precision.

    Yields
    ------
    batch
        Which rearrangements.
    maps : ndarray of shape (n_batch, n_features)
        t, or z when degrees of freedom differ; 0 where a feature is not tested. Valid until the next batch.
    """
    n_features = values.shape[1]
    starts = range(0, n_features, TILE_FEATURES)
    tiles = [make_tile(values, job, start) for start in starts]
    rows = len(job.kernel.rows) + len(job.kernel.indicators)
    space = np.empty((rows * TILE_PERMUTATIONS, tile_width(n_features)), dtype=job.dtype)
    maps = np.zeros((TILE_PERMUTATIONS, n_features), dtype=job.dtype)
    for batch in job.batches():
        turned = job.rearranged(job.kernel.rows, batch)
        inside = job.rearranged(job.kernel.indicators, batch, squares=True)
        for start, tile in zip(starts, tiles, strict=True):
            if tile.columns.size:
                made = _signed(tile, turned, inside, space, job)
                maps[:, start + tile.columns] = made[:, : tile.columns.size]
        yield batch, maps[: batch.stop - batch.start]


def _signed(
    tile: Tile, rows: NDArray[Any], inside: NDArray[Any], space: NDArray[Any], job: Job
) -> NDArray[Any]:
    """t, or z of v, of a tile for each rearrangement of a batch; shape (TILE_PERMUTATIONS, width)."""
    shape = (-1, TILE_PERMUTATIONS, space.shape[1])
    products = np.matmul(rows, tile.residuals, out=space[: len(rows)]).reshape(shape)
    sign = np.sign(products[0])
    np.square(products, out=products)
    if job.scale == "t":
        left, floor = 1 - products.sum(axis=0), job.dtype(job.floor)
        return np.asarray(sign * np.sqrt(products[0] * job.dtype(job.model.df) / np.maximum(left, floor)))
    sums = np.matmul(inside, tile.squares, out=space[len(rows) :]).reshape(shape)
    return np.asarray(sign * squared_to_z(*squared_v(products, sums, job)))
