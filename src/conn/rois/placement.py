"""From regions in mm to voxels of a grid: how much of each voxel lies in a region, and how much holds data.

Regions are looked up at points; nothing is resampled, so nothing can be lost or renamed on the way. Arrays
only: images are read elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from conn.rois.shapes import Shape

SUB_VOXEL = "sub-voxel"
LOW_COVERAGE = "low-coverage"
SPACE_MISMATCH = "space-mismatch"
REMOVED = "removed"
"""Flags: why a region is to be read with care, or is missing."""

FEWEST, MOST = 8, 20
"""Points along each edge of a voxel at which a shape is looked up, at least and at most."""

FEWEST_SAMPLED, MOST_SAMPLED = 6, 12
"""The same for images."""

BLOCK = 1 << 20
"""Points that are looked up at once."""

STRETCH = 2.0
"""A transform between templates is taken to stretch nothing by more than this from one voxel to the next."""

MARGIN_MM = 10.0
"""Room around what a transform makes of a region's box."""

EDGE = 1e-6
"""Share of a voxel by which points on its face count as the next one's."""

Floats = NDArray[np.float64]
Points = NDArray[np.float64]
Weighting = Literal["coverage", "centre"]
Warp = Callable[[Points], Points]
"""From mm in the space of the images to mm in the space of the region."""


class Field(Protocol):
    """A region as a function of place."""

    @property
    def graded(self) -> bool:
        """Values between 0 and 1 are probabilities; otherwise a point is in or out."""

    def at(self, points: Points) -> Floats:
        """Value at points of shape (n, 3) in mm, from 0 to 1."""

    def sure(self, points: Points, reach: float) -> Floats:
        """The value within `reach` mm of each point where it is one and the same, NaN elsewhere."""

    def extent(self) -> Floats:
        """Box in mm that holds everything, ndarray of shape (2, 3)."""

    def middle(self) -> Floats:
        """A point in its middle, ndarray of shape (3,)."""

    def points_per_edge(self, voxel_mm: float) -> int:
        """Points along the edge of a voxel that are needed to see it."""


@dataclass(frozen=True)
class Shapes:
    """A union of spheres and boxes; a distance equal to the radius counts as inside."""

    shapes: tuple[Shape, ...]
    graded = False

    def at(self, points: Points) -> Floats:
        """See `Field`."""
        return (self._distance(points) <= 1e-9).astype(np.float64)

    def sure(self, points: Points, reach: float) -> Floats:
        """See `Field`."""
        distance = self._distance(points)
        return np.where(distance > reach, 0.0, np.where(distance < -reach, 1.0, np.nan))

    def _distance(self, points: Points) -> Floats:
        return np.asarray(np.min([one.distance(points) for one in self.shapes], axis=0))

    def extent(self) -> Floats:
        """See `Field`."""
        centers = np.array([one.center for one in self.shapes], dtype=np.float64)
        halves = np.array([one.half for one in self.shapes])
        return np.stack([(centers - halves).min(axis=0), (centers + halves).max(axis=0)])

    def middle(self) -> Floats:
        """See `Field`."""
        return np.asarray(self.shapes[len(self.shapes) // 2].center, dtype=np.float64)

    def points_per_edge(self, voxel_mm: float) -> int:
        """See `Field`."""
        smallest = float(min(one.half.min() for one in self.shapes))
        return int(np.clip(np.ceil(6 * voxel_mm / smallest), FEWEST, MOST))


class Sampled:
    """An image of a region: each point has the value of the voxel that it lies in.

    Parameters
    ----------
    values
        ndarray of shape (nx, ny, nz) with at least one value above zero: bool for a mask, numbers from 0 to 1
        for probabilities.
    affine
        ndarray of shape (4, 4), voxel to mm.
    """

    def __init__(self, values: NDArray[np.bool_] | NDArray[np.float32], affine: Floats) -> None:
        there = np.argwhere(values > 0)
        low, high = there.min(axis=0), there.max(axis=0) + 1
        self.values = values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        self.affine = np.array(affine, dtype=np.float64)
        self.affine[:3, 3] += self.affine[:3, :3] @ low
        self.graded = values.dtype != np.bool_

    @property
    def voxel_mm(self) -> Floats:
        """Voxel sizes in mm, ndarray of shape (3,)."""
        return np.asarray(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)))

    def at(self, points: Points) -> Floats:
        """See `Field`."""
        return _look_up(self.values, self._voxels(points), 0.0)

    def _voxels(self, points: Points) -> NDArray[np.int64]:
        inverse = np.linalg.inv(self.affine)
        return _round(points @ inverse[:3, :3].T + inverse[:3, 3])

    def sure(self, points: Points, reach: float) -> Floats:
        """See `Field`."""
        far = reach + float(np.linalg.norm(self.voxel_mm))
        pad = int(np.ceil(far / self.voxel_mm.min())) + 1
        voxels = self._voxels(points) + pad
        inside = np.pad(self.values > 0, pad)
        out = _look_up(ndimage.distance_transform_edt(~inside, self.voxel_mm), voxels, np.inf)
        known = np.where(out > far, 0.0, np.nan)
        if not self.graded:
            deep = _look_up(ndimage.distance_transform_edt(inside, self.voxel_mm), voxels, 0.0)
            known[deep > far] = 1.0
        return known

    def extent(self) -> Floats:
        """See `Field`."""
        shape = np.asarray(self.values.shape)
        corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij"), axis=-1)
        mm = corners.reshape(-1, 3) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return np.stack([mm.min(axis=0), mm.max(axis=0)])

    def middle(self) -> Floats:
        """See `Field`: the voxel that is nearest to the centre of mass."""
        there = np.argwhere(self.values > 0)
        weights = self.values[tuple(there.T)].astype(np.float64)
        center = (there * weights[:, None]).sum(axis=0) / weights.sum()
        nearest = there[((there - center) ** 2).sum(axis=1).argmin()]
        return np.asarray(self.affine[:3, :3] @ nearest + self.affine[:3, 3])

    def points_per_edge(self, voxel_mm: float) -> int:
        """See `Field`."""
        return int(np.clip(np.ceil(3 * voxel_mm / self.voxel_mm.min()), FEWEST_SAMPLED, MOST_SAMPLED))


