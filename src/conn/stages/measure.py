"""Stage measure: coefficients and regions become series, matrices, maps, coverage. Never opens BOLD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conn import autocorrelation, correlation, images, partial, paths, receipts
from conn.config.model import Connectivity, Rois
from conn.errors import InputError
from conn.exclusions import PARTIAL, XDF, Exclusion
from conn.files import write_json
from conn.index import Run
from conn.receipts import Receipt
from conn.rois import placement, registry, selection
from conn.tables import MISSING, write_tsv


@dataclass(frozen=True)
class _Data:
    """The arrays of stage project, on their grid."""

    grid: images.Grid
    arrays: dict[str, NDArray[Any]]

    @property
    def for_maps(self) -> NDArray[np.float32]:
        """Coefficients that maps are made from: smoothed ones when there are any."""
        return self.arrays.get("Ysmooth", self.arrays["Y"])

    def on_grid(self, values: NDArray[Any], voxels: NDArray[np.int64], fill: float) -> NDArray[Any]:
        flat = np.full(int(np.prod(self.grid.shape)), fill, dtype=values.dtype)
        flat[voxels] = values
        return flat.reshape(self.grid.shape, order="F")


@dataclass(frozen=True)
class _Scan:
    """A run while it is measured: its data, and the series of its regions."""

    out: Path
    run: Run
    before: Receipt
    source: str
    data: _Data
    labels: list[str]
    covers: list[placement.Coverage]
    series: NDArray[np.float64]

    @property
    def df(self) -> int:
        return int(self.before.numbers["df"])

    @property
    def smoothing(self) -> dict[str, Any]:
        """How the coefficients of maps were smoothed, for sidecars."""
        numbers = self.before.numbers
        return {"SmoothingFWHM": numbers["fwhm_mm"], "SmoothingWithinMask": numbers["within_mask"]}

    @property
    def there(self) -> frozenset[str]:
        """Regions that the run holds."""
        return frozenset(label for label, c in zip(self.labels, self.covers, strict=True) if c.members.size)

    def series_of(self, regions: Sequence[str]) -> NDArray[np.float64]:
        return self.series[:, [self.labels.index(region) for region in regions]]

    def about(self, **content: Any) -> dict[str, Any]:
        """A sidecar."""
        return {"Sources": [self.source], "DegreesOfFreedom": self.df, **content}

    def write_table(self, path: Path, table: pd.DataFrame) -> Path:
        write_tsv(paths.inside(self.out, path), table, digits=9)
        return path

    def write_json(self, path: Path, content: dict[str, Any]) -> Path:
        write_json(paths.inside(self.out, path), content)
        return path

    def write_map(self, path: Path, values: NDArray[np.float32]) -> Path:
        volume = self.data.on_grid(
            np.where(self.data.arrays["valid"], values, np.float32(np.nan)),
            self.data.arrays["voxels"],
            np.nan,
        )
        images.write_map(paths.inside(self.out, path), self.data.grid, volume)
        return path


def measure(
    out: Path, run: Run, rois: Rois, connectivity: Connectivity, mask_folder: Path, source: str
) -> Receipt:
    """Measure one run and write its series, matrices, seed maps, coverage and receipt.

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
        with threadpool_limits(limits=1):
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
    series = correlation.roi_coefficients(data.arrays["Y"], [c.members for c in covers])
    scan = _Scan(out, run, before, source, data, [r.label for r in regions], covers, series)
    lost = lacking(run, before.numbers, scan.there, rois, connectivity)
    _forget(out, run)
    files = [
        *_write_tables(scan),
        *_write_maps(scan, rois, connectivity),
        *_write_sidecars(scan),
    ]
    for more, found in (
        _write_partial(scan, rois, connectivity, lost),
        _write_unique(scan, rois, connectivity, lost),
        _write_xdf(scan, connectivity, lost),
    ):
        files += more
        lost += found
    rows = (*before.exclusions, *rows, *lost)
    return Receipt(run.key, "measure", True, None, before.numbers, rows, files=receipts.digests(out, files))


def _load(out: Path, run: Run, before: Receipt) -> _Data:
    try:
        arrays = {Path(name).stem: np.load(out / name, allow_pickle=False) for name in before.files}
    except (FileNotFoundError, ValueError, EOFError):
        for made in (paths.project_receipt(run.key), paths.projection_mark(run.key)):
            (out / made).unlink(missing_ok=True)
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
                rows.append(_row(run, roi.label, "space_mismatch", roi.space, space))
        elif placement.LOW_COVERAGE in found.flag:
            value = f"{found.covered} of {found.voxels} voxels"
            rows.append(
                _row(run, roi.label, "low_coverage", value, f"rois.min_coverage {rois.min_coverage:g}")
            )
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


