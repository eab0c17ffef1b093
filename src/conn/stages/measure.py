"""Stage measure: coefficients and regions become series, matrices, maps, coverage. Never opens BOLD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import correlation, images, paths, receipts
from conn.config.model import Connectivity, Rois
from conn.errors import InputError
from conn.exclusions import Exclusion
from conn.files import write_json
from conn.index import Run
from conn.receipts import Receipt
from conn.rois import placement, registry
from conn.tables import MISSING, write_tsv


@dataclass(frozen=True)
class _Data:
    """The arrays of stage project, on their grid."""

    grid: images.Grid
    arrays: dict[str, NDArray[Any]]

    def on_grid(self, values: NDArray[Any], voxels: NDArray[np.int64], fill: float) -> NDArray[Any]:
        flat = np.full(int(np.prod(self.grid.shape)), fill, dtype=values.dtype)
        flat[voxels] = values
        return flat.reshape(self.grid.shape, order="F")


def measure(
    out: Path, run: Run, rois: Rois, connectivity: Connectivity, mask_folder: Path, source: str
) -> Receipt:
    """Measure one run and write its series, matrix, seed maps, coverage and receipt.

    Parameters
    ----------
    out
        Output folder.
    run
        From the index.
    rois, connectivity
        Settings.
    mask_folder
        Folder that `rois.custom.*.mask` paths are relative to.
    source
        `bids:` URI of the BOLD image, for the sidecars.

    Returns
    -------
    Receipt
        Not included, with the same reason, when stage project left the run out.
    """
    before = receipts.read(out / paths.project_receipt(run.key))
    if not before.included:
        _forget(out, run)
        receipt = Receipt(run.key, "measure", False, before.reason, before.numbers, before.exclusions)
    else:
        receipt = _measure(out, run, before, rois, connectivity, mask_folder, source)
    receipt.write(out / paths.measure_receipt(run.key))
    return receipt


def _forget(out: Path, run: Run) -> None:
    """Remove what earlier settings left, so that no old map stands beside new ones."""
    folder = out / paths.func_folder(run.entities)
    for path in folder.iterdir() if folder.is_dir() else ():
        own = paths.OWN_OUTPUT.fullmatch(path.name)
        if own is not None and own["source"] == run.name:
            path.unlink()


def _measure(
    out: Path,
    run: Run,
    before: Receipt,
    rois: Rois,
    connectivity: Connectivity,
    mask_folder: Path,
    source: str,
) -> Receipt:
    data = _load(out, run, before)
    regions = registry.regions(rois.use, rois.custom)
    placed = [(roi, place(roi, data.grid, mask_folder)) for roi in regions]
    covers, rows = cover(run, placed, data.grid, data.arrays["voxels"], data.arrays["valid"], rois)
    Y = data.arrays["Y"]
    series = correlation.roi_coefficients(Y, [c.members for c in covers])
    labels = [r.label for r in regions]
    _forget(out, run)
    files = _write_tables(out, run, before, data, labels, covers, series)
    seeds = registry.expand(connectivity.seeds, tuple(rois.custom), "connectivity.seeds")
    files += _write_maps(out, run, data, labels, series, seeds)
    files += _write_sidecars(out, run, before, source, connectivity.fwhm_mm)
    rows = (*before.exclusions, *rows)
    return Receipt(run.key, "measure", True, None, before.numbers, rows, files=receipts.digests(out, files))


def _load(out: Path, run: Run, before: Receipt) -> _Data:
    try:
        arrays = {Path(name).stem: np.load(out / name, allow_pickle=False) for name in before.files}
    except (FileNotFoundError, ValueError, EOFError):
        (out / paths.project_receipt(run.key)).unlink(missing_ok=True)
        raise InputError(
            f"{paths.project_folder(run.key).as_posix()}: the projection of {run.name} is gone or damaged; "
            "run again to make it anew"
        ) from None
    shape = before.numbers["shape"]
    grid = images.Grid((shape[0], shape[1], shape[2]), np.asarray(before.numbers["affine"], dtype=np.float64))
    return _Data(grid, arrays)


def cover(
    run: Run,
    placed: Sequence[tuple[registry.Roi, placement.Placed]],
    grid: images.Grid,
    voxels: NDArray[np.int64],
    valid: NDArray[np.bool_],
    rois: Rois,
) -> tuple[list[placement.Coverage], tuple[Exclusion, ...]]:
    """How much of each region a run holds, and the regions that it has to do without.

    Parameters
    ----------
    run
        From the index.
    placed
        Regions on the grid of the run.
    grid
        That grid.
    voxels
        ndarray of shape (n_columns,): flat index of each voxel of the mask.
    valid
        ndarray of shape (n_columns,): finite and varying.
    rois
        Settings.
    """
    column = np.full(int(np.prod(grid.shape)), -1, dtype=np.int64)
    column[voxels] = np.arange(voxels.size)
    space = run.entities.get("space", MISSING)
    covers, rows = [], []
    for roi, place_of in placed:
        found = placement.cover(place_of, column, valid, rois.min_coverage)
        if not roi.fits(space):
            found = _mismatched(found, keep=rois.space_mismatch == "allow")
            if rois.space_mismatch == "exclude":
                rows.append(_row(run, roi, "space_mismatch", roi.space, space))
        elif placement.LOW_COVERAGE in found.flag:
            value = f"{found.covered} of {found.voxels} voxels"
            rows.append(_row(run, roi, "low_coverage", value, f"rois.min_coverage {rois.min_coverage:g}"))
        covers.append(found)
    return covers, tuple(rows)


def place(roi: registry.Roi, grid: images.Grid, mask_folder: Path) -> placement.Placed:
    """Voxels of a region on a grid; a mask on another grid is looked up at the nearest voxel.

    Raises
    ------
    InputError
        The mask image is missing or damaged.
    """
    if roi.mask is None:
        return placement.place_shapes(roi.shapes, grid.shape, grid.affine)
    own, values = images.read_volume(mask_folder / roi.mask)
    chosen = values > 0 if roi.value is None else values == roi.value
    if not chosen.any():
        what = "is empty" if roi.value is None else f"holds no voxel with the value {roi.value}"
        raise InputError(f"rois.custom.{roi.label}: {roi.mask} {what}")
    return placement.place_mask(chosen, own.affine, grid.shape, grid.affine)


def _mismatched(cover: placement.Coverage, *, keep: bool) -> placement.Coverage:
    flag = ";".join(filter(None, (cover.flag, placement.SPACE_MISMATCH)))
    members = cover.members if keep else cover.members[:0]
    return placement.Coverage(members, cover.voxels, cover.covered, cover.coverage, flag)


def _row(run: Run, roi: registry.Roi, reason: str, value: str, limit: str) -> Exclusion:
    session = run.session or MISSING
    return Exclusion(run.dataset, run.subject, session, run.key, roi.label, "measure", reason, value, limit)


def _write_tables(
    out: Path,
    run: Run,
    before: Receipt,
    data: _Data,
    labels: list[str],
    covers: list[placement.Coverage],
    series: NDArray[np.float64],
) -> list[Path]:
    U = data.arrays["U"]
    times = U @ series
    times[np.asarray(before.numbers["censored"], dtype=int)] = np.nan
    tables = {
        paths.timeseries(run.entities): pd.DataFrame(times, columns=pd.Index(labels)),
        paths.relmat(run.entities): _matrix(correlation.correlation_matrix(series), labels),
        paths.coverage(run.entities): _coverage(data, labels, covers),
    }
    for path, table in tables.items():
        write_tsv(paths.inside(out, path), table, digits=9)
    return list(tables)


def _matrix(r: NDArray[np.float64], labels: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(r, columns=pd.Index(labels))
    table.insert(0, "roi", labels)
    return table


def _coverage(data: _Data, labels: list[str], covers: list[placement.Coverage]) -> pd.DataFrame:
    mean, sd = data.arrays["mean"].astype(float), data.arrays["sd"].astype(float)
    volume = data.grid.voxel_volume

    def tsnr(members: NDArray[np.int64]) -> float:
        return float(np.mean(mean[members] / sd[members])) if members.size else float("nan")

    rows = [
        (label, c.voxels, c.covered, c.coverage, c.covered * volume, tsnr(c.members), c.flag or MISSING)
        for label, c in zip(labels, covers, strict=True)
    ]
    columns = ["roi", "voxels", "covered", "coverage", "volume_mm3", "tsnr", "flag"]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _write_maps(
    out: Path,
    run: Run,
    data: _Data,
    labels: list[str],
    series: NDArray[np.float64],
    seeds: Sequence[str],
) -> list[Path]:
    Y = data.arrays.get("Ysmooth", data.arrays["Y"])
    maps = correlation.seed_maps(Y, series[:, [labels.index(seed) for seed in seeds]])
    maps[:, ~data.arrays["valid"]] = np.nan
    files = []
    for seed, values in zip(seeds, maps, strict=True):
        path = paths.seed_map(run.entities, seed)
        images.write_map(
            paths.inside(out, path), data.grid, data.on_grid(values, data.arrays["voxels"], np.nan)
        )
        files.append(path)
    return files


def _write_sidecars(out: Path, run: Run, before: Receipt, source: str, fwhm_mm: float) -> list[Path]:
    common = {"Sources": [source], "DegreesOfFreedom": before.numbers["df"]}
    sidecars: dict[Path, dict[str, Any]] = {
        paths.timeseries(run.entities, ".json"): {
            **common,
            "SamplingFrequency": 1.0 / before.numbers["tr"],
            "StartTime": 0,
            "Description": "Mean of the unsmoothed, cleaned voxel series of each region; "
            "censored frames are n/a",
            "Confounds": before.numbers["confounds"],
        },
        paths.relmat(run.entities, ".json"): {
            **common,
            "RelationshipMeasure": "Pearson correlation",
            "Weighted": True,
            "Directed": False,
            "ValidDiagonal": True,
            "StorageFormat": "Full",
        },
        paths.seed_map_sidecar(run.entities): {
            **common,
            "Description": "Fisher z of the correlation between each voxel and the seed's unsmoothed mean",
            "SmoothingFWHM": fwhm_mm,
        },
    }
    for path, content in sidecars.items():
        write_json(paths.inside(out, path), content)
    return list(sidecars)