def _look_up(volume: NDArray[np.generic], voxels: NDArray[np.int64], beyond: float) -> Floats:
    there = ((voxels >= 0) & (voxels < np.asarray(volume.shape))).all(axis=1)
    found = np.full(len(voxels), beyond)
    found[there] = volume[tuple(voxels[there].T)]
    return found


@dataclass(frozen=True)
class Placed:
    """A region on a grid.

    Attributes
    ----------
    inside : ndarray of shape (n,), int64
        Flat indices (first axis fastest) of the voxels within the field of view that belong to it, ascending.
    weight : ndarray of shape (n,), float64
        How much each counts: the share of its volume that lies in the region, or its mean probability; with
        weighting by centres 1.
    center : ndarray of shape (n,), bool
        The voxel's centre lies in the region.
    total
        Sum of all weights, those beyond the field of view included; in voxels.
    voxels
        Number of voxels whose centres lie in it, those beyond the field of view included.
    half
        Number of voxels that are at least half filled, those beyond the field of view included.
    sub_voxel
        No voxel is half filled, or the whole region is smaller than a voxel.
    """

    inside: NDArray[np.int64]
    weight: Floats
    center: NDArray[np.bool_]
    total: float
    voxels: int
    half: int
    sub_voxel: bool


def place(
    field: Field,
    shape: tuple[int, int, int],
    affine: Floats,
    weighting: Weighting = "coverage",
    warp: Warp | None = None,
) -> Placed:
    """Voxels of a grid that belong to a region.

    Parameters
    ----------
    field
        The region.
    shape
        Grid size (nx, ny, nz).
    affine
        ndarray of shape (4, 4), voxel to mm.
    weighting
        ``coverage``: every voxel that has a part in the region, weighted by how much of it that is.
        ``centre``: voxels whose centre lies in it, whole; when there is none, the one that holds its middle.
    warp
        From mm of the grid to mm of the region; None when both are in one space.

    Returns
    -------
    Placed
    """
    lattice = _candidates(field, affine, warp)
    centers = lattice @ affine[:3, :3].T + affine[:3, 3]
    diagonal = float(np.linalg.norm(np.abs(affine[:3, :3]).sum(axis=1))) / 2
    seen = centers if warp is None else warp(centers)
    share = field.sure(seen, diagonal * (1.0 if warp is None else STRETCH))
    open_ = np.flatnonzero(np.isnan(share))
    share[open_] = _shares(field, lattice[open_], affine, warp)
    at_center = field.at(seen)
    half = int((share >= 0.5).sum())
    small = float(share.sum()) < 1.0 or (half == 0 and not field.graded)
    weight = share if weighting == "coverage" else at_center
    kept = (weight > 0) | (at_center > 0)
    if not kept.any():
        lattice, weight, kept = _nearest_voxel(field, affine, warp)
        at_center = weight
    inside, order = _flat(lattice[kept], shape)
    return Placed(
        inside,
        weight[kept][order],
        at_center[kept][order] > 0,
        float(weight.sum()),
        int((at_center > 0).sum()),
        half,
        small,
    )