def _row(run: Run, roi: str, reason: str, value: str, limit: str) -> Exclusion:
    session = run.session or MISSING
    return Exclusion(run.dataset, run.subject, session, run.key, roi, "measure", reason, value, limit)


def lacking(
    run: Run, numbers: Mapping[str, Any], there: Set[str], rois: Rois, connectivity: Connectivity
) -> tuple[Exclusion, ...]:
    """Matrices and maps that a run has to do without, as far as is known before they are computed.

    What is given other regions needs all of them: given fewer, it would be another quantity than in the other
    runs.

    Parameters
    ----------
    run
        From the index.
    numbers
        Of the receipt of stage project: df, volumes, censored.
    there
        Labels of the regions that the run holds.
    rois, connectivity
        Settings.
    """
    rows = []
    if connectivity.partial is not None:
        chosen = selection.partial_set(connectivity.partial.rois, rois.use, rois.custom)
        rows += [_row(run, PARTIAL, *why) for why in _unfit(chosen, there, numbers["df"], "regions")]
    for seed in selection.unique(connectivity.together, tuple(rois.custom)):
        rows += [_row(run, seed.label, *why) for why in _unfit(seed.regions, there, numbers["df"], "seeds")]
    if connectivity.xdf and _in_one_piece(numbers) is None:
        n = len(numbers["censored"])
        value = f"{n} censored frame{'s' if n > 1 else ''}"
        rows.append(_row(run, XDF, "censored_frames", value, "kept frames in one piece"))
    return tuple(rows)


def _unfit(chosen: Sequence[str], there: Set[str], df: int, noun: str) -> list[tuple[str, str, str]]:
    """(reason, value, limit) for everything that keeps regions from being conditioned on each other."""
    found = []
    missing = [label for label in chosen if label not in there]
    if missing:
        found.append(("region_missing", ", ".join(missing), f"all {len(chosen)} {noun}"))
    if len(chosen) >= df / 2:
        found.append(("too_many_regions", f"{len(chosen)} {noun}, k {df}", f"{noun} < k / 2"))
    return found


def _in_one_piece(numbers: Mapping[str, Any]) -> slice | None:
    """The frames that are kept, when no censored one lies between them."""
    kept = np.ones(numbers["volumes"], dtype=bool)
    kept[np.asarray(numbers["censored"], dtype=int)] = False
    frames = np.flatnonzero(kept)
    if frames.size == 0 or frames[-1] - frames[0] + 1 != frames.size:
        return None
    return slice(int(frames[0]), int(frames[-1]) + 1)


def _write_tables(scan: _Scan) -> list[Path]:
    entities = scan.run.entities
    times = scan.data.arrays["U"] @ scan.series
    times[np.asarray(scan.before.numbers["censored"], dtype=int)] = np.nan
    r = correlation.correlation_matrix(scan.series)
    return [
        scan.write_table(paths.timeseries(entities), pd.DataFrame(times, columns=pd.Index(scan.labels))),
        scan.write_table(paths.relmat(entities), _matrix(r, scan.labels)),
        scan.write_table(paths.coverage(entities), _coverage(scan.data, scan.labels, scan.covers)),
    ]


