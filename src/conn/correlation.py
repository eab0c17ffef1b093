"""Correlations from retained coefficients: ROI series, matrices, seed maps.

Columns of Y are time courses in an orthonormal basis without the constant: their inner products are
covariances up to a common factor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLIP = 1.0 - 1e-7
"""|r| is clipped here before arctanh, so that z stays finite (8.4 at most)."""

BLOCK = 4096
"""Columns per matrix product in float64; a constant, so that results do not depend on memory, and small: one
product of 300 × 20,000 with its own transpose crashes with some versions of OpenBLAS on some processors."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def fisher_z(r: NDArray[np.floating]) -> Float64:
    """Inverse hyperbolic tangent of r, clipped just below |r| = 1; NaN stays NaN.

    Written with a logarithm, which NumPy computes for several numbers at once: half the time of
    `numpy.arctanh`, the same to 1e-10.
    """
    clipped = np.clip(np.asarray(r, dtype=np.float64), -CLIP, CLIP)
    z: Float64 = 0.5 * np.log((1.0 + clipped) / (1.0 - clipped))
    return z


def roi_coefficients(
    Y: Float32, members: Sequence[NDArray[np.int64]], weights: Sequence[Float64] | None = None
) -> Float64:
    """Mean coefficients of each region.

    Parameters
    ----------
    Y
        ndarray of shape (k, n_voxels), unsmoothed.
    members
        Per region, the columns of Y that belong to it and are usable; empty for a region that is not there.
    weights
        Per region, how much each of its columns counts; None for all alike.

    Returns
    -------
    ndarray of shape (k, n_rois)
        NaN columns for empty regions.
    """
    out = np.full((Y.shape[0], len(members)), np.nan)
    for column, voxels in enumerate(members):
        if not voxels.size:
            continue
        if weights is None:
            out[:, column] = Y[:, voxels].mean(axis=1, dtype=np.float64)
        else:
            weight = weights[column]
            out[:, column] = Y[:, voxels].astype(np.float64) @ (weight / weight.sum())
    return out


def remove(Y: Float32, basis: Float64) -> None:
    """Take the span of a basis out of all columns of Y, in place.

    Parameters
    ----------
    Y
        ndarray of shape (k, n_voxels).
    basis
        ndarray of shape (k, m), orthonormal.
    """
    for start in range(0, Y.shape[1], BLOCK):
        part = Y[:, start : start + BLOCK].astype(np.float64)
        Y[:, start : start + BLOCK] = part - basis @ (basis.T @ part)


def correlation_matrix(series: Float64) -> Float64:
    """Pearson correlation of regions.

    Parameters
    ----------
    series
        ndarray of shape (k, n_rois), coefficients from `roi_coefficients`.

    Returns
    -------
    ndarray of shape (n_rois, n_rois)
        Exactly symmetric, 1 on the diagonal; NaN rows and columns for regions that are not there or have no
        variance.
    """
    norm = np.linalg.norm(series, axis=0)
    unit = series / np.where(norm > 0, norm, np.nan)
    r = np.empty((norm.size, norm.size))
    for start in range(0, norm.size, BLOCK):
        rows = np.ascontiguousarray(unit[:, start : start + BLOCK].T)
        for other in range(start, norm.size, BLOCK):
            block = np.clip(rows @ unit[:, other : other + BLOCK], -1.0, 1.0)
            r[start : start + BLOCK, other : other + BLOCK] = block
            r[other : other + BLOCK, start : start + BLOCK] = block.T
    for start in range(0, norm.size, BLOCK):
        own = r[start : start + BLOCK, start : start + BLOCK]
        own[:] = (own + own.T) / 2
    there = np.isfinite(norm) & (norm > 0)
    r[np.diag_indices_from(r)] = np.where(there, 1.0, np.nan)
    return r


def seed_maps(Y: Float32, seeds: Float64) -> Float32:
    """Fisher-z maps of seeds.

    Parameters
    ----------
    Y
        ndarray of shape (k, n_voxels), smoothed or not.
    seeds
        ndarray of shape (k, n_seeds), coefficients of the seed series.

    Returns
    -------
    ndarray of shape (n_seeds, n_voxels), float32
        NaN for voxels or seeds without variance.
    """
    norm = np.linalg.norm(seeds, axis=0)
    unit = (seeds / np.where(norm > 0, norm, np.nan)).T
    maps = np.empty((unit.shape[0], Y.shape[1]), dtype=np.float32)
    for start in range(0, Y.shape[1], BLOCK):
        block = Y[:, start : start + BLOCK].astype(np.float64)
        size = np.sqrt(np.einsum("ij,ij->j", block, block))
        size[size == 0] = np.nan
        r = unit @ block
        r /= size
        maps[:, start : start + BLOCK] = fisher_z(r)
    return maps
