"""Variance of a correlation between autocorrelated series (xDF).

Volumes of a run are not independent: a correlation of n of them varies more from run to run than
1 / (n - 3) says, and by how much depends on the pair. The estimator of Afyouni, Smith and Nichols (2019,
10.1016/j.neuroimage.2019.05.011) adds up the autocorrelation of both series and their cross-correlation at
all lags. The order of the series in time is used, so that a run with censored volumes has no place here.

The variance describes one run. It is never a group weight by itself, since people differ by more than the
noise of their runs, and no p value is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from conn.correlation import CLIP, correlation_matrix

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Truncation = Literal["adaptive", "tukey"]

CRITICAL = NormalDist().inv_cdf(0.975)
"""Bound of the 95 % interval of a white series' autocorrelation, in standard deviations 1 / sqrt(lags)."""


@dataclass(frozen=True)
class XdfVariance:
    """Variance of the correlations of one run.

    Attributes
    ----------
    r
        ndarray of shape (n_rois, n_rois), Pearson correlation.
    variance_r
        ndarray of shape (n_rois, n_rois), variance of r; at least (1 - r²)² / n_volumes.
    variance_z
        ndarray of shape (n_rois, n_rois), variance of Fisher's z by the delta method,
        variance_r / (1 - r²)²; at least 1 / n_volumes.
    lags
        ndarray of shape (n_rois,), autocorrelations that were kept, counted from lag 1; 0 for a series that
        looks white and for a region that is not there.

    All three matrices are exactly symmetric and NaN for regions that are not there. Both variances are NaN on
    the diagonal and wherever else abs(r) exceeds `conn.correlation.CLIP`: two names for one series.
    """

    r: Float64
    variance_r: Float64
    variance_z: Float64
    lags: Int64


def xdf_variance(series: Float64, truncation: Truncation = "adaptive") -> XdfVariance:
    """Variance of r and of Fisher's z for all pairs of regions.

    Sampled autocorrelations do not die out as true ones do, hence they are cut. What remains may fall below
    the variance of independent volumes, (1 - r²)² / n_volumes, which then takes its place.

    Parameters
    ----------
    series
        ndarray of shape (n_volumes, n_rois), cleaned series of all volumes of a run in their order, in any
        unit. Columns that hold a NaN or never change are regions that are not there.
    truncation
        ``adaptive``: each autocorrelation ends before the first lag at which it cannot be told from zero, and
        a cross-correlation at the later end of the two (recommended in the source). ``tukey``: all taper to
        zero over 2 sqrt(n_volumes) lags (Woolrich et al. 2001, 10.1006/nimg.2001.0931).

    Returns
    -------
    XdfVariance
        Never a group weight by itself, and no p value is made from it.

    Raises
    ------
    ValueError
        If `truncation` is neither of the two.

    Notes
    -----
    The weight of a lag is n_volumes - 1 - lag, as in the authors' code. Two limits. The autocorrelation of a
    band-passed series swings around zero; the adaptive end comes before the first zero, and the variance
    comes out a fifth to two fifths too small. And two series of different memory can vary less in their
    correlation than independent volumes would, where the bound from below makes the variance too large.
    """
    unit, there = _unit_series(np.asarray(series, dtype=np.float64))
    r = correlation_matrix(unit)
    acf = _autocorrelation(unit)
    lags, taper = _window(acf, unit.shape[0], truncation)
    iid = np.where(np.abs(r) <= CLIP, (1.0 - r**2) ** 2, np.nan)
    variance_z = np.maximum(_variance(unit, r, acf, lags, taper) / iid, 1.0 / unit.shape[0])
    kept = np.zeros(there.size, dtype=np.int64)
    kept[there] = lags
    return XdfVariance(_placed(r, there), _placed(variance_z * iid, there), _placed(variance_z, there), kept)


