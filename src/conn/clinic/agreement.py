"""Agreement of repeated measurements: intraclass correlation, error of measurement, detectable change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conn.errors import DesignError

Floats = NDArray[np.float64]

FEWEST = 3
"""People who were measured more than once, below which there is no intraclass correlation."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well repeated measurements of unchanged people agree; ndarrays of shape (n_features,).

    Attributes
    ----------
    n
        People who were measured every time.
    absolute, absolute_low, absolute_high
        ICC(2,1): one measurement, absolute agreement; a shift between sessions counts as disagreement.
    consistent, consistent_low, consistent_high
        ICC(3,1): one measurement, consistency; a shift that all people share does not count.
    sem, sem_low, sem_high
        Standard error of measurement, root of the mean square of the error, in units of the data: without
        the shift that all people share.
    detectable
        1.96 · √2 · sem: a change of one person beyond this is larger than two measurements of an unchanged
        person differ in 95 % of cases.
    shift
        Mean of the last measurement minus that of the first.
    """

    n: int
    absolute: Floats
    absolute_low: Floats
    absolute_high: Floats
    consistent: Floats
    consistent_low: Floats
    consistent_high: Floats
    sem: Floats
    sem_low: Floats
    sem_high: Floats
    detectable: Floats
    shift: Floats


def agreement(measured: Floats, alpha: float = 0.05) -> Agreement:
    """Intraclass correlations of people who were measured k times.

    Parameters
    ----------
    measured
        ndarray of shape (n, k, n_features). A feature that somebody lacks once is NaN.
    alpha
        Intervals have coverage 1 - alpha. They assume normal data.

    Returns
    -------
    Agreement

    Raises
    ------
    DesignError
        Fewer than three people, or measured only once.

    References
    ----------
    Shrout and Fleiss 1979, 10.1037/0033-2909.86.2.420; McGraw and Wong 1996, 10.1037/1082-989X.1.1.30 (table
    4, and table 7 for intervals); Weir 2005, 10.1519/15184.1 (standard error of measurement).
    """
    n, k, _ = measured.shape
    if n < FEWEST or k < 2:
        raise DesignError(
            f"{n} people were measured {k} times; an intraclass correlation needs {FEWEST} people and 2 times"
        )
    squares = _mean_squares(measured)
    consistent = _consistent(squares, n, k, alpha)
    absolute = _absolute(squares, n, k, alpha)
    df = (n - 1) * (k - 1)
    sem = np.sqrt(squares.error)
    low, high = (sem * np.sqrt(df / stats.chi2.ppf(p, df)) for p in (1 - alpha / 2, alpha / 2))
    detectable = stats.norm.isf(0.025) * np.sqrt(2) * sem
    shift = measured[:, -1].mean(axis=0) - measured[:, 0].mean(axis=0)
    return Agreement(n, *absolute, *consistent, sem, low, high, detectable, shift)


@dataclass(frozen=True, eq=False)
class _Squares:
    """Mean squares between people, between times, and of the rest; of shape (n_features,)."""

    people: Floats
    times: Floats
    error: Floats


def _mean_squares(measured: Floats) -> _Squares:
    n, k, _ = measured.shape
    mean = measured.mean(axis=(0, 1))
    of_people, of_times = measured.mean(axis=1), measured.mean(axis=0)
    rest = measured - of_people[:, None] - of_times[None] + mean
    return _Squares(
        k * ((of_people - mean) ** 2).sum(axis=0) / (n - 1),
        n * ((of_times - mean) ** 2).sum(axis=0) / (k - 1),
        (rest**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1)),
    )


def _consistent(squares: _Squares, n: int, k: int, alpha: float) -> tuple[Floats, Floats, Floats]:
    """ICC(3,1), from the exact distribution of F."""
    df = ((n - 1), (n - 1) * (k - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = squares.people / squares.error
        low = ratio / stats.f.isf(alpha / 2, *df)
        high = ratio * stats.f.isf(alpha / 2, *df[::-1])
        r, below, above = ((f - 1) / (f + k - 1) for f in (ratio, low, high))
    return r, below, above


def _absolute(squares: _Squares, n: int, k: int, alpha: float) -> tuple[Floats, Floats, Floats]:
    """ICC(2,1), with degrees of freedom by Satterthwaite."""
    people, times, error = squares.people, squares.times, squares.error
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (people - error) / (people + (k - 1) * error + k * (times - error) / n)
        a, b = k * r / (n * (1 - r)), 1 + k * r * (n - 1) / (n * (1 - r))
        v = (a * times + b * error) ** 2 / (
            (a * times) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
        )
        below, above = stats.f.isf(alpha / 2, n - 1, v), stats.f.isf(alpha / 2, v, n - 1)
        rest = k * times + (k * n - k - n) * error
        low = n * (people - below * error) / (below * rest + n * people)
        high = n * (above * people - error) / (rest + n * above * people)
    return r, low, high
