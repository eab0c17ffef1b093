"""Clusters of voxels that survive family-wise correction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from conn.errors import DesignError

COLUMNS = (
    "seed",
    "contrast",
    "family",
    "cluster",
    "peak_x",
    "peak_y",
    "peak_z",
    "voxels",
    "volume_mm3",
    "peak_stat",
    "p_fwe",
    "label",
)
_ORDER = {6: 1, 18: 2, 26: 3}


def find_clusters(
    stat: ArrayLike,
    p_fwe: ArrayLike,
    affine: ArrayLike,
    *,
    alpha: float = 0.05,
    connectivity: Literal[6, 18, 26] = 26,
    seed: str = "n/a",
    contrast: str = "n/a",
    family: str = "n/a",
    label: Callable[[float, float, float], str] | None = None,
    p_holm: ArrayLike | None = None,
) -> pd.DataFrame:
    """Connected voxels with ``p_fwe <= alpha``, positive and negative ones apart.

    A cluster is a way to read the map: what was tested are its voxels.

    Parameters
    ----------
    stat
        array of shape (x, y, z): signed statistic, NaN where nothing was tested.
    p_fwe
        array of the same shape: family-wise p per voxel.
    affine
        array of shape (4, 4): voxel indices to mm.
    alpha
        Limit of `p_fwe`.
    connectivity
        6 (faces), 18 (and edges) or 26 (and corners).
    seed, contrast, family
        Text of these columns.
    label
        Gives the anatomical label of a peak (x, y, z in mm). None: ``n/a``.
    p_holm
        array of the same shape; adds a last column `p_holm` with its value at the peak.

    Returns
    -------
    DataFrame
        One row per cluster, largest |peak| first, with the columns of `COLUMNS`. Peaks in mm, `voxels` a
        count, `volume_mm3` in cubic mm, `p_fwe` at the peak. No row when nothing survives.

    Raises
    ------
    DesignError
        Shapes that differ, or another connectivity.
    """
    t, p = np.asarray(stat, dtype=np.float64), np.asarray(p_fwe, dtype=np.float64)
    holm = None if p_holm is None else np.asarray(p_holm, dtype=np.float64)
    _check(t, p, holm, connectivity)
    rows: list[dict[str, Any]] = []
    with np.errstate(invalid="ignore"):
        kept = p <= alpha
    for side in (t > 0, t < 0):
        rows += _one_side(t, p, holm, kept & side, np.asarray(affine, dtype=np.float64), connectivity)
    rows.sort(key=lambda row: (-abs(row["peak_stat"]), -row["voxels"]))
    for number, row in enumerate(rows, start=1):
        peak = row["peak_x"], row["peak_y"], row["peak_z"]
        name = "n/a" if label is None else label(*peak)
        row.update(seed=seed, contrast=contrast, family=family, cluster=number, label=name)
    names = [*COLUMNS] if holm is None else [*COLUMNS, "p_holm"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def _check(
    t: NDArray[np.float64], p: NDArray[np.float64], holm: NDArray[np.float64] | None, connectivity: int
) -> None:
    if t.ndim != 3 or t.shape != p.shape or (holm is not None and holm.shape != t.shape):
        raise DesignError(f"statistic {t.shape} and p {p.shape} must be volumes of one shape")
    if connectivity not in _ORDER:
        raise DesignError(f"connectivity is {connectivity}; it must be 6, 18 or 26")


def _one_side(
    t: NDArray[np.float64],
    p: NDArray[np.float64],
    holm: NDArray[np.float64] | None,
    kept: NDArray[np.bool_],
    affine: NDArray[np.float64],
    connectivity: int,
) -> list[dict[str, Any]]:
    numbers, count = ndimage.label(kept, structure=ndimage.generate_binary_structure(3, _ORDER[connectivity]))
    if count == 0:
        return []
    index = np.arange(1, count + 1)
    peaks = ndimage.maximum_position(np.abs(t), numbers, index)
    sizes = np.bincount(numbers.reshape(-1), minlength=count + 1)[1:]
    volume = abs(float(np.linalg.det(affine[:3, :3])))
    rows = []
    for peak, size in zip(peaks, sizes, strict=True):
        at = tuple(int(i) for i in peak)
        x, y, z = (affine[:3, :3] @ np.array(at) + affine[:3, 3]).tolist()
        row = {"peak_x": x, "peak_y": y, "peak_z": z, "voxels": int(size), "volume_mm3": int(size) * volume}
        row |= {"peak_stat": float(t[at]), "p_fwe": float(p[at])}
        rows.append(row if holm is None else row | {"p_holm": float(holm[at])})
    return rows
