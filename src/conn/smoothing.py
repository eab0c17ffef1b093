"""Gaussian smoothing of retained coefficients, equal to nilearn's `smooth_img`.

Smoothing in space commutes with projection in time, so that k maps are smoothed instead of all volumes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))
TRUNCATE = 4.0


def reach(fwhm_mm: float, voxel_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    """Voxels that the kernel extends to each side.

    Parameters
    ----------
    fwhm_mm
        Full width at half maximum in mm.
    voxel_mm
        ndarray of shape (3,), voxel sizes in mm.

    Returns
    -------
    ndarray of shape (3,)
    """
    sigma = fwhm_mm * FWHM_TO_SIGMA / voxel_mm
    voxels: NDArray[np.int64] = (TRUNCATE * sigma + 0.5).astype(np.int64)
    return voxels


def _kernel(n: int, sigma: float) -> NDArray[np.float32]:
    matrix = gaussian_filter1d(np.eye(n), sigma, axis=0, mode="reflect", truncate=TRUNCATE)
    return matrix.astype(np.float32)


def smooth(maps: NDArray[np.float32], fwhm_mm: float, voxel_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Smooth maps by banded products along the three axes; non-finite voxels count as 0.

    Edges are mirrored, as nilearn does.

    Parameters
    ----------
    maps
        ndarray of shape (n_maps, nx, ny, nz).
    fwhm_mm
        Full width at half maximum in mm, above 0.
    voxel_mm
        ndarray of shape (3,), voxel sizes in mm.

    Returns
    -------
    ndarray of shape (n_maps, nx, ny, nz), float32
    """
    kernels = [_kernel(n, s) for n, s in zip(maps.shape[1:], fwhm_mm * FWHM_TO_SIGMA / voxel_mm, strict=True)]
    out = np.empty(maps.shape, dtype=np.float32)
    for index, one in enumerate(maps):
        volume = np.where(np.isfinite(one), one, np.float32(0))
        nx, ny, nz = volume.shape
        volume = (kernels[0] @ volume.reshape(nx, ny * nz)).reshape(nx, ny, nz)
        volume = np.matmul(kernels[1], volume)
        out[index] = (volume.reshape(nx * ny, nz) @ kernels[2].T).reshape(nx, ny, nz)
    return out
