"""Time courses and noise: band-limited signals, autocorrelated and spatially smooth noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.projection import cosines
from conn.simulate.anatomy import Anatomy, FloatMap

CHUNK = 25
"""Volumes made at a time; a constant, so that bytes depend on nothing else."""

_NEGLIGIBLE = 1e-4
"""Weights below this are 0; much smaller ones would be denormal numbers, which are slow."""

_SIGMA_PER_FWHM = 1.0 / 2.3548200450309493


@dataclass(frozen=True)
class Signal:
    """Strength of everything that is in the data, in units of an image whose CSF is about 1000.

    All are standard deviations over time unless said otherwise.
    """

    roi: float = 20.0
    """Signal of a region."""
    network: float = 13.0
    """Background of grey matter."""
    noise: float = 10.0
    """Thermal and physiological noise of a voxel."""
    autocorrelation: float = 0.3
    """Lag-1 autocorrelation of the noise."""
    fwhm_mm: float = 5.0
    """Spatial smoothness of the noise."""
    band_hz: tuple[float, float] = (0.01, 0.08)
    """Frequencies of the signals of regions and networks."""
    drift: float = 15.0
    """Scanner drift: size of slow changes over the run, different in each part of the brain."""
    global_signal: float = 6.0
    """Fluctuation of the whole brain, strongest in white matter."""
    csf: float = 15.0
    """Pulsation of CSF, which leaks into tissue beside it."""
    spike_per_mm: float = 30.0
    """Artefact of one volume for each mm of framewise displacement."""


def band_limited(
    rng: np.random.Generator, n_series: int, n_volumes: int, tr: float, band_hz: tuple[float, float]
) -> NDArray[np.float64]:
    """Independent Gaussian time courses of unit variance in a frequency band.

    Parameters
    ----------
    rng
        Source of random numbers.
    n_series, n_volumes
        Size.
    tr
        Repetition time in seconds.
    band_hz
        Lowest and highest frequency.

    Returns
    -------
    ndarray of shape (n_series, n_volumes)
        A window of a series four times as long, so that its ends do not meet.
    """
    length = 4 * n_volumes
    frequency = np.fft.rfftfreq(length, tr)
    inside = (frequency >= band_hz[0]) & (frequency <= band_hz[1])
    coefficients = np.zeros((n_series, frequency.size), dtype=complex)
    parts = rng.standard_normal((2, n_series, int(inside.sum())))
    coefficients[:, inside] = parts[0] + 1j * parts[1]
    series = np.fft.irfft(coefficients, length, axis=1)[:, :n_volumes]
    scaled: NDArray[np.float64] = series * length / (2.0 * np.sqrt(inside.sum()))
    return scaled


def band_covariance(n_volumes: int, tr: float, band_hz: tuple[float, float]) -> NDArray[np.float64]:
    """Covariance over time of `band_limited`; ndarray of shape (n_volumes, n_volumes)."""
    frequency = np.fft.rfftfreq(4 * n_volumes, tr)
    inside = frequency[(frequency >= band_hz[0]) & (frequency <= band_hz[1])]
    lag = np.arange(n_volumes) * tr
    return _toeplitz(np.cos(2 * np.pi * np.outer(lag, inside)).mean(axis=1))


def ar1_covariance(n_volumes: int, autocorrelation: float) -> NDArray[np.float64]:
    """Covariance over time of first-order autoregressive noise of unit variance."""
    return _toeplitz(autocorrelation ** np.arange(n_volumes, dtype=float))


def _toeplitz(lags: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.arange(lags.size)
    matrix: NDArray[np.float64] = lags[np.abs(index[:, None] - index)]
    return matrix


def kept_variance(covariance: NDArray[np.float64], tr: float, band_hz: tuple[float, float]) -> float:
    """Share of the variance of a time course that lies inside an analysis band."""
    basis = cosines(len(covariance), tr, *band_hz)
    return float(np.trace(basis.T @ covariance @ basis) / np.trace(covariance))


def smoothing_matrix(size: int, voxel_mm: float, fwhm_mm: float) -> FloatMap:
    """Gaussian smoothing along one axis whose result keeps unit variance; ndarray of shape (size, size)."""
    position = np.arange(size) * voxel_mm
    distance = position[:, None] - position
    sigma = fwhm_mm * _SIGMA_PER_FWHM
    kernel: NDArray[np.float64] = np.exp(-0.5 * (distance / sigma) ** 2) if sigma > 0 else np.eye(size)
    kernel[kernel < _NEGLIGIBLE] = 0.0
    kernel /= np.sqrt((kernel**2).sum(axis=1, keepdims=True))
    return kernel.astype(np.float32)


def noise_correlation(xyz: NDArray[np.floating], voxel_mm: float, fwhm_mm: float) -> NDArray[np.float64]:
    """Correlation of smooth noise between voxels; ndarray of shape (n_voxels, n_voxels).

    Parameters
    ----------
    xyz
        ndarray of shape (n_voxels, 3), centres in mm.
    voxel_mm, fwhm_mm
        Voxel size and smoothness.
    """
    reach = int(np.ceil(4 * fwhm_mm / voxel_mm)) + 1
    taps = smoothing_matrix(4 * reach + 1, voxel_mm, fwhm_mm)[2 * reach].astype(float)
    by_lag = np.correlate(taps, taps, mode="full")[taps.size - 1 :]
    lags = np.rint(np.abs(xyz[:, None, :] - xyz[None, :, :]) / voxel_mm).astype(int)
    known = np.append(by_lag, 0.0)
    product: NDArray[np.float64] = known[np.minimum(lags, by_lag.size)].prod(axis=2)
    return product


def smooth_noise(
    rng: np.random.Generator, anatomy: Anatomy, n_volumes: int, signal: Signal
) -> Iterator[FloatMap]:
    """Noise in chunks of volumes.

    Parameters
    ----------
    rng
        Source of random numbers.
    anatomy
        Where noise is needed.
    n_volumes
        Length of the run.
    signal
        Its size, autocorrelation and smoothness.

    Yields
    ------
    ndarray of shape (up to CHUNK, n_active), float32
    """
    sizes = [stop - start for start, stop in anatomy.box]
    along_z, along_y, along_x = (smoothing_matrix(n, anatomy.voxel_mm, signal.fwhm_mm) for n in sizes)
    phi = np.float32(signal.autocorrelation)
    fresh = np.float32(np.sqrt(1.0 - signal.autocorrelation**2))
    before: FloatMap | None = None
    for start in range(0, n_volumes, CHUNK):
        count = min(CHUNK, n_volumes - start)
        white = rng.standard_normal((count, *sizes), dtype=np.float32)
        rows = white.reshape(-1, sizes[2]) @ along_x.T
        planes = np.matmul(along_y, rows.reshape(count * sizes[0], sizes[1], sizes[2]))
        volumes = np.matmul(along_z, planes.reshape(count, sizes[0], -1)).reshape(count, -1)
        chunk = volumes[:, anatomy.in_box]
        for t in range(count):
            if before is not None:
                chunk[t] = phi * before + fresh * chunk[t]
            before = chunk[t]
        yield chunk * np.float32(signal.noise)
