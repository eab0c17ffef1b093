"""What maps of several runs have in common: their grid and template, and which voxels are near a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from conn import bids, images
from conn.config.model import Rois
from conn.errors import DesignError
from conn.rois import on_grid
from conn.rois.placement import Placed
from conn.rois.registry import Roi
from conn.tables import MISSING


def common_grid(name: str, out: Path, files: Mapping[str, str]) -> images.Grid:
    """The one grid of some maps.

    Parameters
    ----------
    name
        Of the model or analysis, for errors.
    out
        Output folder.
    files
        By run, relative to it.

    Raises
    ------
    DesignError
        There are several.
    """
    grids = {file: images.read_header(out / file).grid for file in files.values()}
    first_file, first = next(iter(grids.items()))
    for file, grid in grids.items():
        if not grid.matches(first):
            raise DesignError(
                f"{name}: {file} has the grid {grid.shape}, {first_file} has {first.shape}: maps that are "
                "tested together need one grid. Choose one resolution with datasets.NAME.res, or test edges "
                "only (seeds: none)."
            )
    return first


def space_of(files: Mapping[str, str]) -> str:
    """Template of some maps, from the name of one of them."""
    name = bids.parse(Path(next(iter(files.values()))).name)
    return MISSING if name is None else name.entities.get("space", MISSING)


def away(
    regions: Sequence[Roi], grid: images.Grid, space: str, rois: Rois, folder: Path, fwhm_mm: float
) -> NDArray[np.bool_]:
    """Voxels that are not in a region or within one FWHM of it, ndarray of shape (n_voxels,).

    Parameters
    ----------
    regions
        The regions.
    grid, space
        Of the maps.
    rois
        How regions are placed: weighting and transforms.
    folder
        Folder that the images of regions are relative to.
    fwhm_mm
        Smoothing of the maps.
    """
    placed = (on_grid.place(roi, grid, space, rois, folder) for roi in regions)
    return np.asarray(np.all([_far_from(one, grid, fwhm_mm) for one in placed], axis=0))


def _far_from(placed: Placed, grid: images.Grid, fwhm_mm: float) -> NDArray[np.bool_]:
    own = np.ones(int(np.prod(grid.shape)), dtype=bool)
    own[placed.inside] = False
    if own.all():
        return own
    distance = distance_transform_edt(own.reshape(grid.shape, order="F"), sampling=grid.voxel_mm)
    return np.asarray(distance > fwhm_mm).ravel(order="F")