def _matrix(r: NDArray[np.float64], labels: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(r, columns=pd.Index(labels))
    table.insert(0, "roi", list(labels))
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


def _write_maps(scan: _Scan, rois: Rois, connectivity: Connectivity) -> list[Path]:
    seeds = selection.single(connectivity.seeds, tuple(rois.custom))
    maps = correlation.seed_maps(scan.data.for_maps, scan.series_of([seed.roi for seed in seeds]))
    return [
        scan.write_map(paths.seed_map(scan.run.entities, seed.label), values)
        for seed, values in zip(seeds, maps, strict=True)
    ]


def _write_sidecars(scan: _Scan) -> list[Path]:
    entities = scan.run.entities
    series = scan.about(
        SamplingFrequency=1.0 / scan.before.numbers["tr"],
        StartTime=0,
        Description="Mean of the unsmoothed, cleaned voxel series of each region; censored frames are n/a",
        Confounds=scan.before.numbers["confounds"],
    )
    maps = scan.about(
        Description="Fisher z of the correlation between each voxel and the seed's unsmoothed mean",
        **scan.smoothing,
    )
    return [
        scan.write_json(paths.timeseries(entities, ".json"), series),
        scan.write_json(paths.relmat(entities, ".json"), _about_matrix(scan, "Pearson correlation")),
        scan.write_json(paths.seed_map_sidecar(entities), maps),
    ]


def _about_matrix(scan: _Scan, measure: str, **content: Any) -> dict[str, Any]:
    common = {
        "RelationshipMeasure": measure,
        "Weighted": True,
        "Directed": False,
        "ValidDiagonal": True,
        "StorageFormat": "Full",
    }
    return scan.about(**common | content)


_Written = tuple[list[Path], tuple[Exclusion, ...]]
"""Files, and what turned out to be impossible while they were computed."""


def _write_partial(
    scan: _Scan, rois: Rois, connectivity: Connectivity, lost: Sequence[Exclusion]
) -> _Written:
    settings = connectivity.partial
    if settings is None:
        return [], ()
    chosen = selection.partial_set(settings.rois, rois.use, rois.custom)
    r = np.full((len(chosen), len(chosen)), np.nan)
    rows: tuple[Exclusion, ...] = ()
    if not any(row.roi == PARTIAL for row in lost):
        made = partial.partial_correlations(scan.series_of(chosen), settings.shrinkage)
        r, rows = made.r, _collinear(scan.run, PARTIAL, made)
    about = _about_matrix(
        scan,
        "partial correlation",
        Description="Correlation of each pair of regions given all the others",
        DegreesOfFreedom=scan.df - (len(chosen) - 2) if np.isfinite(r).all() else None,
        Regions=list(chosen),
        Shrinkage=settings.shrinkage,
    )
    entities = scan.run.entities
    files = [
        scan.write_table(paths.relmat(entities, stat=paths.PARTIAL), _matrix(r, chosen)),
        scan.write_json(paths.relmat(entities, ".json", paths.PARTIAL), about),
    ]
    return files, rows


def _collinear(run: Run, what: str, made: partial.PartialCorrelation) -> tuple[Exclusion, ...]:
    if made.condition <= partial.MOST_CONDITION:
        return ()
    limit = f"condition <= {partial.MOST_CONDITION:.0e}"
    return (_row(run, what, "collinear", f"condition {made.condition:.1e}", limit),)


def _write_unique(scan: _Scan, rois: Rois, connectivity: Connectivity, lost: Sequence[Exclusion]) -> _Written:
    files: list[Path] = []
    rows: tuple[Exclusion, ...] = ()
    everyone = selection.unique(connectivity.together, tuple(rois.custom))
    for group in connectivity.together:
        seeds = [seed for seed in everyone if seed.group == group]
        more, found = _write_group(scan, seeds, {row.roi for row in lost})
        files += more
        rows += found
    return files, rows


def _write_group(scan: _Scan, seeds: Sequence[selection.Seed], lost: Set[str]) -> _Written:
    """Maps of seeds that are entered together; all of them are missing when one cannot be had."""
    Y, series = scan.data.for_maps, scan.series_of([seed.roi for seed in seeds])
    possible = not any(seed.label in lost for seed in seeds)
    made = partial.unique_maps(Y, series if possible else np.full_like(series, np.nan))
    files, rows = [], []
    for seed, z, own in zip(seeds, made.z, made.own, strict=True):
        about = scan.about(
            Description="Fisher z of the partial correlation between each voxel and the seed's unsmoothed "
            "mean, given the other seeds of its group",
            DegreesOfFreedom=scan.df - len(seed.others) if possible else None,
            Seed=seed.roi,
            Group=seed.group,
            OtherSeeds=list(seed.others),
            UniqueVariance=round(float(own), 9) if np.isfinite(own) else None,
            **scan.smoothing,
        )
        files.append(scan.write_map(paths.seed_map(scan.run.entities, seed.label), z))
        files.append(scan.write_json(paths.seed_map_sidecar(scan.run.entities, seed.label), about))
        if possible and not own > partial.OWN_SHARE:
            limit = f"> {partial.OWN_SHARE:g} of its variance"
            rows.append(_row(scan.run, seed.label, "collinear", f"{own:.1e} is not in the others", limit))
    return files, tuple(rows)


def _write_xdf(scan: _Scan, connectivity: Connectivity, lost: Sequence[Exclusion]) -> _Written:
    frames = _in_one_piece(scan.before.numbers)
    if not connectivity.xdf or frames is None:
        return [], ()
    k = scan.before.numbers["df"]
    made = autocorrelation.xdf_variance(scan.data.arrays["U"][frames] @ scan.series)
    variance = np.maximum(made.variance_z, autocorrelation.least_variance_z(k))
    about = _about_matrix(
        scan,
        "variance of Fisher z under autocorrelation",
        Description="Variance of the Fisher z of each Pearson correlation by the autocorrelation of the "
        "cleaned series (xDF), at least 1 / (k - 2); no map, matrix or test is weighted by it",
        LeastVariance=autocorrelation.least_variance_z(k),
        ValidDiagonal=False,
        Volumes=frames.stop - frames.start,
    )
    entities = scan.run.entities
    files = [
        scan.write_table(paths.relmat(entities, stat=paths.XDF), _matrix(variance, scan.labels)),
        scan.write_json(paths.relmat(entities, ".json", paths.XDF), about),
    ]
    return files, ()
