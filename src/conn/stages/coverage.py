"""The coverage table of a run: what is left of each region, and whether that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.images import Grid
from conn.rois import audit
from conn.rois.placement import Coverage, Placed
from conn.rois.registry import Roi, family_of
from conn.tables import MISSING

COLUMNS = (
    "roi",
    "voxels",
    "covered",
    "coverage",
    "volume_mm3",
    "tsnr",
    "flag",
    "half_filled",
    "filled_mm3",
    "grey_matter",
    "edge_mm",
    "csf_mm",
    "r_ring",
    "r_csf",
    "own_variance",
)
"""Columns of the table, in order; later versions add at the end."""


@dataclass(frozen=True)
class Held:
    """What a run holds.

    Attributes
    ----------
    grid
        Its grid.
    voxels : ndarray of shape (n_columns,), int64
        Flat index of each voxel of the mask.
    valid : ndarray of shape (n_columns,), bool
        Finite and varying.
    Y : ndarray of shape (k, n_columns), float32
        Unsmoothed coefficients.
    mean, sd : ndarray of shape (n_columns,)
        Over the frames that count.
    """

    grid: Grid
    voxels: NDArray[np.int64]
    valid: NDArray[np.bool_]
    Y: NDArray[np.float32]
    mean: NDArray[Any]
    sd: NDArray[Any]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Voxels with usable data, of shape (nx, ny, nz)."""
        flat = np.zeros(int(np.prod(self.grid.shape)), dtype=bool)
        flat[self.voxels[self.valid]] = True
        return flat.reshape(self.grid.shape, order="F")

    @property
    def column(self) -> NDArray[np.int64]:
        """Column of each voxel of the grid, -1 where there is no usable one; of shape (n_grid,)."""
        column = np.full(int(np.prod(self.grid.shape)), -1, dtype=np.int64)
        column[self.voxels] = np.where(self.valid, np.arange(self.voxels.size), -1)
        return column


def table(
    held: Held,
    regions: Sequence[Roi],
    placed: Sequence[Placed],
    covers: Sequence[Coverage],
    series: NDArray[np.float64],
    tissues: Mapping[str, NDArray[np.float32]],
) -> pd.DataFrame:
    """Coverage and audit of every region in a run.

    Parameters
    ----------
    held
        The run.
    regions
        Regions of the study.
    placed, covers
        Where they are on the grid of the run, and what is left of them.
    series
        ndarray of shape (k, n_rois), coefficients of the regions.
    tissues
        ``GM`` and ``CSF`` on the grid of the run, as far as they are there.

    Returns
    -------
    DataFrame
        See `COLUMNS`; n/a where something is not known.
    """
    around = audit.surroundings(held.mask, held.grid.affine, tissues.get("GM"), tissues.get("CSF"))
    column, volume = held.column, held.grid.voxel_volume
    taken = np.zeros(column.size, dtype=bool)
    for one in placed:
        taken[one.inside] = True
    own = audit.own_variance(series, [family_of(roi) for roi in regions])
    rows = []
    for i, (roi, one, cover) in enumerate(zip(regions, placed, covers, strict=True)):
        rows.append(
            (
                roi.label,
                cover.voxels,
                cover.covered,
                cover.coverage,
                float(cover.weights.sum()) * volume,
                _tsnr(held, cover),
                cover.flag or MISSING,
                one.half,
                one.total * volume,
                audit.grey_share(one, around),
                audit.edge_distance(one, around),
                audit.csf_distance(one, around),
                audit.correlation_with(series[:, i], held.Y, audit.ring(one, around, taken, column)),
                audit.correlation_with(series[:, i], held.Y, audit.nearest_csf(one, around, column)),
                own[i],
            )
        )
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _tsnr(held: Held, cover: Coverage) -> float:
    """Temporal signal-to-noise ratio of a region: mean over voxels of mean over SD."""
    members = cover.members
    if not members.size:
        return float("nan")
    ratio = held.mean[members].astype(float) / held.sd[members].astype(float)
    return float(np.average(ratio, weights=cover.weights))
