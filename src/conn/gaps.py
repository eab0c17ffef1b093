"""Effect sizes of features that some rows lack, from the rows that each of them has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from conn.effects import EffectSize
from conn.errors import DesignError
from conn.glm import Floats

Rows = NDArray[np.bool_]
SizeOf = Callable[[Rows, NDArray[np.int64]], EffectSize]
"""From the rows of some features, of shape (n,), and these features to their effect sizes."""


def filled(size: EffectSize, there: Rows, chosen: Rows, size_of: SizeOf) -> EffectSize:
    """Effect sizes with those of features that some rows lack.

    Parameters
    ----------
    size
        Of the features that have all rows; NaN where a row is missing.
    there : ndarray of shape (n, n_features), bool
        Where a row has a value.
    chosen : ndarray of shape (n_features,), bool
        Features that are tested.
    size_of
        Effect sizes of features that have these rows; features with the same rows are asked for together. A
        `DesignError` leaves them NaN: too few rows are left.

    Returns
    -------
    EffectSize
        NaN where nothing is tested.
    """
    g, low, high = size.g.copy(), size.low.copy(), size.high.copy()
    for features in _alike(there, chosen & ~there.all(axis=0)):
        try:
            own = size_of(there[:, features[0]], features)
        except DesignError:
            continue
        g[features], low[features], high[features] = own.g, own.low, own.high
    gone = ~chosen
    return replace(
        size, g=np.where(gone, np.nan, g), low=np.where(gone, np.nan, low), high=np.where(gone, np.nan, high)
    )


def _alike(there: Rows, chosen: Rows) -> Iterator[NDArray[np.int64]]:
    """Chosen features by the rows that they have."""
    features = np.flatnonzero(chosen)
    if not features.size:
        return
    kinds = np.unique(np.packbits(there[:, features], axis=0), axis=1, return_inverse=True)[1].reshape(-1)
    order = np.argsort(kinds, kind="stable")
    yield from np.split(features[order], np.cumsum(np.bincount(kinds))[:-1])


def design_of(matrix: ArrayLike, contrast: ArrayLike, rows: Rows) -> tuple[Floats, Floats]:
    """Matrix and contrast of some of the rows, without nuisance that says nothing in them.

    Parameters
    ----------
    matrix, contrast
        arrays of shape (n, p) and (p,).
    rows
        Which rows, of shape (n,).

    Returns
    -------
    matrix : ndarray of shape (n_rows, k)
        The nuisance as an orthonormal basis, then the tested column, whose coefficient is the estimate.
    contrast : ndarray of shape (k,)
    """
    m, c = np.asarray(matrix, dtype=np.float64), np.asarray(contrast, dtype=np.float64)[None]
    nuisance = (m @ linalg.null_space(c))[rows]
    basis: NDArray[Any] = linalg.orth(nuisance) if nuisance.shape[1] else nuisance
    made = np.column_stack([basis, (m @ np.linalg.pinv(c))[rows]])
    return made, np.eye(made.shape[1])[-1]
