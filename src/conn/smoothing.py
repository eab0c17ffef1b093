"""Gaussian smoothing of retained coefficients, equal to nilearn's `smooth_img`.

Smoothing in space commutes with projection in time, so that k maps are smoothed instead of all volumes. Each
map is smoothed by products with banded matrices along its three axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))
TRUNCATE = 4.0

TILE = 32
"""Rows of a banded matrix per product; a constant, so that results do not depend on the machine."""

Float32 = NDArray[np.float32]
Index = NDArray[np.int64]


def reach(fwhm_mm: float, voxel_mm: NDArray[np.float64]) -> Index:
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
    voxels: Index = (TRUNCATE * sigma + 0.5).astype(np.int64)
    return voxels


@dataclass(frozen=True)
class _Band:
    """Rows `rows` of a banded matrix, without the columns that are zero."""

    rows: slice
    columns: slice
    weights: Float32


def _bands(n: int, sigma: float) -> tuple[_Band, ...]:
    """The smoothing matrix of an axis of n voxels with mirrored ends, in tiles of rows."""
    matrix = gaussian_filter1d(np.eye(n), sigma, axis=0, mode="reflect", truncate=TRUNCATE)
    width = int(TRUNCATE * sigma + 0.5)

    def band(start: int) -> _Band:
        rows = slice(start, min(start + TILE, n))
        columns = slice(max(start - width, 0), min(start + TILE + width, n))
        return _Band(rows, columns, np.ascontiguousarray(matrix[rows, columns], dtype=np.float32))

    return tuple(band(start) for start in range(0, n, TILE))


class _Smoother:
    """Smooths volumes of one shape."""

    def __init__(self, shape: tuple[int, ...], fwhm_mm: float, voxel_mm: NDArray[np.float64]) -> None:
        sigma = fwhm_mm * FWHM_TO_SIGMA / voxel_mm
        self.bands = [_bands(n, s) for n, s in zip(shape, sigma, strict=True)]
        self.buffers = [np.empty(shape, dtype=np.float32) for _ in range(2)]

    def __call__(self, volume: Float32) -> Float32:
        """Smooth a volume; the result is overwritten by the next call."""
        first, second = self.buffers
        na, nb, nc = volume.shape
        for band in self.bands[2]:
            source = volume.reshape(na * nb, nc)[:, band.columns]
            np.matmul(source, band.weights.T, out=first.reshape(na * nb, nc)[:, band.rows])
        for band in self.bands[1]:
            np.matmul(band.weights, first[:, band.columns], out=second[:, band.rows])
        for band in self.bands[0]:
            source = second.reshape(na, nb * nc)[band.columns]
            np.matmul(band.weights, source, out=first.reshape(na, nb * nc)[band.rows])
        return first


def smooth(maps: Float32, fwhm_mm: float, voxel_mm: NDArray[np.float64]) -> Float32:
    """Smooth whole maps; non-finite voxels count as 0, edges are mirrored, as nilearn does.

    Parameters
    ----------
    maps
        ndarray of shape (n_maps, na, nb, nc).
    fwhm_mm
        Full width at half maximum in mm, above 0.
    voxel_mm
        ndarray of shape (3,), voxel sizes in mm along a, b and c.

    Returns
    -------
    ndarray of shape (n_maps, na, nb, nc), float32
    """
    smoother = _Smoother(maps.shape[1:], fwhm_mm, voxel_mm)
    out = np.empty(maps.shape, dtype=np.float32)
    for index, one in enumerate(maps):
        out[index] = smoother(np.where(np.isfinite(one), one, np.float32(0)))
    return out


@dataclass(frozen=True)
class Support:
    """The voxels that smoothing within a mask needs, and where they lie in a box.

    Attributes
    ----------
    voxels : ndarray of shape (n_held,), int64
        Flat indices on the grid (first axis fastest) of the voxels to hold: those of the mask and, unless
        smoothing stays within it, those that the kernel reaches from there.
    mask : ndarray of shape (n_voxels,), int64
        Position in `voxels` of each voxel of the mask.
    place : ndarray of shape (n_held,), int64
        Flat index in the box of each of `voxels`.
    shape
        (nz, ny, nx) of the box: the reach of the kernel around the mask, as far as the grid goes, so that
        the edges of the box are either those of the image or too far away to matter.
    """

    voxels: Index
    mask: Index
    place: Index
    shape: tuple[int, int, int]


def support(
    voxels: Index,
    shape: tuple[int, int, int],
    fwhm_mm: float,
    voxel_mm: NDArray[np.float64],
    *,
    within_mask: bool = False,
) -> Support:
    """Which voxels to hold while a file is read, so that a mask can be smoothed afterwards.

    Parameters
    ----------
    voxels
        ndarray of shape (n_voxels,), flat indices (first axis fastest) of the mask, ascending.
    shape
        Grid size (nx, ny, nz).
    fwhm_mm
        Full width at half maximum in mm, above 0.
    voxel_mm
        ndarray of shape (3,), voxel sizes in mm along x, y and z.
    within_mask
        Hold the voxels of the mask alone.
    """
    width = reach(fwhm_mm, voxel_mm)[::-1]
    inside = np.zeros(shape[::-1], dtype=np.uint8)
    inside.ravel()[voxels] = 1
    wide = inside
    for axis, w in enumerate(width):
        wide = maximum_filter1d(wide, 2 * int(w) + 1, axis=axis, mode="constant")
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(wide))
    held = inside[box] if within_mask else wide[box]
    place = np.flatnonzero(held)
    flat = np.arange(inside.size).reshape(inside.shape)[box].ravel()[place]
    return Support(flat, np.searchsorted(flat, voxels), place, (held.shape[0], held.shape[1], held.shape[2]))


def smooth_mask(
    Y: Float32,
    valid: NDArray[np.bool_],
    support: Support,
    fwhm_mm: float,
    voxel_mm: NDArray[np.float64],
    *,
    within_mask: bool = False,
) -> Float32:
    """Smooth maps that are known on a support, and return them in its mask.

    Parameters
    ----------
    Y
        ndarray of shape (n_maps, n_held).
    valid
        ndarray of shape (n_held,); the other voxels count as 0 or, with `within_mask`, not at all.
    support
        From `support`.
    fwhm_mm
        Full width at half maximum in mm, above 0.
    voxel_mm
        ndarray of shape (3,), voxel sizes in mm along x, y and z.
    within_mask
        Divide by the smoothed mask: what lies outside it has no part in the mean (normalised convolution).

    Returns
    -------
    ndarray of shape (n_maps, n_voxels), float32
        With `within_mask`, NaN where no valid voxel is within reach.
    """
    smoother = _Smoother(support.shape, fwhm_mm, voxel_mm[::-1])
    volume = np.zeros(support.shape, dtype=np.float32)
    wanted = support.place[support.mask]

    def smoothed(values: Float32) -> Float32:
        volume.ravel()[support.place] = values
        return np.take(smoother(volume).ravel(), wanted)

    out = np.empty((len(Y), wanted.size), dtype=np.float32)
    for index, values in enumerate(Y):
        out[index] = smoothed(values if valid.all() else np.where(valid, values, np.float32(0)))
    if within_mask:
        weight = smoothed(valid.astype(np.float32))
        out /= np.where(weight > 0, weight, np.float32(np.nan))
    return out
