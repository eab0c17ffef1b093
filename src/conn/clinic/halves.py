"""Split-half reliability: the first half of a run against the second, across people.

Both halves come out of one cleaning. Band and confounds tie their series together a little, so that the
halves of pure noise agree too; by how much follows from the retained basis alone, and is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.correlation import correlation_matrix, fisher_z
from conn.errors import DesignError

Floats = NDArray[np.float64]

FEWEST = 4
"""People with both halves, below which there is no interval."""


@dataclass(frozen=True, eq=False)
class SplitHalf:
    """Agreement of halves; ndarrays of shape (n_features,).

    Attributes
    ----------
    n
        People.
    shared
        Correlation that halves of pure noise have, mean over people.
    r
        Correlation of the halves across people, as it is.
    reliability, low, high
        Of whole runs: share of the variance between people that is not noise of the run. Below 0 where the
        halves agree less than noise does.
    """

    n: int
    shared: float
    r: Floats
    reliability: Floats
    low: Floats
    high: Floats


def shared_noise(basis: Floats, censored: ArrayLike = ()) -> float:
    """Correlation that connectivity of the first and of the second half of a run has if all is white noise.

    Parameters
    ----------
    basis
        ndarray of shape (n_volumes, k): orthonormal basis of the retained time courses.
    censored
        Indices of volumes that do not count.

    Returns
    -------
    float
        Between 0 and 1; NaN when a half has fewer than two volumes.

    Notes
    -----
    With white noise, coefficients in the basis are independent. The covariance of two series in a half is a
    quadratic form of them, x'Gy with G = U'CU of the volumes of the half (C removes their mean); the
    correlation of two such forms is tr(G1 G2) / √(tr(G1²) tr(G2²)), whatever the two series are.
    """
    grams = []
    for rows in split(len(basis), censored):
        if rows.size < 2:
            return float("nan")
        own = basis[rows] - basis[rows].mean(axis=0)
        grams.append(own.T @ own)
    first, second = grams
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else float("nan")


def split(n_volumes: int, censored: ArrayLike = ()) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Volumes of the first and of the second half, of equal number among those that count."""
    kept = np.setdiff1d(np.arange(n_volumes), np.asarray(censored, dtype=np.int64))
    middle = kept.size // 2
    return kept[:middle], kept[middle:]


def half_z(series: Floats) -> tuple[Floats, Floats]:
    """Fisher z between regions in both halves of a run.

    Parameters
    ----------
    series
        ndarray of shape (n_volumes, n_rois), cleaned; rows of NaN are censored, columns of NaN regions that
        are not there.

    Returns
    -------
    two ndarrays of shape (n_rois, n_rois)
    """
    there = np.isfinite(series).any(axis=0)
    gone = np.flatnonzero(~np.isfinite(series[:, there]).all(axis=1))
    halves = []
    for rows in split(len(series), gone):
        own = series[rows] - series[rows].mean(axis=0)
        halves.append(fisher_z(correlation_matrix(own)))
    return halves[0], halves[1]


def split_half(first: Floats, second: Floats, shared: float, alpha: float = 0.05) -> SplitHalf:
    """Reliability of whole runs from their halves.

    Parameters
    ----------
    first, second
        ndarrays of shape (n, n_features): of each person, in each half. A change is that of first halves and
        that of second halves.
    shared
        From `shared_noise`, mean over runs.
    alpha
        Intervals have coverage 1 - alpha; by Fisher's z of the correlation of halves.

    Returns
    -------
    SplitHalf

    Raises
    ------
    DesignError
        Fewer than four people, or `shared` outside [0, 1).

    Notes
    -----
    Noise of variance σ² in each half, correlated by `shared`, and differences between people of variance τ²
    give halves the correlation (τ² + shared · σ²) / (τ² + σ²). Whole runs have the noise
    (1 + shared) σ² / 2, so that their reliability is 2 (r - shared) / ((1 + r) (1 - shared)). With `shared` 0
    this is the formula of Spearman and Brown.

    References
    ----------
    Spearman 1910, 10.1111/j.2044-8295.1910.tb00206.x; Brown 1910, 10.1111/j.2044-8295.1910.tb00207.x.
    """
    n = len(first)
    if n < FEWEST:
        raise DesignError(f"{n} people have both halves; split-half reliability needs {FEWEST}")
    if not 0 <= shared < 1:
        raise DesignError(f"the correlation of halves of noise is {shared}; it must be in [0, 1)")
    x, y = first - first.mean(axis=0), second - second.mean(axis=0)
    size = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    r = (x * y).sum(axis=0) / np.where(size > 0, size, np.nan)
    half = special.ndtri(1 - alpha / 2) / np.sqrt(n - 3)
    z = fisher_z(r)
    bounds = (stepped_up(np.tanh(one), shared) for one in (z, z - half, z + half))
    return SplitHalf(n, shared, r, *bounds)


def stepped_up(r: Floats, shared: float) -> Floats:
    """Reliability of whole runs from the correlation of their halves; see `split_half`."""
    with np.errstate(divide="ignore"):
        return np.asarray(2 * (r - shared) / ((1 + r) * (1 - shared)))
