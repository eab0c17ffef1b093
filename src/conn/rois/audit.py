"""Whether a region can be trusted: its distance to edge and fluid, its surroundings, what it shares.

Arrays only. Coefficients are columns in an orthonormal basis without the constant, so that the cosine of two
columns is the correlation of the cleaned series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from conn.rois.placement import Placed

RING_MM = 6.0
"""How far the surroundings of a region reach."""

CSF_AT = 0.5
"""Probability from which a voxel is fluid for the distance to it."""

PURE_CSF = 0.8
"""Probability from which a voxel is fluid for the series of it."""

CSF_REACH_MM = 15.0
CSF_MOST, CSF_FEWEST = 30, 5
"""Fluid near a region: how far, and how many voxels at most and at least."""

NEAR_MM = 10.0
"""Pairs of regions farther apart than this are not looked at."""

TOUCHING = 1.75
"""Voxel centres of touching regions are at most this many voxel edges apart (a corner is √3)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Distances of all voxels of a grid, worked out once for all regions.

    Attributes
    ----------
    shape
        Of the grid.
    affine : ndarray of shape (4, 4)
    to_edge : ndarray of shape (n_grid,)
        Distance to the nearest voxel outside the brain mask, in mm; flat, first axis fastest.
    to_csf : ndarray of shape (n_grid,) or None
        Distance to the nearest voxel of fluid, in mm.
    grey : ndarray of shape (n_grid,) or None
        Probability of grey matter.
    csf : ndarray of shape (n,) or None
        Flat indices of voxels that are fluid for the series of it.
    """

    shape: tuple[int, int, int]
    affine: Floats
    to_edge: Floats
    to_csf: Floats | None
    grey: Floats | None
    csf: NDArray[np.int64] | None


def surroundings(
    mask: NDArray[np.bool_],
    affine: Floats,
    grey: NDArray[np.float32] | None = None,
    csf: NDArray[np.float32] | None = None,
) -> Surroundings:
    """Distances to the edge of the brain and to fluid.

    Parameters
    ----------
    mask
        ndarray of shape (nx, ny, nz): brain. What lies outside the field of view is outside the brain.
    affine
        ndarray of shape (4, 4), voxel to mm.
    grey, csf
        ndarrays of shape (nx, ny, nz): tissue probabilities; None when there are none.
    """
    voxel_mm = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    edge = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=voxel_mm)[1:-1, 1:-1, 1:-1]
    to_csf = pure = None
    if csf is not None:
        fluid = (csf >= CSF_AT) & mask
        far = np.full(mask.shape, np.nan)
        to_csf = (ndimage.distance_transform_edt(~fluid, sampling=voxel_mm) if fluid.any() else far).ravel(
            order="F"
        )
        pure = np.flatnonzero(((csf >= PURE_CSF) & mask).ravel(order="F"))
    x, y, z = (int(n) for n in mask.shape)
    flat_grey = None if grey is None else grey.ravel(order="F").astype(np.float64)
    return Surroundings((x, y, z), np.asarray(affine), edge.ravel(order="F"), to_csf, flat_grey, pure)


def _core(placed: Placed) -> NDArray[np.int64]:
    """Voxels that are at least half in a region; the fullest when none is."""
    if not placed.inside.size:
        return placed.inside
    return placed.inside[placed.weight >= min(0.5, float(placed.weight.max()))]


def edge_distance(placed: Placed, around: Surroundings) -> float:
    """Distance of a region to what is outside the brain mask, in mm; 0 when it reaches out itself."""
    core = _core(placed)
    return float(around.to_edge[core].min()) if core.size else float("nan")


def csf_distance(placed: Placed, around: Surroundings) -> float:
    """Distance of a region to fluid, in mm; 0 when it holds some, NaN when that is not known."""
    core = _core(placed)
    if around.to_csf is None or not core.size:
        return float("nan")
    return float(around.to_csf[core].min())


def grey_share(placed: Placed, around: Surroundings) -> float:
    """Mean probability of grey matter over a region; NaN when that is not known."""
    if around.grey is None or not placed.inside.size:
        return float("nan")
    return float(np.average(around.grey[placed.inside], weights=placed.weight))


def ring(
    placed: Placed, around: Surroundings, taken: NDArray[np.bool_], column: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Columns of the voxels that surround a region and belong to none.

    Parameters
    ----------
    placed
        The region.
    around
        Of its grid.
    taken
        ndarray of shape (n_grid,): voxels that belong to any region.
    column
        ndarray of shape (n_grid,): column of each voxel in the data, -1 where there is none that is usable.
    """
    near = near_voxels(placed.inside, around, RING_MM)
    near = near[~taken[near] & (column[near] >= 0)]
    return column[near]


