"""From shapes in mm to voxels of a grid, and how much of them holds data.

Arrays only: images are read elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.rois.registry import Shape

SUB_VOXEL = "sub-voxel"
LOW_COVERAGE = "low-coverage"
SPACE_MISMATCH = "space-mismatch"


@dataclass(frozen=True)
class Placed:
    """A region on a grid.

    Attributes
    ----------
    inside : ndarray of shape (n,), int64
        Flat indices (first axis fastest) of its voxels within the field of view.
    voxels
        Number of its voxels, those beyond the field of view included.
    sub_voxel
        The region is smaller than a voxel, or no voxel centre lies in it (the nearest voxel stands for it).
    """

    inside: NDArray[np.int64]
    voxels: int
    sub_voxel: bool


def place_shapes(
    shapes: tuple[Shape, ...], shape: tuple[int, int, int], affine: NDArray[np.float64]
) -> Placed:
    """Voxels whose centres lie in any of the shapes (a distance equal to the radius counts as inside).

    Parameters
    ----------
    shapes
        Spheres and boxes in mm.
    shape
        Grid size.
    affine
        ndarray of shape (4, 4), voxel to mm.
    """
    lattice = np.unique(np.concatenate([_lattice(one, affine) for one in shapes]), axis=0)
    volume = _volume(shapes[0])
    small = lattice.shape[0] == 0 or volume < float(abs(np.linalg.det(affine[:3, :3])))
    if lattice.shape[0] == 0:
        center = np.append(shapes[0].center, 1.0)
        lattice = np.rint(np.linalg.solve(affine, center)[:3]).astype(np.int64)[None]
    return Placed(_flat(lattice, shape), len(lattice), small)


def place_mask(
    mask: NDArray[np.bool_],
    mask_affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
) -> Placed:
    """Voxels of a mask seen on a grid (see `nearest`); what lies beyond the grid counts as voxels, too.

    Parameters
    ----------
    mask
        ndarray of shape (mx, my, mz) with at least one True.
    mask_affine, affine
        ndarrays of shape (4, 4), voxel to mm, of the mask and of the grid.
    shape
        Grid size (nx, ny, nz).
    """
    inside = np.flatnonzero(nearest(mask, mask_affine, shape, affine).ravel(order="F"))
    ratio = abs(float(np.linalg.det(mask_affine[:3, :3]) / np.linalg.det(affine[:3, :3])))
    there = np.argwhere(mask)
    to_grid = np.linalg.solve(affine, mask_affine)
    where = _round(there @ to_grid[:3, :3].T + to_grid[:3, 3])
    beyond = int(((where < 0) | (where >= np.asarray(shape))).any(axis=1).sum())
    return Placed(inside, inside.size + round(beyond * ratio), len(there) * ratio < 1)


def nearest(
    mask: NDArray[np.bool_],
    mask_affine: NDArray[np.float64],
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """A mask seen on another grid: each voxel takes the value at its centre, False beyond the mask's edge.

    Parameters
    ----------
    mask
        ndarray of shape (mx, my, mz).
    mask_affine, affine
        ndarrays of shape (4, 4), voxel to mm, of the mask and of the grid.
    shape
        Grid size (nx, ny, nz).

    Returns
    -------
    ndarray of shape (nx, ny, nz)
    """
    to_mask = np.linalg.solve(mask_affine, affine)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    where = _round(voxels @ to_mask[:3, :3].T + to_mask[:3, 3])
    there = ((where >= 0) & (where < np.asarray(mask.shape))).all(axis=-1)
    seen = np.zeros(shape, dtype=bool)
    seen[there] = mask[tuple(where[there].T)]
    return seen


def _round(voxels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Halves always go up: to the even neighbour, they would skip every other voxel of a shifted grid."""
    return np.floor(voxels + (0.5 + 1e-6)).astype(np.int64)


def _lattice(one: Shape, affine: NDArray[np.float64]) -> NDArray[np.int64]:
    half = np.full(3, one.radius) if one.size is None else np.asarray(one.size) / 2
    center = np.asarray(one.center)
    middle = np.linalg.solve(affine, np.append(center, 1.0))[:3]
    reach = np.ceil(np.abs(np.linalg.inv(affine[:3, :3])) @ half).astype(int) + 1
    axes = [
        np.arange(int(np.floor(m)) - r, int(np.ceil(m)) + r + 1) for m, r in zip(middle, reach, strict=True)
    ]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    offset = voxels @ affine[:3, :3].T + affine[:3, 3] - center
    if one.size is None:
        inside = (offset**2).sum(axis=1) <= float(half[0]) ** 2 * (1 + 1e-9)
    else:
        inside = (np.abs(offset) <= half * (1 + 1e-9)).all(axis=1)
    lattice: NDArray[np.int64] = voxels[inside]
    return lattice


def _volume(one: Shape) -> float:
    if one.size is not None:
        return float(np.prod(one.size))
    return 4.0 / 3.0 * np.pi * float(one.radius or 0.0) ** 3


def _flat(lattice: NDArray[np.int64], shape: tuple[int, int, int]) -> NDArray[np.int64]:
    inside = lattice[((lattice >= 0) & (lattice < np.asarray(shape))).all(axis=1)]
    flat: NDArray[np.int64] = inside[:, 0] + shape[0] * (inside[:, 1] + shape[1] * inside[:, 2])
    return np.sort(flat)


@dataclass(frozen=True)
class Coverage:
    """How much of a region a run holds."""

    members: NDArray[np.int64]
    """Columns of the run's data that belong to the region and are usable; empty when it is excluded."""
    voxels: int
    covered: int
    coverage: float
    flag: str


def cover(
    placed: Placed, column: NDArray[np.int64], valid: NDArray[np.bool_], min_coverage: float
) -> Coverage:
    """Which columns of a run's data a region has.

    Parameters
    ----------
    placed
        The region on the grid of the run.
    column
        ndarray of shape (n_grid,): column of each voxel in the data, -1 outside the mask.
    valid
        ndarray of shape (n_columns,): finite and varying.
    min_coverage
        Share of voxels below which the region has no members.
    """
    columns = column[placed.inside]
    columns = columns[columns >= 0]
    columns = columns[valid[columns]]
    coverage = columns.size / placed.voxels if placed.voxels else 0.0
    enough = columns.size > 0 and coverage >= min_coverage
    flags = [SUB_VOXEL] * placed.sub_voxel + [LOW_COVERAGE] * (not enough)
    members = columns if enough else columns[:0]
    return Coverage(members, placed.voxels, columns.size, coverage, ";".join(flags))
