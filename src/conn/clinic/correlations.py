"""Partial correlations of scores with connectivity: Pearson's, of ranks, and percentage bend.

Arrays may have further axes in front, one entry for each resample: people are the axis before the last.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conn.errors import DesignError

Floats = NDArray[np.float64]
Kind = Literal["pearson", "spearman", "bend"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BEND = 0.2
"""Share of people whose distance from the middle counts as large (Wilcox 1994, 10.1007/BF02294395)."""

RANK = 1e-10
"""Directions of the nuisance that are weaker than this share of the strongest do not count."""

SAME = 1e-10
"""What is left of a column, as a share of it, when it is nothing but rounding."""


def correlate(
    connectivity: Floats,
    score: Floats,
    nuisance: Floats,
    own: Floats | None = None,
    kind: Kind = "pearson",
) -> Floats:
    """Partial correlation of one score with every feature.

    Parameters
    ----------
    connectivity
        ndarray of shape (..., n, n_features), Fisher z or its change.
    score
        ndarray of shape (..., n).
    nuisance
        ndarray of shape (..., n, p): what is held constant, the constant included. Columns may depend on each
        other.
    own
        ndarray of the shape of `connectivity`: one more column for each feature, its baseline.
    kind
        ``spearman``: everything but columns of two values is replaced by its ranks first. ``bend``: what is
        left after least squares is bent, see `bent`.

    Returns
    -------
    ndarray of shape (..., n_features)
        NaN where nothing varies.

    Notes
    -----
    The percentage bend correlation limits how far one person can pull each of the two variables. It was
    chosen among robust ones because it has one fixed rule, costs two medians, keeps the error under
    independence, and is Pearson's r up to a few per cent when data are normal. Skipped correlations, which
    first look for outliers in both variables together, need a cut-off that depends on n, and then are too
    liberal unless it is simulated for each n.

    Raises
    ------
    DesignError
        An unknown kind.

    References
    ----------
    Wilcox 1994, 10.1007/BF02294395; Pernet, Wilcox and Rousselet 2013, 10.3389/fpsyg.2012.00606.
    """
    if kind not in KINDS:
        raise DesignError(f"correlation {kind!r} is none of {', '.join(KINDS)}")
    columns = score[..., None]
    if kind == "spearman":
        connectivity, columns, nuisance = ranked(connectivity), ranked(columns), ranked(nuisance)
        own = None if own is None else ranked(own)
    x, y = residuals(connectivity, columns, nuisance, own)
    return product(bent(x), bent(y)) if kind == "bend" else product(x, y)


def residuals(
    connectivity: Floats, columns: Floats, nuisance: Floats, own: Floats | None
) -> tuple[Floats, Floats]:
    """What least squares leave of connectivity and of scores, of shapes (..., n, n_features or 1)."""
    basis = span(nuisance)
    x, y = without(basis, connectivity), without(basis, columns)
    if own is None:
        return x, y
    unit = _unit(without(basis, own))
    return _aside(x, unit), _aside(np.broadcast_to(y, x.shape), unit)


def span(nuisance: Floats) -> Floats:
    """Orthonormal basis of the columns, of shape (..., n, p); columns of zeros where they are dependent."""
    u, size, _ = np.linalg.svd(nuisance, full_matrices=False)
    kept = size > RANK * size[..., :1]
    return np.asarray(u * kept[..., None, :])


def without(basis: Floats, columns: Floats) -> Floats:
    """Columns without what lies in the span of a basis; nothing but rounding becomes 0."""
    left = columns - basis @ (np.swapaxes(basis, -1, -2) @ columns)
    size = np.linalg.norm(columns, axis=-2, keepdims=True)
    nothing = np.linalg.norm(left, axis=-2, keepdims=True) <= SAME * size
    return np.asarray(np.where(nothing, 0.0, left))


def ranked(columns: Floats) -> Floats:
    """Mid-ranks of each column; a column of two values keeps what it says."""
    return np.asarray(stats.rankdata(columns, axis=-2), dtype=np.float64)


def bent(columns: Floats) -> Floats:
    """Distances from the middle in units of the bend, those beyond 1 drawn back to 1.

    Parameters
    ----------
    columns
        ndarray of shape (..., n, m).

    Returns
    -------
    ndarray of shape (..., n, m)
        Between -1 and 1. All 0 where more than a share of 1 - `BEND` of the people have the same value.

    References
    ----------
    Wilcox 1994, 10.1007/BF02294395.
    """
    n = columns.shape[-2]
    distance = np.abs(columns - np.median(columns, axis=-2, keepdims=True))
    place = int((1 - BEND) * n + 0.5) - 1
    unit = np.partition(distance, place, axis=-2)[..., place : place + 1, :]
    usable = unit > 0
    unit = np.where(usable, unit, 1.0)
    middle = _middle(columns, unit)
    return np.asarray(np.where(usable, np.clip((columns - middle) / unit, -1, 1), 0.0))


def _middle(columns: Floats, unit: Floats) -> Floats:
    """The one-step percentage bend measure of location, of shape (..., 1, m)."""
    far = (columns - np.median(columns, axis=-2, keepdims=True)) / unit
    below, above = far < -1, far > 1
    inner = np.where(below | above, 0.0, columns).sum(axis=-2, keepdims=True)
    more = above.sum(axis=-2, keepdims=True) - below.sum(axis=-2, keepdims=True)
    near = (~(below | above)).sum(axis=-2, keepdims=True)
    return np.asarray((unit * more + inner) / near)


def product(x: Floats, y: Floats) -> Floats:
    """Correlation of columns that are centred already, of shape (..., m)."""
    both = np.einsum("...ij,...ij->...j", x, np.broadcast_to(y, x.shape))
    size = np.linalg.norm(x, axis=-2) * np.linalg.norm(y, axis=-2)
    return np.asarray(np.clip(both / np.where(size > 0, size, np.nan), -1.0, 1.0))


def _unit(columns: Floats) -> Floats:
    size = np.linalg.norm(columns, axis=-2, keepdims=True)
    return np.asarray(columns / np.where(size > 0, size, 1.0))


def _aside(columns: Floats, unit: Floats) -> Floats:
    return np.asarray(columns - unit * np.einsum("...ij,...ij->...j", unit, columns)[..., None, :])