def _candidates(field: Field, affine: Floats, warp: Warp | None) -> NDArray[np.int64]:
    """Voxels that may have a part in a region, of shape (n, 3), also beyond the field of view."""
    low, high = field.extent() if warp is None else _unwarped(field.extent(), warp)
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    inverse = np.linalg.inv(affine)
    voxels = corners @ inverse[:3, :3].T + inverse[:3, 3]
    axes = [
        np.arange(np.floor(a - 0.5), np.ceil(b + 0.5) + 1)
        for a, b in zip(voxels.min(axis=0), voxels.max(axis=0), strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int64)


def _unwarped(extent: Floats, warp: Warp) -> Floats:
    """Where a region's box lies before a transform, by fixed-point iteration, with a margin."""
    axes = [np.linspace(a, b, 5) for a, b in extent.T]
    wanted = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = wanted.copy()
    for _ in range(20):
        points += wanted - warp(points)
    return np.stack([points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM])


def _shares(field: Field, lattice: NDArray[np.int64], affine: Floats, warp: Warp | None) -> Floats:
    """Mean of a field over voxels, from a lattice of points in each."""
    n = field.points_per_edge(float(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)).max()))
    offsets = _offsets(n)
    step = offsets @ affine[:3, :3].T
    found = np.empty(len(lattice))
    for part in _parts(len(lattice), max(BLOCK // len(offsets), 1)):
        centers = lattice[part] @ affine[:3, :3].T + affine[:3, 3]
        points = (centers[:, None, :] + step).reshape(-1, 3)
        values = field.at(points if warp is None else warp(points))
        found[part] = values.reshape(-1, len(offsets)).mean(axis=1)
    return found


@cache
def _offsets(n: int) -> Points:
    """About n³ points in a voxel from -0.5 to 0.5, of shape (m, 3), the same from every side.

    A regular lattice sees flat faces in steps; these (the additive recurrence of the plastic number in three
    dimensions, reflected into all octants) do not.
    """
    root = 1.2207440846057596
    steps = np.arange(1, -(-(n**3) // 8) + 1)[:, None] / root ** np.arange(1, 4)
    octant = (0.5 + steps) % 1.0 / 2
    signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return np.asarray((octant * signs).reshape(-1, 3))


def _parts(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, start + size)


def _nearest_voxel(
    field: Field, affine: Floats, warp: Warp | None
) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """The voxel that stands for a region without any; of equally near ones the first by x, y, z in mm."""
    middle = field.middle()[None]
    if warp is not None:
        middle = _unwarped(np.repeat(middle, 2, axis=0), warp).mean(axis=0)[None]
    inverse = np.linalg.inv(affine)
    below = np.floor(middle @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    around = below + np.stack(np.meshgrid(*[(0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    mm = np.round(around @ affine[:3, :3].T + affine[:3, 3], 6)
    far = np.round(np.linalg.norm(mm - middle, axis=1), 6)
    best = np.lexsort((mm[:, 2], mm[:, 1], mm[:, 0], far))[:1]
    return around[best], np.ones(1), np.ones(1, dtype=bool)


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
    return np.floor(voxels + (0.5 + EDGE)).astype(np.int64)


def _flat(
    lattice: NDArray[np.int64], shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat indices of the voxels within a grid, ascending, and which of the voxels they are."""
    there = np.flatnonzero(((lattice >= 0) & (lattice < np.asarray(shape))).all(axis=1))
    inside = lattice[there]
    flat = inside[:, 0] + shape[0] * (inside[:, 1] + shape[1] * inside[:, 2])
    order = np.argsort(flat)
    return flat[order], there[order]


@dataclass(frozen=True)
class Coverage:
    """How much of a region a run holds.

    Attributes
    ----------
    members : ndarray of shape (n,), int64
        Columns of the run's data that belong to the region and are usable; empty when it is excluded.
    weights : ndarray of shape (n,), float64
        How much each counts.
    voxels
        Voxels whose centres lie in the region.
    covered
        Those of them that are usable.
    coverage
        Share of the region's volume that is usable.
    flag
        What is to be known about it, separated by semicolons.
    """

    members: NDArray[np.int64]
    weights: Floats
    voxels: int
    covered: int
    coverage: float
    flag: str

    def without(self, flag: str, *, keep: bool) -> Coverage:
        """The same with one more flag, and without its members unless they are to be kept."""
        flags = ";".join(filter(None, (self.flag, flag)))
        members, weights = (self.members, self.weights) if keep else (self.members[:0], self.weights[:0])
        return Coverage(members, weights, self.voxels, self.covered, self.coverage, flags)


def cover(
    placed: Placed,
    column: NDArray[np.int64],
    valid: NDArray[np.bool_],
    min_coverage: float,
    allowed: NDArray[np.bool_] | None = None,
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
        Share of the region below which it has no members.
    allowed
        ndarray of shape (n_grid,): voxels that a region may have, such as those of grey matter. What is not
        allowed is not missed either. None: all.

    Returns
    -------
    Coverage
    """
    weight = placed.weight if allowed is None else placed.weight * allowed[placed.inside]
    whole = float(weight.sum()) + placed.total - float(placed.weight.sum())
    columns = column[placed.inside]
    usable = (columns >= 0) & (weight > 0)
    usable[usable] = valid[columns[usable]]
    coverage = float(weight[usable].sum()) / whole if whole > 1e-9 else 0.0
    enough = bool(usable.any()) and coverage >= min_coverage - 1e-9
    flags = [SUB_VOXEL] * placed.sub_voxel + [LOW_COVERAGE] * (not enough)
    chosen = usable if enough else np.zeros_like(usable)
    return Coverage(
        columns[chosen],
        weight[chosen],
        placed.voxels,
        int((usable & placed.center).sum()),
        min(coverage, 1.0),
        ";".join(flags),
    )