def near_voxels(inside: NDArray[np.int64], around: Surroundings, reach: float) -> NDArray[np.int64]:
    """Flat indices of voxels within `reach` mm of some voxels, those themselves left out."""
    if not inside.size:
        return inside
    voxels = np.stack(np.unravel_index(inside, around.shape, order="F"), axis=1)
    size = np.sqrt((around.affine[:3, :3] ** 2).sum(axis=0))
    pad = np.ceil(reach / size).astype(int)
    low = np.maximum(voxels.min(axis=0) - pad, 0)
    high = np.minimum(voxels.max(axis=0) + pad + 1, around.shape)
    own = np.zeros(high - low, dtype=bool)
    own[tuple((voxels - low).T)] = True
    distance = ndimage.distance_transform_edt(~own, sampling=size)
    found = np.argwhere((distance > 0) & (distance <= reach)) + low
    return np.asarray(np.ravel_multi_index(tuple(found.T), around.shape, order="F"), dtype=np.int64)


def nearest_csf(placed: Placed, around: Surroundings, column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Columns of the fluid next to a region, at most `CSF_MOST`; none when they are too few."""
    empty = np.zeros(0, dtype=np.int64)
    if around.csf is None or not placed.inside.size or not around.csf.size:
        return empty
    fluid = around.csf[column[around.csf] >= 0]
    fluid = fluid[~np.isin(fluid, placed.inside)]
    if fluid.size < CSF_FEWEST:
        return empty
    tree = cKDTree(_mm(_core(placed), around))
    distance = np.asarray(tree.query(_mm(fluid, around), distance_upper_bound=CSF_REACH_MM)[0])
    order = np.argsort(distance, kind="stable")[:CSF_MOST]
    order = order[np.isfinite(distance[order])]
    return column[fluid[order]] if order.size >= CSF_FEWEST else empty


def _mm(flat: NDArray[np.int64], around: Surroundings) -> Floats:
    voxels = np.stack(np.unravel_index(flat, around.shape, order="F"), axis=1)
    mm: Floats = voxels @ around.affine[:3, :3].T + around.affine[:3, 3]
    return mm


def correlation_with(series: Floats, Y: NDArray[np.float32], columns: NDArray[np.int64]) -> float:
    """Correlation of a region with the mean of some voxels; NaN when one of them is not there.

    Parameters
    ----------
    series
        ndarray of shape (k,), coefficients of the region.
    Y
        ndarray of shape (k, n_columns).
    columns
        ndarray of shape (n,).
    """
    if not columns.size or not np.isfinite(series).all():
        return float("nan")
    mean = Y[:, columns].mean(axis=1, dtype=np.float64)
    size = float(np.linalg.norm(mean) * np.linalg.norm(series))
    return float(mean @ series) / size if size > 0 else float("nan")


def own_variance(series: Floats, families: Sequence[str]) -> Floats:
    """Share of each region's variance that the others of its family do not explain (1 - R²).

    Parameters
    ----------
    series
        ndarray of shape (k, n_rois); NaN columns for regions that are not there.
    families
        Family of each region; an empty text for none.

    Returns
    -------
    ndarray of shape (n_rois,)
        NaN for a region that is not there or alone.
    """
    found = np.full(series.shape[1], np.nan)
    there = np.isfinite(series).all(axis=0)
    labels = np.asarray(families)
    for place in np.flatnonzero(there & (labels != "")):
        others = np.flatnonzero(there & (labels == labels[place]))
        others = others[others != place]
        if others.size:
            own = series[:, place]
            basis = np.linalg.qr(series[:, others])[0]
            left = own - basis @ (basis.T @ own)
            found[place] = float(left @ left) / float(own @ own)
    return found


@dataclass(frozen=True)
class Pair:
    """Two regions that are near each other.

    Attributes
    ----------
    a, b
        Their places in the list of regions, a < b.
    shared
        What they share, in voxels: the sum of the smaller weights.
    share
        The same as a share of the smaller region.
    gap_mm
        Distance of their nearest voxel centres, of voxels that are at least half in a region; 0 when they
        share a voxel.
    touching
        They share voxels, or voxels of them are neighbours (faces, edges or corners).
    """

    a: int
    b: int
    shared: float
    share: float
    gap_mm: float
    touching: bool


def pairs(placed: Sequence[Placed], shape: tuple[int, int, int], affine: Floats) -> list[Pair]:
    """Pairs of regions that are within `NEAR_MM` of each other.

    Parameters
    ----------
    placed
        Regions on one grid.
    shape, affine
        Of the grid.
    """
    here = [_core(one) for one in placed]
    voxels = [np.stack(np.unravel_index(core, shape, order="F"), axis=1) for core in here]
    mm = [one @ affine[:3, :3].T + affine[:3, 3] for one in voxels]
    trees = [cKDTree(points) if len(points) else None for points in mm]
    edge = float(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)).max())
    found = []
    for a in range(len(placed)):
        for b in range(a + 1, len(placed)):
            first, second = trees[a], trees[b]
            if first is None or second is None or not _close(mm[a], mm[b]):
                continue
            gap = float(np.min(second.query(mm[a])[0]))
            shared = _shared(placed[a], placed[b])
            smaller = min(placed[a].weight.sum(), placed[b].weight.sum())
            if gap <= NEAR_MM or shared > 0:
                touching = shared > 1e-9 or gap <= TOUCHING * edge
                found.append(Pair(a, b, shared, float(shared / smaller), gap, touching))
    return found


def _close(a: Floats, b: Floats) -> bool:
    apart = np.maximum(a.min(axis=0) - b.max(axis=0), b.min(axis=0) - a.max(axis=0))
    return bool((apart <= NEAR_MM + 5.0).all())


def _shared(a: Placed, b: Placed) -> float:
    _, first, second = np.intersect1d(a.inside, b.inside, assume_unique=True, return_indices=True)
    return float(np.minimum(a.weight[first], b.weight[second]).sum())


def label_shares(placed: Placed, labels: NDArray[np.integer]) -> dict[int, float]:
    """Share of a region in each label of an atlas, by weight; 0 stands for none of them.

    Parameters
    ----------
    placed
        The region on the grid of the atlas.
    labels
        ndarray of shape (nx, ny, nz), ids.
    """
    ids = labels.ravel(order="F")[placed.inside]
    values, place = np.unique(ids, return_inverse=True)
    weights = np.bincount(place, weights=placed.weight, minlength=values.size)
    beyond = placed.total - float(placed.weight.sum())
    shares = {int(v): float(w) for v, w in zip(values, weights, strict=True)}
    shares[0] = shares.get(0, 0.0) + max(beyond, 0.0)
    return {value: weight / placed.total for value, weight in shares.items() if weight > 1e-9}


def mean_probabilities(placed: Placed, probability: NDArray[np.number]) -> float:
    """Mean probability of a map over a region, by weight.

    Parameters
    ----------
    placed
        The region on the grid of the map.
    probability
        ndarray of shape (nx, ny, nz), from 0 to 1.
    """
    values = probability.ravel(order="F")[placed.inside]
    return float(values.astype(np.float64) @ placed.weight) / placed.total