def least_variance_z(k: int) -> float:
    """Variance of Fisher's z between independent series of k degrees of freedom, 1 / (k - 2).

    xDF counts volumes and sees the cleaned series alone. Those lie in k dimensions, so that their correlation
    varies at least as much as that of k + 1 independent numbers about their mean. Where confounds and band
    take most of a run, that is the larger of the two by far: for white noise of which k = 74 of 200 volumes
    are kept, xDF alone is a quarter too small.

    Parameters
    ----------
    k
        Degrees of freedom of the cleaned series, above 2.
    """
    return 1.0 / (k - 2)


def _unit_series(series: Float64) -> tuple[Float64, NDArray[np.bool_]]:
    """Regions that are there, without mean and of unit length, and which they are.

    A constant comes out of a mean with rounding errors, not with zeros.
    """
    finite = np.isfinite(series).all(axis=0)
    centred = np.where(finite, series, 0.0)
    size = np.abs(centred).max(axis=0, initial=0.0)
    centred = centred - centred.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    there = norm > series.shape[0] * np.finfo(np.float64).eps * size
    return centred[:, there] / norm[there], there


def _autocorrelation(unit: Float64) -> Float64:
    """Autocorrelation at lags 1 ... n_volumes - 2, ndarray of shape (n_volumes - 2, n_rois).

    Every lag is divided by the sum of squares of the whole series, which draws late lags to zero.
    """
    n = unit.shape[0]
    spectrum = np.abs(np.fft.rfft(unit, 2 * n, axis=0)) ** 2
    return np.fft.irfft(spectrum, 2 * n, axis=0)[1 : n - 1]


def _window(acf: Float64, n_volumes: int, truncation: Truncation) -> tuple[Int64, Float64]:
    """Number of lags kept per region, and the weight of each lag."""
    n_lags, n_rois = acf.shape
    if truncation == "adaptive":
        ends = np.ones((n_lags + 1, n_rois), dtype=np.bool_)
        ends[:-1] = np.abs(acf) <= CRITICAL / np.sqrt(n_lags)
        return np.argmax(ends, axis=0), np.ones(n_lags)
    if truncation == "tukey":
        width = round(2.0 * np.sqrt(n_volumes))
        taper = (1.0 + np.cos(np.pi * np.arange(1, n_lags + 1) / width)) / 2.0
        return np.full(n_rois, min(width, n_lags)), taper
    raise ValueError(f"truncation = {truncation!r} is none of {', '.join(get_args(Truncation))}.")


def _variance(unit: Float64, r: Float64, acf: Float64, lags: Int64, taper: Float64) -> Float64:
    """Variance of r by equation 2 of the source, not yet held above that of independent volumes.

    Lag by lag, one product of matrices gives the cross-correlation of all pairs: memory stays at a few
    n_rois² numbers, and the lags that were cut cost nothing.
    """
    n = len(unit)
    reach = np.maximum.outer(lags, lags)
    total = (n - 1) * (1.0 - r**2) ** 2
    for lag in range(1, int(lags.max(initial=0)) + 1):
        weight = taper[lag - 1]
        own = np.where(lag <= lags, weight * acf[lag - 1], 0.0)
        cross = np.where(lag <= reach, weight * (unit[:-lag].T @ unit[lag:]), 0.0)
        total += (n - 1 - lag) * _lag_term(r, own, cross)
    return total / n**2


def _lag_term(r: Float64, own: Float64, cross: Float64) -> Float64:
    """What one lag adds to the variance, before its weight.

    The brackets within it keep the result exactly symmetric: a sum of three numbers depends on their order.
    """
    x, y, back = own[:, None], own[None, :], cross.T
    squares = (x**2 + y**2) + (cross**2 + back**2)
    return r**2 * squares - 2.0 * r * ((x + y) * (cross + back)) + 2.0 * (x * y + cross * back)


def _placed(matrix: Float64, there: NDArray[np.bool_]) -> Float64:
    """The matrix of all regions, NaN for those that are not there."""
    full = np.full((there.size, there.size), np.nan)
    full[np.ix_(there, there)] = matrix
    return full
