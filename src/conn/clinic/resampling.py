"""Bootstrap of people: what is drawn, and intervals that are corrected for bias and skewness."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.errors import DesignError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

BATCH_BYTES = 32 << 20
"""Bound on the resampled values that are held at a time."""


def draws(strata: ArrayLike, n_resamples: int, seed: int) -> Rows:
    """People drawn with replacement, within strata.

    Parameters
    ----------
    strata
        array of shape (n,): as many people of each value are drawn as there are.
    n_resamples
        Number of resamples.
    seed
        Of the drawing.

    Returns
    -------
    int64 ndarray of shape (n_resamples, n)
        The person in each place; places of a stratum hold people of that stratum.
    """
    codes = np.unique(np.asarray(strata), return_inverse=True)[1].reshape(-1)
    rng = np.random.default_rng(seed)
    drawn = np.empty((n_resamples, codes.size), dtype=np.int64)
    for code in range(codes.max() + 1):
        rows = np.flatnonzero(codes == code)
        drawn[:, rows] = rows[rng.integers(0, rows.size, size=(n_resamples, rows.size))]
    return drawn


def leave_one_out(n: int) -> Rows:
    """All people but one, of shape (n, n - 1)."""
    everybody = np.tile(np.arange(n), (n, 1))
    return everybody[~np.eye(n, dtype=bool)].reshape(n, n - 1)


def replicates(statistic: Callable[[Rows], Floats], rows: Rows, bytes_per_row: int) -> Floats:
    """A statistic of many resamples, batch by batch.

    Parameters
    ----------
    statistic
        From rows of shape (b, n) to values of shape (b, m).
    rows
        int64 ndarray of shape (n_resamples, n).
    bytes_per_row
        Memory that one resample takes in `statistic`.

    Returns
    -------
    ndarray of shape (n_resamples, m)
    """
    size = max(1, BATCH_BYTES // max(1, bytes_per_row))
    return np.concatenate([statistic(rows[start : start + size]) for start in range(0, len(rows), size)])


def bca(
    observed: Floats, resampled: Floats, left_out: Sequence[Floats], alpha: float = 0.05
) -> tuple[Floats, Floats]:
    """Intervals that are corrected for bias and skewness (BCa).

    Parameters
    ----------
    observed
        ndarray of shape (m,).
    resampled
        ndarray of shape (n_resamples, m); NaN where a resample has no value.
    left_out
        For each sample that people were drawn from, an ndarray of shape (n_k, m): the statistic without each
        of its people.
    alpha
        Intervals have coverage 1 - alpha.

    Returns
    -------
    low, high
        ndarrays of shape (m,); NaN where nothing was observed, fewer than half of the resamples have a value,
        or all resamples lie on one side.

    Raises
    ------
    DesignError
        alpha outside (0, 1).

    References
    ----------
    Efron 1987, 10.1080/01621459.1987.10478410; Efron and Tibshirani 1993, 10.1007/978-1-4899-4541-9 (chapter
    14). Several samples are combined as `scipy.stats.bootstrap` does.
    """
    if not 0 < alpha < 1:
        raise DesignError(f"alpha is {alpha}; it must lie between 0 and 1")
    there = np.isfinite(resampled)
    n_there = there.sum(axis=0)
    # Half of the ties, so that discrete statistics have no bias of their own.
    below = (resampled < observed).sum(axis=0) + 0.5 * (resampled == observed).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        bias = special.ndtri(below / n_there)
    pull = _acceleration(left_out)
    ordered = np.sort(resampled, axis=0)
    usable = np.isfinite(observed) & np.isfinite(bias) & (2 * n_there >= len(resampled))
    bounds = []
    for tail in (alpha / 2, 1 - alpha / 2):
        shifted = np.where(usable, bias, 0.0) + special.ndtri(tail)
        level = special.ndtr(np.where(usable, bias, 0.0) + shifted / (1 - pull * shifted))
        bounds.append(np.where(usable, _quantile(ordered, n_there, level), np.nan))
    return bounds[0], bounds[1]


def percentile(resampled: Floats, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """Percentile intervals, of shape (m,) each; NaN where fewer than half of the resamples have a value."""
    n_there = np.isfinite(resampled).sum(axis=0)
    ordered = np.sort(resampled, axis=0)
    usable = (2 * n_there >= len(resampled)) & (n_there > 0)
    low, high = (
        np.where(usable, _quantile(ordered, n_there, np.full(n_there.shape, level)), np.nan)
        for level in (alpha / 2, 1 - alpha / 2)
    )
    return low, high


def _acceleration(left_out: Sequence[Floats]) -> Floats:
    """How fast the standard error changes with the value, from the pull of each person."""
    cubes, squares = np.zeros(left_out[0].shape[1]), np.zeros(left_out[0].shape[1])
    for one in left_out:
        n = len(one)
        pull = (n - 1) * (one.mean(axis=0) - one) / n
        cubes += (pull**3).sum(axis=0)
        squares += (pull**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(cubes / squares**1.5 / 6))


def _quantile(ordered: Floats, n_there: Rows, level: Floats) -> Floats:
    """Quantile of the first n_there values of each ascending column, interpolated."""
    place = level * np.maximum(n_there - 1, 0)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(n_there - 1, 0))
    first = np.take_along_axis(ordered, lower[None], axis=0)[0]
    second = np.take_along_axis(ordered, upper[None], axis=0)[0]
    return np.asarray(first + (place - lower) * (second - first))
