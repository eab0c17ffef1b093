"""How large a correlation can be: noise of measurement in both variables draws it towards 0."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.clinic.correlations import span, without

Floats = NDArray[np.float64]

NEAR = 0.9
"""Share of the ceiling from which a correlation is flagged as near it."""

Flag = Literal["", "near", "above"]


def reliability_of_rest(after: Floats, before: Floats | None, held: Floats, sem: ArrayLike) -> Floats:
    """Share of what is correlated that is no error of measurement.

    Parameters
    ----------
    after
        ndarray of shape (n, m): a measurement; or a change, with its baseline in `before`.
    before
        ndarray of shape (n, m): one more measurement, with an error of the same size, that is taken off with
        the slope that fits best; None for none.
    held
        ndarray of shape (n, p): what else is held constant, the constant included.
    sem
        array broadcast to (m,): standard error of measurement of `after` as it is given: that of a change is
        √2 times that of a score.

    Returns
    -------
    ndarray of shape (m,)
        1 - var(error) / var(rest); below 0 where the error is estimated to be larger than what there is, NaN
        where a standard error is.

    Notes
    -----
    What is left after least squares is ``after - b · before - …``; its error has the variance
    sem² (1 + b²). The error that `held` carries is not counted.
    """
    rest, slope = _rest(after, before, held)
    free = len(after) - np.linalg.matrix_rank(held) - (before is not None)
    variance = (rest**2).sum(axis=0) / free
    error = np.square(np.asarray(sem, dtype=np.float64)) * (1 + slope**2)
    return np.asarray(1 - error / np.where(variance > 0, variance, np.nan))


def _rest(after: Floats, before: Floats | None, held: Floats) -> tuple[Floats, Floats]:
    """What is left of each column, and the slope on its baseline (0 without one)."""
    basis = span(held)
    rest = without(basis, after)
    if before is None:
        return rest, np.zeros(after.shape[1])
    own = without(basis, before)
    size = (own**2).sum(axis=0)
    slope = (own * rest).sum(axis=0) / np.where(size > 0, size, np.nan)
    return rest - slope * own, slope


def ceiling(*reliabilities: ArrayLike) -> Floats:
    """Largest correlation that two variables of these reliabilities can be expected to have.

    Parameters
    ----------
    *reliabilities
        Arrays of one shape, at most 1; NaN where one is not known.

    Returns
    -------
    ndarray of that shape
        Root of their product; NaN where one of them is not above 0, which an estimate may be. A correlation
        in a sample may come out larger, by chance or because the reliabilities are wrong.

    References
    ----------
    Spearman 1904, 10.2307/1412159.
    """
    product = np.asarray(1.0)
    for one in reliabilities:
        known = np.asarray(one, dtype=np.float64)
        product = product * np.where(known > 0, known, np.nan)
    return np.asarray(np.sqrt(product))


def flags(r: ArrayLike, ceilings: ArrayLike) -> list[Flag]:
    """Whether each correlation is ``near`` its ceiling or ``above`` it; empty where neither or not known."""
    found: list[Flag] = []
    for one, limit in zip(np.abs(np.ravel(r)), np.ravel(ceilings), strict=True):
        if not np.isfinite(one) or not np.isfinite(limit) or one < NEAR * limit:
            found.append("")
        else:
            found.append("above" if one >= limit else "near")
    return found
