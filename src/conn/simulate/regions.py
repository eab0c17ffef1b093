"""Regions that carry their own signal, and the networks of grey matter around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.simulate.anatomy import Anatomy, FloatMap

Point = tuple[float, float, float]
Sphere = tuple[str, Point, float]
"""Label, centre in mm, radius in mm. Spheres with one label are one region."""

NETWORKS: dict[str, tuple[Point, ...]] = {
    "visual": ((-15, -88, 2), (15, -88, 2)),
    "motor": ((-40, -22, 55), (40, -22, 55)),
    "auditory": ((-54, -16, 6), (54, -16, 6)),
    "default": ((0, -54, 28), (0, 52, 4), (-46, -66, 34), (46, -66, 34)),
    "attention": ((-26, -60, 54), (26, -60, 54), (-26, -4, 56), (26, -4, 56)),
    "frontoparietal": ((-42, 38, 24), (42, 38, 24), (-48, -48, 46), (48, -48, 46)),
    "salience": ((-36, 18, 2), (36, 18, 2), (0, 20, 34)),
    "limbic": ((-26, -6, -22), (26, -6, -22), (0, 22, -14)),
    "subcortical": ((-12, -16, 8), (12, -16, 8), (-16, 8, 0), (16, 8, 0), (0, -32, -10)),
    "cerebellum": ((-26, -64, -38), (26, -64, -38)),
}
"""Schematic centres in mm: enough for a background with two symmetrical halves, no published atlas."""

_NETWORK_SIGMA_MM = 18.0


@dataclass(frozen=True)
class Scene:
    """Everything about space that all runs share.

    Attributes
    ----------
    anatomy
    labels
        Regions, in the order of their series.
    owner : ndarray of shape (n_active,), int64
        Which region a voxel belongs to; -1 for none.
    networks : ndarray of shape (n_networks, n_active), float32
        Weight of each network, 0 in regions and outside grey matter.
    network_of : ndarray of shape (n_labels,), int64
        The network a region belongs to.
    wm_mask, csf_mask : ndarray of shape (n_active,), bool
        Where the tissue confounds are measured.
    """

    anatomy: Anatomy
    labels: tuple[str, ...]
    owner: NDArray[np.int64]
    networks: FloatMap
    network_of: NDArray[np.int64]
    wm_mask: NDArray[np.bool_]
    csf_mask: NDArray[np.bool_]


def labels_of(spheres: Sequence[Sphere]) -> tuple[str, ...]:
    """Labels without repeats, in order."""
    return tuple(dict.fromkeys(label for label, _, _ in spheres))


def build_scene(anatomy: Anatomy, spheres: Sequence[Sphere], margin_mm: float) -> Scene:
    """Lay regions and networks over tissue.

    Parameters
    ----------
    anatomy
        Tissue on a grid.
    spheres
        Regions.
    margin_mm
        How far the signal of a region reaches beyond it, so that a region measured with another rule about
        voxels at its edge still holds nothing but its own signal. A voxel near two regions belongs to the
        one whose surface is nearer.

    Raises
    ------
    ConfigError
        A region without a voxel in the brain.
    """
    labels = labels_of(spheres)
    depth = _depth(anatomy.xyz, spheres, labels)
    owner = np.where(depth.min(axis=0) <= margin_mm, depth.argmin(axis=0), -1)
    empty = [label for i, label in enumerate(labels) if not (anatomy.brain & (owner == i)).any()]
    if empty:
        raise ConfigError(
            f"region {empty[0]!r} holds no voxel of the brain at {anatomy.voxel_mm:g} mm. "
            "Move it, enlarge it, or choose smaller voxels."
        )
    distance = _network_distance(anatomy.xyz)
    free = owner < 0
    weight = np.exp(-(distance**2) / (2 * _NETWORK_SIGMA_MM**2))
    weight /= np.sqrt((weight**2).sum(axis=0)) + 1e-6
    weight *= np.clip((anatomy.gm - 0.3) / 0.4, 0.0, 1.0) * free
    centres = np.array([centre for _, centre, _ in {s[0]: s for s in reversed(spheres)}.values()])
    order = [list({s[0]: s for s in reversed(spheres)}).index(label) for label in labels]
    return Scene(
        anatomy=anatomy,
        labels=labels,
        owner=owner,
        networks=weight.astype(np.float32),
        network_of=_network_distance(centres[order]).argmin(axis=0),
        wm_mask=_deep(anatomy.wm, anatomy.brain & free),
        csf_mask=_deep(anatomy.csf, anatomy.brain & free & _inner(anatomy)),
    )


def measured_voxels(scene: Scene, spheres: Sequence[Sphere], label: str) -> NDArray[np.int64]:
    """Voxels of the brain whose centres lie inside a region itself, without the margin."""
    own = [sphere for sphere in spheres if sphere[0] == label]
    depth = _depth(scene.anatomy.xyz, own, (label,))[0]
    inside = np.flatnonzero((depth <= 1e-4) & scene.anatomy.brain)
    if inside.size:
        return inside
    nearest: NDArray[np.int64] = np.array([int(np.where(scene.anatomy.brain, depth, np.inf).argmin())])
    return nearest


def _depth(xyz: FloatMap, spheres: Sequence[Sphere], labels: tuple[str, ...]) -> NDArray[np.float64]:
    """Distance in mm to the surface of each region, negative inside; shape (n_labels, n_voxels)."""
    depth = np.full((len(labels), len(xyz)), np.inf)
    for label, centre, radius in spheres:
        row = labels.index(label)
        distance = np.sqrt(((xyz - np.asarray(centre)) ** 2).sum(axis=1)) - radius
        np.minimum(depth[row], distance, out=depth[row])
    return depth


def _network_distance(xyz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance in mm to the nearest centre of each network; shape (n_networks, n_points)."""
    nearest = []
    for centres in NETWORKS.values():
        offset = xyz[:, None, :] - np.asarray(centres, dtype=float)
        nearest.append(np.sqrt((offset**2).sum(axis=2)).min(axis=1))
    return np.stack(nearest)


def _inner(anatomy: Anatomy) -> NDArray[np.bool_]:
    """The middle of the brain, where CSF is ventricle and not the rim."""
    x, y, z = anatomy.xyz.T
    inner: NDArray[np.bool_] = (np.abs(x) < 40) & (np.abs(y + 18) < 45) & (z > -20) & (z < 32)
    return inner


def _deep(tissue: FloatMap, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels that are nearly pure; on coarse grids at least the 20 purest."""
    purity = np.where(allowed, tissue, -1.0)
    limit = min(0.9, float(np.partition(purity, -20)[-20]))
    deep: NDArray[np.bool_] = purity >= limit
    return deep
