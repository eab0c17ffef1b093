"""Stage project: BOLD, mask and confounds of one run become retained coefficients. Never sees an ROI."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

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
            "mean_fd": _finite(self.selection.mean_fd),
            "dvars": _finite(self.selection.dvars),
            "dummy_scans": int(self.selection.dummy.sum()),
            "censored": np.flatnonzero(self.selection.censored).tolist(),
            "confounds": list(self.selection.columns),
        }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


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


def project(
    out: Path,
    run: Run,
    denoise: Denoise,
    settings: RunSettings,
    fwhm_mm: float,
    *,
    within_mask: bool = False,
) -> Receipt:
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
    within_mask
        Smooth within the brain mask alone (see `conn.smoothing.smooth_mask`).

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
            grid, arrays = coefficients(run, made, fwhm_mm, within_mask=within_mask)
            files = _save(out, paths.project_folder(run.key), arrays)
            numbers |= signal_numbers(arrays)
            numbers |= {"shape": list(grid.shape), "affine": grid.affine.tolist()}
            numbers |= {"fwhm_mm": fwhm_mm, "within_mask": within_mask}
            receipt = Receipt(run.key, "project", True, None, numbers, files=receipts.digests(out, files))
    except InputError as error:
        row = excluded(run, "bad_input", str(error))
        receipt = Receipt(run.key, "project", False, "bad_input", numbers, (row,))
    receipt.write(out / paths.project_receipt(run.key))
    return receipt


def signal_numbers(arrays: dict[str, NDArray[Any]]) -> dict[str, float | None]:
    """How much signal a run has, from what is held of it; reads no image.

    Parameters
    ----------
    arrays
        `Y`, `mean`, `sd` and `valid` of `coefficients`.

    Returns
    -------
    dict
        `tsnr`, the median over voxels of mean over SD of the volumes that count; `global_sd`, the standard
        deviation of the cleaned global signal in percent of the mean signal. None where nothing is known.
    """
    good = arrays["valid"]
    mean, sd = arrays["mean"][good].astype(np.float64), arrays["sd"][good].astype(np.float64)
    # The basis is orthonormal, so that a sum of squares of coefficients is one of the cleaned series.
    summed = np.array([row[good].sum(dtype=np.float64) for row in arrays["Y"]])
    total = float(mean.sum())
    amplitude = float(np.sqrt(np.square(summed).mean()))
    return {
        "tsnr": _finite(float(np.median(mean / sd))) if good.any() else None,
        "global_sd": _finite(100 * amplitude / total) if total > 0 else None,
    }


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
            f"{run.mask.name}: grid {grid.shape} is not that of {header.path.name} {header.grid.shape}: "
            f"corners are {grid.distance(header.grid):.3g} mm apart (limit {images.CORNER_TOLERANCE_MM} mm). "
            "Take image and mask of one fMRIPrep run and resolution (datasets.NAME.res)."
        )
    voxels = np.flatnonzero(mask.ravel(order="F") > 0)
    if voxels.size == 0:
        raise InputError(f"{run.mask.name}: the brain mask is empty; run fMRIPrep again or leave the run out")
    return grid, voxels


def _untimed(part: str) -> None:
    """What is told the end of each part of the work when nobody measures."""


def coefficients(
    run: Run,
    made: Plan,
    fwhm_mm: float,
    *,
    within_mask: bool = False,
    timed: Callable[[str], None] = _untimed,
) -> tuple[images.Grid, dict[str, NDArray[Any]]]:
    """Read a run and project it: the arrays that stage measure works from.

    Parameters
    ----------
    run
        From the index, with image and mask.
    made
        From `plan`.
    fwhm_mm
        Smoothing of the coefficients that maps are made from, in mm; 0 for none.
    within_mask
        Smooth within the brain mask alone.
    timed
        Called with the name of each part of the work when it ends.

    Returns
    -------
    Grid
        Of the image.
    dict
        `Y` of shape (k, n_voxels), float32, unsmoothed; `Ysmooth` of the same shape when `fwhm_mm` is not 0;
        `U` of shape (n_volumes, k); `voxels` of shape (n_voxels,), flat indices of the mask; `mean`, `sd`
        and `valid` of shape (n_voxels,).

    Raises
    ------
    InputError
        Damaged image or mask, a mask on another grid, or nothing that varies.
    """
    grid, voxels = brain(run, made.header)
    area = None
    if fwhm_mm > 0:
        area = smoothing.support(voxels, grid.shape, fwhm_mm, grid.voxel_mm, within_mask=within_mask)
    timed("brain mask")
    with threadpool_limits(limits=1):
        held = _read(made, voxels) if area is None else _read(made, area.voxels, area.mask)
        timed("image to coefficients")
        if area is None:
            _refuse_empty(made.header, held.valid)
            return grid, _arrays(made, voxels, held)
        _refuse_empty(made.header, held.valid[area.mask])
        smooth = smoothing.smooth_mask(
            held.Y, held.valid, area, fwhm_mm, grid.voxel_mm, within_mask=within_mask
        )
        timed("smoothing")
    return grid, _arrays(made, voxels, held.take(area.mask)) | {"Ysmooth": smooth}


def _arrays(
    made: Plan, voxels: NDArray[np.int64], projected: projection.Projected
) -> dict[str, NDArray[Any]]:
    return {
        "Y": projected.Y,
        "U": made.basis,
        "voxels": voxels,
        "mean": projected.mean,
        "sd": projected.sd,
        "valid": projected.valid,
    }


def _read(
    made: Plan, voxels: NDArray[np.int64], brain: NDArray[np.int64] | None = None
) -> projection.Projected:
    header = made.header
    with closing(images.panels(header, voxels, projection.PANEL)) as panels:
        projected = projection.project(panels, made.basis, header.slope, header.intercept, brain)
    for frames, what in ((projected.flat, "one number, such as 0,"), (projected.not_finite, "no number")):
        if frames:
            raise InputError(
                f"{header.path.name}: {_frames(frames, made)} {what} in every voxel of the brain. "
                "Make or fetch the image again, or leave the run out."
            )
    return projected


def _frames(frames: tuple[int, ...], made: Plan) -> str:
    """The volumes named, of those that count (the censored ones are not looked at)."""
    counted = int((~made.selection.censored).sum())
    if len(frames) == counted:
        return f"all {counted} volumes hold"
    named = ", ".join(map(str, frames[:5])) + (f" and {len(frames) - 5} more" if len(frames) > 5 else "")
    noun, verb = ("volume", "holds") if len(frames) == 1 else ("volumes", "hold")
    return f"{noun} {named} of {made.header.volumes} (counted from 0) {verb}"


def _refuse_empty(header: images.Header, valid: NDArray[np.bool_]) -> None:
    if not valid.any():
        raise InputError(
            f"{header.path.name}: no voxel in the brain mask is finite and varies over the volumes that count"
        )


def _save(out: Path, folder: Path, arrays: dict[str, NDArray[Any]]) -> tuple[Path, ...]:
    files = []
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        with atomic(out / path) as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        files.append(path)
    return tuple(files)
