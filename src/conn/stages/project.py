"""Stage project: BOLD, mask and confounds of one run become retained coefficients. Never sees an ROI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn import confounds, images, paths, projection, receipts, smoothing
from conn.config.model import Denoise
from conn.errors import InputError
from conn.exclusions import Exclusion
from conn.files import atomic
from conn.index import Run, sidecar
from conn.receipts import Receipt

TR_TOLERANCE = 1e-3


@dataclass(frozen=True)
class RunSettings:
    """What a data set's configuration says about its runs."""

    dummy_scans: int = 0
    repetition_time: float | None = None
    roots: tuple[Path, ...] = ()
    """Folders in which sidecars may stand: derivatives, then raw data."""


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is known before its images are read."""

    header: images.Header
    tr: float
    selection: confounds.ConfoundSelection
    basis: NDArray[np.float64]

    @property
    def numbers(self) -> dict[str, Any]:
        """For the receipt."""
        kept = int((~self.selection.censored).sum())
        return {
            "volumes": self.header.volumes,
            "tr": self.tr,
            "frames_kept": kept,
            "seconds_kept": kept * self.tr,
            "df": self.basis.shape[1],
            "mean_fd": self.selection.mean_fd if np.isfinite(self.selection.mean_fd) else None,
            "dummy_scans": int(self.selection.dummy.sum()),
            "censored": np.flatnonzero(self.selection.censored).tolist(),
            "confounds": list(self.selection.columns),
        }


def plan(run: Run, denoise: Denoise, settings: RunSettings) -> Plan:
    """Header, repetition time, confounds and retained basis of a run; reads no volume.

    Raises
    ------
    InputError
        Damaged or contradicting input.
    """
    assert run.bold is not None and run.confounds is not None
    header = images.read_header(run.bold)
    tr = repetition_time(header, sidecar(run.bold, settings.roots), settings.repetition_time)
    table = confounds.read_confounds(run.confounds)
    confounds.check_rows(table, header.volumes)
    selection = confounds.select(table, denoise.strategy, settings.dummy_scans)
    basis = projection.retained_basis(
        selection.regressors, selection.censored, tr, denoise.high_pass, denoise.low_pass
    )
    return Plan(header, tr, selection, basis)


def repetition_time(header: images.Header, json: dict[str, Any], configured: float | None) -> float:
    """Repetition time in seconds: configuration, else sidecar, else header.

    Raises
    ------
    InputError
        Sidecar and header differ by more than 1 ms, or nobody knows.
    """
    if configured is not None:
        return configured
    stated = json.get("RepetitionTime")
    if stated is not None and (
        isinstance(stated, bool) or not isinstance(stated, (int, float)) or not 0 < stated < np.inf
    ):
        raise InputError(
            f"{header.path.name}: RepetitionTime in the sidecar is {stated!r}; a number of seconds above 0 "
            "is needed. Correct it, or set datasets.NAME.repetition_time."
        )
    if stated is None and header.tr is None:
        raise InputError(
            f"{header.path.name}: no RepetitionTime in the sidecar or the header; "
            "set datasets.NAME.repetition_time"
        )
    if stated is None:
        return float(header.tr or 0.0)
    if header.tr is not None and abs(float(stated) - header.tr) > TR_TOLERANCE:
        raise InputError(
            f"{header.path.name}: RepetitionTime is {float(stated):g} s in the sidecar and {header.tr:g} s "
            "in the header (limit 1 ms). Set datasets.NAME.repetition_time to the true one."
        )
    return float(stated)


def floors(made: Plan, denoise: Denoise) -> tuple[tuple[str, str, str], ...]:
    """(reason, value, limit) for every floor of the configuration that a run falls below."""
    numbers = made.numbers
    below = []
    if numbers["seconds_kept"] < denoise.min_seconds:
        below.append(
            (
                "too_few_seconds",
                f"{numbers['seconds_kept']:.10g}",
                f"denoise.min_seconds {denoise.min_seconds:g}",
            )
        )
    if numbers["df"] < denoise.min_df:
        below.append(("too_few_df", str(numbers["df"]), f"denoise.min_df {denoise.min_df}"))
    return tuple(below)


def project(out: Path, run: Run, denoise: Denoise, settings: RunSettings, fwhm_mm: float) -> Receipt:
    """Project one run and write its coefficients and receipt.

    Parameters
    ----------
    out
        Output folder.
    run
        From the index, with images and confounds.
    denoise
        Cleaning.
    settings
        Of the data set.
    fwhm_mm
        Smoothing of the coefficients that maps are made from, in mm; 0 for none.

    Returns
    -------
    Receipt
        Not included when the input is bad or too little is left; that is an outcome, not a failure.
    """
    for old in (out / paths.project_folder(run.key)).glob("*.npy"):
        old.unlink()
    numbers: dict[str, Any] = {}
    try:
        made = plan(run, denoise, settings)
        numbers = made.numbers
        below = floors(made, denoise)
        if below:
            rows = tuple(excluded(run, *row) for row in below)
            receipt = Receipt(run.key, "project", False, below[0][0], numbers, rows)
        else:
            grid, files = _coefficients(out, run, made, fwhm_mm)
            numbers |= {"shape": list(grid.shape), "affine": grid.affine.tolist(), "fwhm_mm": fwhm_mm}
            receipt = Receipt(run.key, "project", True, None, numbers, files=receipts.digests(out, files))
    except InputError as error:
        row = excluded(run, "bad_input", str(error))
        receipt = Receipt(run.key, "project", False, "bad_input", numbers, (row,))
    receipt.write(out / paths.project_receipt(run.key))
    return receipt


def excluded(run: Run, reason: str, value: str, limit: str = "n/a") -> Exclusion:
    """A row for `exclusions.tsv` about a whole run."""
    return Exclusion(
        run.dataset, run.subject, run.session or "n/a", run.key, "n/a", "project", reason, value, limit
    )


def brain(run: Run, header: images.Header) -> tuple[images.Grid, NDArray[np.int64]]:
    """Grid of a run and flat indices of the voxels in its mask, ndarray of shape (n_voxels,).

    Raises
    ------
    InputError
        The mask is damaged, empty, or on another grid than the image.
    """
    assert run.mask is not None
    grid, mask = images.read_volume(run.mask)
    if not grid.matches(header.grid):
        raise InputError(
            f"{run.mask.name}: grid {grid.shape} is not that of {header.path.name} {header.grid.shape} "
            f"(corners must agree to {images.CORNER_TOLERANCE_MM} mm)"
        )
    voxels = np.flatnonzero(mask.ravel(order="F") > 0)
    if voxels.size == 0:
        raise InputError(f"{run.mask.name}: the brain mask is empty")
    return grid, voxels


def _coefficients(out: Path, run: Run, made: Plan, fwhm_mm: float) -> tuple[images.Grid, tuple[Path, ...]]:
    grid, voxels = brain(run, made.header)
    box = _box(voxels, grid, fwhm_mm)
    held = voxels if fwhm_mm == 0 else box.voxels
    projected = projection.project(images.stream(made.header, held), made.basis)
    within = np.arange(voxels.size) if fwhm_mm == 0 else np.searchsorted(box.voxels, voxels)
    if not projected.valid[within].any():
        raise InputError(f"{made.header.path.name}: no voxel in the mask is finite and varies in time")
    arrays: dict[str, NDArray[Any]] = {
        "Y": projected.Y[:, within],
        "U": made.basis,
        "voxels": voxels,
        "mean": projected.mean[within],
        "sd": projected.sd[within],
        "valid": projected.valid[within],
    }
    if fwhm_mm > 0:
        volumes = projected.Y.reshape(-1, *box.shape[::-1]).transpose(0, 3, 2, 1)
        smooth = smoothing.smooth(volumes, fwhm_mm, grid.voxel_mm)
        arrays["Ysmooth"] = np.ascontiguousarray(
            smooth.transpose(0, 3, 2, 1).reshape(len(smooth), -1)[:, within]
        )
    return grid, _save(out, paths.project_folder(run.key), arrays)


@dataclass(frozen=True)
class _Box:
    voxels: NDArray[np.int64]
    shape: tuple[int, int, int]


def _box(voxels: NDArray[np.int64], grid: images.Grid, fwhm_mm: float) -> _Box:
    """The mask's bounding box plus the reach of the kernel, so that smoothing sees the true edges."""
    index = np.stack(np.unravel_index(voxels, grid.shape, order="F"))
    reach = smoothing.reach(fwhm_mm, grid.voxel_mm)
    low = np.maximum(index.min(axis=1) - reach, 0)
    high = np.minimum(index.max(axis=1) + reach, np.asarray(grid.shape) - 1)
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    flat = x + grid.shape[0] * (y + grid.shape[1] * z)
    return _Box(np.ascontiguousarray(flat.ravel(order="F")), (len(axes[0]), len(axes[1]), len(axes[2])))


def _save(out: Path, folder: Path, arrays: dict[str, NDArray[Any]]) -> tuple[Path, ...]:
    files = []
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        with atomic(out / path) as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        files.append(path)
    return tuple(files)
