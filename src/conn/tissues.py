"""Tissue maps of a person in the template of the images, as fMRIPrep writes them beside the anatomy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conn import bids, images
from conn.errors import InputError
from conn.index import Run

TISSUES = ("GM", "WM", "CSF")
FEWEST, MOST = 1, 4
"""Points along each edge of a voxel at which a map is looked up."""


def find_tissues(run: Run, derivatives: Path) -> dict[str, Path]:
    """Tissue maps of a run.

    They are in `anat/` of the session or, when fMRIPrep made one anatomy of several sessions, of the person,
    in the same template (and cohort of it) as the run. Of several, the one with the run's resolution is
    taken, then one without, then the first by name.

    Parameters
    ----------
    run
        From the index.
    derivatives
        Folder of fMRIPrep's derivatives.

    Returns
    -------
    dict of str to Path
        ``GM``, ``WM`` and ``CSF``, as far as they are there.
    """
    person = derivatives / f"sub-{run.subject}"
    folders = [person / f"ses-{run.session}"] if run.session else []
    for folder in (*folders, person):
        found = dict(_in_folder(folder / "anat", run.entities))
        if found:
            return found
    return {}


def _in_folder(folder: Path, entities: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return
    maps = _maps(str(folder), changed)
    for tissue in TISSUES:
        fitting = [
            (name, parsed)
            for name, parsed in maps
            if parsed.entities.get("label") == tissue
            and all(parsed.entities.get(key) == entities.get(key) for key in ("space", "cohort"))
        ]
        if fitting:
            wanted = (entities.get("res"), None)
            ranked = sorted(fitting, key=lambda one: (_rank(one[1].entities.get("res"), wanted), one[0]))
            yield tissue, folder / ranked[0][0]


def _rank(res: str | None, wanted: tuple[str | None, ...]) -> int:
    return wanted.index(res) if res in wanted else len(wanted)


@lru_cache(maxsize=4096)
def _maps(folder: str, changed: int) -> tuple[tuple[str, bids.BidsName], ...]:
    """Probability maps in a folder; `changed` is its time of change."""
    found = []
    for entry in bids.scan(folder):
        parsed = bids.parse(entry.name)
        if parsed is not None and parsed.suffix == "probseg" and parsed.extension in {".nii", ".nii.gz"}:
            found.append((entry.name, parsed))
    return tuple(sorted(found, key=lambda one: one[0]))


def on_grid(path: Path, grid: images.Grid) -> NDArray[np.float32]:
    """A tissue map on another grid: its mean over each voxel, 0 beyond its edge.

    Parameters
    ----------
    path
        A 3-D image of probabilities.
    grid
        Of the run.

    Returns
    -------
    ndarray of shape (nx, ny, nz), float32
        From 0 to 1.

    Raises
    ------
    InputError
        Not there, damaged, or no probabilities.
    """
    own, values = images.read_volume(path)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < -1e-3 or high > 1.001 or not np.isfinite(values).all():
        raise InputError(f"{path.name}: holds values from {low:g} to {high:g}; probabilities are from 0 to 1")
    if own.matches(grid):
        return np.clip(values, 0.0, 1.0)
    n = int(np.clip(np.ceil(grid.voxel_mm.max() / own.voxel_mm.min()), FEWEST, MOST))
    line = (np.arange(n) + 0.5) / n - 0.5
    to_own = np.linalg.solve(own.affine, grid.affine)
    axes = [np.arange(size, dtype=np.float64) for size in grid.shape]
    total = np.zeros(grid.shape, dtype=np.float32)
    for offset in np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3):
        total += _nearest(values, to_own, axes, offset)
    return np.clip(total / n**3, 0.0, 1.0)


def _nearest(
    values: NDArray[np.float32],
    to_own: NDArray[np.floating],
    axes: list[NDArray[np.float64]],
    offset: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Values of the voxels in which a lattice of points lies."""
    if np.allclose(to_own[:3, :3], np.diag(np.diag(to_own[:3, :3])), atol=1e-9):
        places = [
            np.floor(to_own[i, i] * (axes[i] + offset[i]) + to_own[i, 3] + 0.5).astype(np.int64)
            for i in range(3)
        ]
        inside = [(p >= 0) & (p < n) for p, n in zip(places, values.shape, strict=True)]
        found = np.zeros(tuple(len(a) for a in axes), dtype=np.float32)
        kept = [p[ok] for p, ok in zip(places, inside, strict=True)]
        found[np.ix_(*inside)] = values[np.ix_(*kept)]
        return found
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) + offset
    where = np.floor(voxels @ to_own[:3, :3].T + to_own[:3, 3] + 0.5).astype(np.int64)
    there = ((where >= 0) & (where < np.asarray(values.shape))).all(axis=-1)
    seen = np.zeros(there.shape, dtype=np.float32)
    seen[there] = values[tuple(where[there].T)]
    return seen
