"""Share of variance that an effect explains, judged in one pass over products with rearranged residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled_maxima


@compiled_maxima
def judge(
    products: NDArray[Any], rank: int, limit: NDArray[Any], floor: Any, reached: NDArray[np.bool_]
) -> NDArray[Any]:
    """Which shares reach a limit, and the largest share of each rearrangement.

    A product is read once and nothing of the size of a tile is written but one byte an element; with an
    array operation for each step, most of the time went to memory.

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
    reached
        bool ndarray of shape (n_rearranged, width): overwritten by whether the share reaches the limit.

    Returns
    -------
    ndarray of shape (n_rearranged,)
        The largest share.
    """
    n_products, n_rearranged, width = products.shape
    best = np.zeros(n_rearranged, dtype=products.dtype)
    share = np.empty(width, dtype=products.dtype)
    left = np.empty(width, dtype=products.dtype)
    for at in range(n_rearranged):
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
        own = reached[at]
        top = best[at]
        for j in range(width):
            one = share[j] / max(left[j], floor)
            own[j] = one >= limit[j]
            top = max(top, one)
        best[at] = top
    return best
