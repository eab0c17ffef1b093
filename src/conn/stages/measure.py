"""Stage measure: coefficients and regions become series, matrices, maps, coverage. Never opens BOLD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conn import autocorrelation, correlation, images, partial, paths, receipts
from conn.clinic import halves
from conn.config.model import Connectivity, Rois
from conn.errors import InputError
from conn.exclusions import PARTIAL, XDF, Exclusion
from conn.files import write_json
from conn.index import Run
from conn.receipts import Receipt
from conn.rois import on_grid, placement, registry, selection
from conn.stages import coverage
from conn.tables import MISSING, write_tsv
from conn.tissues import on_grid as on_grid_of


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
    regions: tuple[registry.Roi, ...]
    placed: list[placement.Placed]
    covers: list[placement.Coverage]
    series: NDArray[np.float64]
    removed: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """Labels of its regions."""
        return [roi.label for roi in self.regions]

    @property
    def df(self) -> int:
        """Degrees of freedom that are left, each region that was removed having taken one."""
        return int(self.before.numbers["df"]) - len(self.removed)

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
        removed = {"NuisanceRegions": list(self.removed)} if self.removed else {}
        return {"Sources": [self.source], "DegreesOfFreedom": self.df, **removed, **content}

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
    out: Path,
    run: Run,
    rois: Rois,
    connectivity: Connectivity,
    folder: Path,
    source: str,
    tissues: Mapping[str, Path] = MappingProxyType({}),
    min_df: int = 3,
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
    folder
        Folder that paths of `rois` are relative to.
    source
        `bids:` URI of the BOLD image, for the sidecars.
    tissues
        Probability maps of the person's tissues (``GM``, ``CSF``) in the template of the run, as far as there
        are any.
    min_df
        Fewest degrees of freedom that nuisance regions may leave.

    Returns
    -------
    Receipt
        Not included, with the same reason, when stage project left the run out; nor when something that the
        settings ask of every run is missing in this one.
    """
    before = receipts.read(out / paths.project_receipt(run.key))
    if not before.included:
        _forget(out, run)
        receipt = Receipt(run.key, "measure", False, before.reason, before.numbers, before.exclusions)
    else:
        with threadpool_limits(limits=1):
            receipt = _measure(out, run, before, rois, connectivity, folder, source, tissues, min_df)
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
    folder: Path,
    source: str,
    tissues: Mapping[str, Path],
    min_df: int,
) -> Receipt:
    data = _load(out, run, before)
    space = run.entities.get("space", MISSING)
    maps, refused = read_tissues(run, data.grid, rois, tissues)
    grey = None if rois.grey_matter is None or "GM" not in maps else maps["GM"] >= rois.grey_matter
    nuisance = nuisance_regions(rois, connectivity)
    regions = registry.regions(rois)
    everything = list(dict.fromkeys((*regions, *nuisance)))
    placed = [(roi, on_grid.place(roi, data.grid, space, rois, folder)) for roi in everything]
    covers, rows = cover(run, placed, data.grid, data.arrays["voxels"], data.arrays["valid"], rois, grey)
    there = {roi.label for (roi, _), found in zip(placed, covers, strict=True) if found.members.size}
    refused += foreseen_refusals(run, before.numbers["df"], there, nuisance, min_df)
    _forget(out, run)
    if refused:
        reason, gone = refused[0].reason, (*before.exclusions, *refused)
        return Receipt(run.key, "measure", False, reason, before.numbers, gone)
    _remove(data, [c for roi, c in zip(everything, covers, strict=True) if roi in nuisance])
    n = len(regions)
    rows = tuple(row for row in rows if row.roi in {roi.label for roi in regions})
    # What is left of a removed region is rounding.
    covers = [
        c.without(placement.REMOVED, keep=False) if roi in nuisance else c
        for roi, c in zip(regions, covers, strict=False)
    ]
    weights = [c.weights for c in covers]
    series = correlation.roi_coefficients(data.arrays["Y"], [c.members for c in covers], weights)
    removed = tuple(roi.label for roi in nuisance)
    at = [where for _, where in placed[:n]]
    scan = _Scan(out, run, before, source, data, regions, at, covers, series, removed)
    lost = lacking(run, before.numbers, scan.there, rois, connectivity, len(removed))
    files = [
        *_write_tables(scan, maps),
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
    numbers = {**before.numbers, "df": scan.df}
    return Receipt(run.key, "measure", True, None, numbers, rows, files=receipts.digests(out, files))


def read_tissues(
    run: Run, grid: images.Grid, rois: Rois, tissues: Mapping[str, Path]
) -> tuple[dict[str, NDArray[np.float32]], tuple[Exclusion, ...]]:
    """Tissue maps on the grid of a run, and why it cannot do without one that it lacks.

    Parameters
    ----------
    run
        From the index.
    grid
        Of the run.
    rois
        Settings.
    tissues
        Files by tissue.
    """
    try:
        found = {name: on_grid_of(path, grid) for name, path in tissues.items() if name in {"GM", "CSF"}}
    except InputError as error:
        return {}, (_row(run, MISSING, "bad_input", str(error), MISSING),)
    if rois.grey_matter is not None and "GM" not in found:
        wanted = f"anat/*_space-{run.entities.get('space', MISSING)}*_label-GM_probseg.nii.gz"
        return found, (_row(run, MISSING, "no_tissue_map", wanted, f"rois.grey_matter {rois.grey_matter:g}"),)
    return found, ()


def nuisance_regions(rois: Rois, connectivity: Connectivity) -> tuple[registry.Roi, ...]:
    """Regions whose series are removed from everything, from `connectivity.nuisance_regions`.

    Raises
    ------
    ConfigError
        See `conn.rois.registry.expand`.
    """
    own = registry.own_labels(rois)
    labels = registry.expand(connectivity.nuisance_regions, own, "connectivity.nuisance_regions")
    return tuple(registry.find(label, rois) for label in labels)


def foreseen_refusals(
    run: Run, df: int, there: Set[str], nuisance: Sequence[registry.Roi], min_df: int
) -> tuple[Exclusion, ...]:
    """Why a run cannot be cleaned of the nuisance regions.

    Parameters
    ----------
    run
        From the index.
    df
        Degrees of freedom before.
    there
        Labels of the regions that the run holds.
    nuisance
        From `nuisance_regions`.
    min_df
        Fewest degrees of freedom that may be left.
    """
    missing = [roi.label for roi in nuisance if roi.label not in there]
    if missing:
        limit = "connectivity.nuisance_regions"
        return (_row(run, MISSING, "nuisance_region_missing", ", ".join(missing), limit),)
    if nuisance and df - len(nuisance) < min_df:
        value = f"{df} - {len(nuisance)} nuisance regions"
        return (_row(run, MISSING, "too_few_df", value, f"denoise.min_df {min_df}"),)
    return ()


def _remove(data: _Data, covers: Sequence[placement.Coverage]) -> None:
    """Take nuisance regions out of the coefficients, in place.

    Coefficients are what the cleaning left of each series. What is orthogonal to a cleaned regressor there is
    what a regression on all confounds and that regressor together would have left (Frisch and Waugh 1933,
    10.2307/1907330).
    """
    if not covers:
        return
    members, weights = [c.members for c in covers], [c.weights for c in covers]
    basis = np.linalg.qr(correlation.roi_coefficients(data.arrays["Y"], members, weights))[0]
    for name in ("Y", "Ysmooth"):
        if name in data.arrays:
            correlation.remove(data.arrays[name], basis)
    data.arrays["U"] = data.arrays["U"] - (data.arrays["U"] @ basis) @ basis.T


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
    allowed: NDArray[np.bool_] | None = None,
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
    allowed
        ndarray of shape (nx, ny, nz): voxels that a region may have; None for all.
    """
    column = columns_of(grid, voxels)
    space = run.entities.get("space", MISSING)
    flat = None if allowed is None else allowed.ravel(order="F")
    covers, rows = [], []
    for roi, place_of in placed:
        found = placement.cover(place_of, column, valid, rois.min_coverage, flat)
        if not on_grid.reachable(roi, space, rois):
            found = found.without(placement.SPACE_MISMATCH, keep=rois.space_mismatch == "allow")
            if rois.space_mismatch == "exclude":
                rows.append(_row(run, roi.label, "space_mismatch", roi.space, space))
        elif placement.LOW_COVERAGE in found.flag:
            volume = place_of.total * grid.voxel_volume
            value = f"{found.covered} of {found.voxels} voxels, {found.coverage:.0%} of {volume:.0f} mm3"
            rows.append(
                _row(run, roi.label, "low_coverage", value, f"rois.min_coverage {rois.min_coverage:g}")
            )
        covers.append(found)
    return covers, tuple(rows)


def columns_of(grid: images.Grid, voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Column of each voxel of a grid in the data, -1 outside the mask; of shape (n_grid,)."""
    column = np.full(int(np.prod(grid.shape)), -1, dtype=np.int64)
    column[voxels] = np.arange(voxels.size)
    return column


def _row(run: Run, roi: str, reason: str, value: str, limit: str) -> Exclusion:
    session = run.session or MISSING
    return Exclusion(run.dataset, run.subject, session, run.key, roi, "measure", reason, value, limit)


def lacking(
    run: Run,
    numbers: Mapping[str, Any],
    there: Set[str],
    rois: Rois,
    connectivity: Connectivity,
    removed: int = 0,
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
    removed
        Number of nuisance regions, which took a degree of freedom each.
    """
    rows, df = [], numbers["df"] - removed
    if connectivity.partial is not None:
        chosen = selection.partial_set(connectivity.partial.rois, rois)
        rows += [_row(run, PARTIAL, *why) for why in _unfit(chosen, there, df, "regions")]
    for seed in selection.unique(connectivity.together, registry.own_labels(rois)):
        rows += [_row(run, seed.label, *why) for why in _unfit(seed.regions, there, df, "seeds")]
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


def _write_tables(scan: _Scan, maps: Mapping[str, NDArray[np.float32]]) -> list[Path]:
    entities = scan.run.entities
    times = scan.data.arrays["U"] @ scan.series
    times[np.asarray(scan.before.numbers["censored"], dtype=int)] = np.nan
    r = correlation.correlation_matrix(scan.series)
    return [
        scan.write_table(paths.timeseries(entities), pd.DataFrame(times, columns=pd.Index(scan.labels))),
        scan.write_table(paths.relmat(entities), _matrix(r, scan.labels)),
        scan.write_table(paths.coverage(entities), _coverage(scan, maps)),
    ]


def _coverage(scan: _Scan, maps: Mapping[str, NDArray[np.float32]]) -> pd.DataFrame:
    data = scan.data
    held = coverage.Held(
        data.grid,
        data.arrays["voxels"],
        data.arrays["valid"],
        data.arrays["Y"],
        data.arrays["mean"],
        data.arrays["sd"],
    )
    return coverage.table(held, scan.regions, scan.placed, scan.covers, scan.series, maps)


def _matrix(r: NDArray[np.float64], labels: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(r, columns=pd.Index(labels))
    table.insert(0, "roi", list(labels))
    return table


def _write_maps(scan: _Scan, rois: Rois, connectivity: Connectivity) -> list[Path]:
    seeds = selection.single(connectivity.seeds, registry.own_labels(rois))
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
        SplitHalfNoise=_split_half_noise(scan),
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


def _split_half_noise(scan: _Scan) -> float | None:
    """See `conn.clinic.halves.shared_noise`; kept here, since the basis may be removed later."""
    shared = halves.shared_noise(scan.data.arrays["U"], scan.before.numbers["censored"])
    return None if np.isnan(shared) else round(shared, 6)


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
    chosen = selection.partial_set(settings.rois, rois)
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
    everyone = selection.unique(connectivity.together, registry.own_labels(rois))
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
    k = scan.df
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
