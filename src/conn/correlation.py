"""Correlations from retained coefficients: ROI series, matrices, seed maps.

Columns of Y are time courses in an orthonormal basis without the constant: their inner products are
covariances up to a common factor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLIP = 1.0 - 1e-7
"""|r| is clipped here before arctanh, so that z stays finite (8.4 at most)."""

BLOCK = 2048
"""Voxels per matrix product in float64; a constant, so that results do not depend on memory."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def fisher_z(r: NDArray[np.floating]) -> Float64:
    """Inverse hyperbolic tangent of r, clipped just below |r| = 1; NaN stays NaN."""
    return np.arctanh(np.clip(np.asarray(r, dtype=np.float64), -CLIP, CLIP))


def roi_coefficients(Y: Float32, members: list[NDArray[np.int64]]) -> Float64:
    """Mean coefficients of each region.

    Parameters
    ----------
    Y
        ndarray of shape (k, n_voxels), unsmoothed.
    members
        Per region, the columns of Y that belong to it and are usable; empty for a region that is not there.

    Returns
    -------
    ndarray of shape (k, n_rois)
        NaN columns for empty regions.
    """
    out = np.full((Y.shape[0], len(members)), np.nan)
    for column, voxels in enumerate(members):
        if voxels.size:
            out[:, column] = Y[:, voxels].mean(axis=1, dtype=np.float64)
    return out


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
    r = np.clip(unit.T @ unit, -1.0, 1.0)
    r = (r + r.T) / 2
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
        r = unit @ block / np.where(size > 0, size, np.nan)
        maps[:, start : start + BLOCK] = fisher_z(r)
    return maps
