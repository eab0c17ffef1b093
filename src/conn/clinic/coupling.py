"""Change and baseline: what regression to the mean and mathematical coupling make of them.

Baseline stands on both sides of a correlation of change with baseline, so that error of measurement alone
makes it negative. Oldham's correlation of change with the mean of both does not have that fault: it is 0 when
the variances are equal, and its test is that of Pitman and Morgan for equal variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Coupling:
    """Two measurements of the same people, per feature; ndarrays of shape (n_features,).

    Attributes
    ----------
    n
        People with both.
    r
        Correlation of the first with the second.
    baseline_change, baseline_low, baseline_high
        Correlation of the first with the change, with its interval.
    expected
        What that correlation is when variances are equal: ``-sqrt((1 - r) / 2)``.
    oldham, oldham_low, oldham_high
        Correlation of the change with the mean of both, with its interval.
    variance_ratio, ratio_low, ratio_high
        Variance of the second over that of the first, with the interval of Morgan.
    p
        Two-sided, of equal variances, which is that of Oldham's correlation.
    """

    n: NDArray[np.int64]
    r: Floats
    baseline_change: Floats
    baseline_low: Floats
    baseline_high: Floats
    expected: Floats
    oldham: Floats
    oldham_low: Floats
    oldham_high: Floats
    variance_ratio: Floats
    ratio_low: Floats
    ratio_high: Floats
    p: Floats


def coupling(first: ArrayLike, second: ArrayLike, alpha: float = 0.05) -> Coupling:
    """Correlations and variances of two measurements of the same people.

    Parameters
    ----------
    first, second
        arrays of shape (n, n_features); people who lack one of the two are left out of that feature.
    alpha
        Intervals have coverage 1 - alpha.

    Returns
    -------
    Coupling
        NaN with fewer than 4 people, or where one of the two does not vary.

    References
    ----------
    Oldham 1962, J Chronic Dis 15:969-977 (change against mean); Pitman 1939, 10.1093/biomet/31.1-2.9, and
    Morgan 1939, 10.1093/biomet/31.1-2.13 (equality of correlated variances).
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    there = np.isfinite(x) & np.isfinite(y)
    x, y = (np.where(there, values, np.nan) for values in (x, y))
    n = there.sum(axis=0)
    varies = np.isfinite(_variance(x, n)) & np.isfinite(_variance(y, n))
    x, y = (np.where(varies, values, np.nan) for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = _correlation(x, y, n)
        against_baseline, oldham = _correlation(x, y - x, n), _correlation(x + y, y - x, n)
        ratio = _variance(y, n) / _variance(x, n)
        freedom = np.where(n > 3, n - 2.0, np.nan)
        t = oldham * np.sqrt(freedom / (1 - np.square(oldham)))
        spread = 2 * (1 - np.square(r)) * np.square(special.stdtrit(freedom, 1 - alpha / 2)) / freedom
        wide = np.sqrt(np.square(1 + spread) - 1)
        return Coupling(
            n,
            r,
            against_baseline,
            *_interval(against_baseline, n, alpha),
            -np.sqrt((1 - r) / 2),
            oldham,
            *_interval(oldham, n, alpha),
            ratio,
            ratio * (1 + spread - wide),
            ratio * (1 + spread + wide),
            2 * special.stdtr(freedom, -np.abs(t)),
        )


def _centred(values: Floats, n: NDArray[np.int64]) -> Floats:
    return np.asarray(np.nan_to_num(values - np.nansum(values, axis=0) / np.maximum(n, 1)))


def _variance(values: Floats, n: NDArray[np.int64]) -> Floats:
    found = np.square(_centred(values, n)).sum(axis=0) / np.where(n > 3, n - 1.0, np.nan)
    return np.where(found > 0, found, np.nan)


def _correlation(a: Floats, b: Floats, n: NDArray[np.int64]) -> Floats:
    u, v = _centred(a, n), _centred(b, n)
    size = np.sqrt(np.square(u).sum(axis=0) * np.square(v).sum(axis=0))
    return np.where((n > 3) & (size > 0), np.clip((u * v).sum(axis=0) / size, -1, 1), np.nan)


def _interval(r: Floats, n: NDArray[np.int64], alpha: float) -> tuple[Floats, Floats]:
    half = special.ndtri(1 - alpha / 2) / np.sqrt(np.where(n > 3, n - 3.0, np.nan))
    return np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)
