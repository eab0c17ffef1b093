"""Share of variance that an effect explains, judged in one pass over products with rearranged residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled_maxima


@compiled_maxima
def judge(
    products: NDArray[Any],
    rank: int,
    limit: NDArray[Any],
    floor: Any,
    counts: NDArray[np.int32],
    best: NDArray[Any],
) -> None:
    """How many shares of each feature reach a limit, and the largest share of each rearrangement.

    A product is read once and nothing of the size of a tile is written; with an array operation for each
    step, most of the time went to memory.

    Parameters
    ----------
    products
        ndarray of shape (n_products, n_rearranged, width): of residuals of length 1 with orthonormal rows,
        first those of the effect, then those of the nuisance.
    rank
        How many rows are of the effect.
    limit
        ndarray of shape (width,).
    floor
        Smallest share of the sum of squares that the nuisance is taken to leave.
    counts
        ndarray of shape (width,): grows by how many of the first rearrangements, as many as `best` has, reach
        the limit.
    best
        ndarray of shape (n_used,), n_used <= n_rearranged: raised to the largest share of each of these.
    """
    n_products, _, width = products.shape
    share = np.empty(width, dtype=products.dtype)
    left = np.empty(width, dtype=products.dtype)
    for at in range(best.size):
        row = products[0, at]
        for j in range(width):
            share[j] = row[j] * row[j]
            left[j] = 1
        for k in range(1, rank):
            row = products[k, at]
            for j in range(width):
                share[j] += row[j] * row[j]
        for k in range(rank, n_products):
            row = products[k, at]
            for j in range(width):
                left[j] -= row[j] * row[j]
        top = best[at]
        for j in range(width):
            one = share[j] / max(left[j], floor)
            counts[j] += np.int32(one >= limit[j])
            top = max(top, one)
        best[at] = top


@compiled_maxima
def sweep(
    rows: NDArray[Any],
    residuals: NDArray[Any],
    rank: int,
    limit: NDArray[Any],
    floor: Any,
    space: NDArray[Any],
    used: NDArray[np.int64],
    counts: NDArray[np.int32],
    best: NDArray[Any],
) -> None:
    """Products of rearranged rows with the residuals of many tiles, each judged while it is in the cache.

    All of it runs without the interpreter: when its threads took turns between the products of two tiles, two
    of them did the work of 1.7.

    Parameters
    ----------
    rows
        ndarray of shape (n_batches, n_products * n_rearranged, d).
    residuals
        ndarray of shape (n_tiles, d, width): of length 1.
    rank, floor
        See `judge`.
    limit
        ndarray of shape (n_tiles, width).
    space
        ndarray of shape (n_products, n_rearranged, width): takes the products.
    used
        ndarray of shape (n_batches,): how many rearrangements of each batch count.
    counts
        ndarray of shape (n_tiles, width): grows by how many shares reach the limit.
    best
        ndarray of shape (n_batches, n_rearranged): raised to the largest shares.
    """
    products = space.reshape(rows.shape[1], space.shape[2])
    for i in range(len(residuals)):
        for batch in range(len(rows)):
            np.dot(rows[batch], residuals[i], products)
            judge(space, rank, limit[i], floor, counts[i], best[batch, : used[batch]])
