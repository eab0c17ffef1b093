"""Stage audit: what is known of every region of the study, over all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from conn import correlation, images, paths, receipts
from conn.config.model import ReferenceAtlas, Rois
from conn.files import read_json
from conn.rois import atlases, audit, binding, on_grid, placement, registry, sources
from conn.rois.registry import Roi
from conn.tables import MISSING, read_tsv, to_number, write_tsv

ROIS = (
    "roi", "kind", "side", "group", "space", "x", "y", "z", "volume_mm3", "definition", "source", "status",
    "remark", "runs", "coverage_median", "coverage_min", "tsnr_median", "voxels_median", "edge_mm", "csf_mm",
    "grey_matter", "r_ring", "r_csf", "own_variance", "flags",
)  # fmt: skip
CHANGE = (
    "roi", "before", "after", "n", "coverage_before", "coverage_after", "coverage_change", "coverage_low",
    "coverage_high", "tsnr_before", "tsnr_after", "tsnr_change", "tsnr_low", "tsnr_high", "tsnr_percent",
    "flag",
)  # fmt: skip
PAIRS = ("roi_a", "roi_b", "shared_mm3", "share_of_smaller", "gap_mm", "touching", "mean_r", "sd_r", "n")
LABELS = ("roi", "atlas", "id", "label", "share")
"""Columns of the tables, in order; later versions add at the end."""

CHANGES = "changes"
"""Flag of a region whose coverage or signal differs between time points."""

LEAST_SHARE = 0.005
"""Labels that hold less of a region are not listed."""

NO_LABEL = -1
"""Stands for what lies in no label."""

SUMMARIES = ("edge_mm", "csf_mm", "grey_matter", "r_ring", "r_csf", "own_variance")


def audit_regions(
    out: Path, rois: Rois, folder: Path, time_points: Mapping[str, Mapping[str, Sequence[str]]]
) -> None:
    """Write the tables about regions: where they come from, near which others they lie, what changes in them.

    Parameters
    ----------
    out
        Output folder, with `runs.tsv` and what stage measure wrote.
    rois
        Settings.
    folder
        Folder that paths of `rois` are relative to.
    time_points
        Data set → label → values, in the order of the trial.
    """
    runs = read_tsv(out / paths.RUNS)
    runs = runs[runs["included"] == "true"].reset_index(drop=True)
    collected: Mapping[str, Mapping[str, str]] = read_json(out / paths.COLLECTED)
    regions = registry.regions(rois)
    tables = {run: _coverage(out, collected[run]) for run in runs["run"]}
    grid, space = _grid(out, runs)
    placed = [on_grid.place(roi, grid, space, rois, folder) for roi in regions]
    write_tsv(out / paths.ROIS, region_table(regions, placed, grid, tables))
    write_tsv(out / paths.ROI_CHANGE, change_table(runs, tables, _order(time_points)))
    matrices = [_matrix(out, collected[run]) for run in runs["run"]]
    write_tsv(out / paths.ROI_PAIRS, pair_table(regions, placed, grid, matrices))
    write_tsv(out / paths.ROI_LABELS, label_table(regions, rois, folder))


def _coverage(out: Path, files: Mapping[str, str]) -> pd.DataFrame:
    (name,) = [name for name in files if name.endswith("_stat-coverage.tsv")]
    table = read_tsv(out / name).set_index("roi")
    numbers = table.drop(columns="flag").map(to_number)
    return numbers.assign(flag=table["flag"])


def _matrix(out: Path, files: Mapping[str, str]) -> NDArray[np.float64]:
    (name,) = [name for name in files if name.endswith(f"_stat-{paths.PEARSON}_relmat.tsv")]
    return np.asarray(read_tsv(out / name).iloc[:, 1:].map(to_number), dtype=np.float64)


def _grid(out: Path, runs: pd.DataFrame) -> tuple[images.Grid, str]:
    """Grid and template of the first run."""
    first = runs.iloc[0]
    numbers = receipts.read(out / paths.project_receipt(str(first["run"]))).numbers
    nx, ny, nz = (int(n) for n in numbers["shape"])
    return images.Grid((nx, ny, nz), np.asarray(numbers["affine"], dtype=np.float64)), str(first["space"])


def _order(time_points: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for labels in time_points.values() for label in labels))


def region_table(
    regions: Sequence[Roi],
    placed: Sequence[placement.Placed],
    grid: images.Grid,
    tables: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """One row per region: its definition and source, and medians over runs; see `ROIS`."""
    rows = []
    for roi, one in zip(regions, placed, strict=True):
        x, y, z = _middle(one, grid)
        over = pd.DataFrame([table.loc[roi.label] for table in tables.values()])
        rows.append(
            {
                **{key: getattr(roi, key) for key in ("kind", "side", "group", "space", "definition")},
                **{key: getattr(roi, key) for key in ("source", "status", "remark")},
                "roi": roi.label,
                "x": x,
                "y": y,
                "z": z,
                "volume_mm3": one.total * grid.voxel_volume,
                "runs": int((over["covered"].astype(float) > 0).sum()),
                "coverage_median": _median(over["coverage"]),
                "coverage_min": float(over["coverage"].astype(float).min()),
                "tsnr_median": _median(over["tsnr"]),
                "voxels_median": _median(over["voxels"]),
                **{key: _median(over[key]) for key in SUMMARIES},
                "flags": _flags(over["flag"]),
            }
        )
    return pd.DataFrame(rows, columns=pd.Index(ROIS))


def _middle(placed: placement.Placed, grid: images.Grid) -> tuple[float, float, float]:
    """Centre of mass in mm on the grid; NaN outside the field of view."""
    if not placed.inside.size:
        return float("nan"), float("nan"), float("nan")
    voxels = np.stack(np.unravel_index(placed.inside, grid.shape, order="F"), axis=1)
    mm = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    x, y, z = (round(float(v), 2) for v in np.average(mm, axis=0, weights=placed.weight))
    return x, y, z


def _median(column: pd.Series) -> float:
    values = column.astype(float).to_numpy()
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def _flags(column: pd.Series) -> str:
    found = sorted({flag for cell in column for flag in str(cell).split(";") if flag != MISSING})
    return ";".join(found) or MISSING


def change_table(
    runs: pd.DataFrame, tables: Mapping[str, pd.DataFrame], order: Sequence[str]
) -> pd.DataFrame:
    """Coverage and signal of every region at each later time point against the first; see `CHANGE`.

    Signal that is lost at one time point alone looks like an effect of treatment. Runs of a person and time
    point are averaged first; a row holds people with both time points, and intervals of 95 % by a paired t
    (not corrected for the number of regions).

    Parameters
    ----------
    runs
        Included runs, with `run dataset subject time_point`.
    tables
        Run → coverage table, indexed by region.
    order
        Time points in the order of the trial.
    """
    there = [point for point in order if (runs["time_point"] == point).any()]
    labels = list(next(iter(tables.values())).index) if tables else []
    means = {point: _by_person(runs[runs["time_point"] == point], tables) for point in there}
    rows = []
    for after in there[1:]:
        before = there[0]
        people = [person for person in means[before] if person in means[after]]
        if not people:
            continue
        first = np.array([means[before][person] for person in people])
        last = np.array([means[after][person] for person in people])
        for place, label in enumerate(labels):
            rows.append(_change_row(label, before, after, first[:, :, place], last[:, :, place]))
    return pd.DataFrame(rows, columns=pd.Index(CHANGE))


def _by_person(
    runs: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Mean coverage and tSNR of each region, ndarray of shape (2, n_rois), by data set and subject."""
    found = {}
    for person, rows in runs.groupby(["dataset", "subject"], sort=True):
        stack = [tables[run][["coverage", "tsnr"]].to_numpy(dtype=float).T for run in rows["run"]]
        found[str(person[0]), str(person[1])] = np.mean(stack, axis=0)
    return found


def _change_row(
    label: str, before: str, after: str, first: NDArray[np.float64], last: NDArray[np.float64]
) -> dict[str, Any]:
    kept = np.isfinite(first[:, 0] + last[:, 0])
    row: dict[str, Any] = {"roi": label, "before": before, "after": after, "n": int(kept.sum())}
    flags = []
    for place, name in enumerate(("coverage", "tsnr")):
        a, b = first[:, place], last[:, place]
        both = np.isfinite(a) & np.isfinite(b)
        change, low, high = interval(b[both] - a[both])
        row |= {f"{name}_before": _mean(a[both]), f"{name}_after": _mean(b[both])}
        row |= {f"{name}_change": change, f"{name}_low": low, f"{name}_high": high}
        flags += [name] * bool(low > 0 or high < 0)
    base = row["tsnr_before"]
    row["tsnr_percent"] = 100 * row["tsnr_change"] / base if base else float("nan")
    row["flag"] = f"{CHANGES}: {', '.join(flags)}" if flags else MISSING
    return row


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")


def interval(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean of differences and its 95 % interval by a t distribution; NaN limits for fewer than two."""
    n = differences.size
    if n < 2:
        return _mean(differences), float("nan"), float("nan")
    mean = float(differences.mean())
    half = float(student.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def pair_table(
    regions: Sequence[Roi],
    placed: Sequence[placement.Placed],
    grid: images.Grid,
    matrices: Sequence[NDArray[np.float64]],
) -> pd.DataFrame:
    """Pairs of regions that overlap, touch, or lie within 10 mm of each other; see `PAIRS`.

    Part of the correlation of such a pair is of a signal with itself.
    """
    z = np.array([correlation.fisher_z(r) for r in matrices])
    rows = []
    for pair in audit.pairs(placed, grid.shape, grid.affine):
        values = z[:, pair.a, pair.b]
        values = values[np.isfinite(values)]
        rows.append(
            (
                regions[pair.a].label,
                regions[pair.b].label,
                pair.shared * grid.voxel_volume,
                pair.share,
                pair.gap_mm,
                "yes" if pair.touching else "no",
                float(np.tanh(values.mean())) if values.size else float("nan"),
                float(values.std(ddof=1)) if values.size > 1 else float("nan"),
                values.size,
            )
        )
    return pd.DataFrame(rows, columns=pd.Index(PAIRS))


def label_table(regions: Sequence[Roi], rois: Rois, folder: Path) -> pd.DataFrame:
    """Share of every region in the labels of the reference atlases; see `LABELS`.

    Regions are placed on the atlas's own grid. Of probabilities, the share is the mean probability.
    """
    rows = [
        (label, name, *share)
        for name, atlas in rois.reference.items()
        for label, shares in compare(regions, atlas, rois, folder).items()
        for share in shares
    ]
    return pd.DataFrame(rows, columns=pd.Index(LABELS))


Share = tuple[int | str, str, float]
"""Id, name and share of a label."""


def compare(
    regions: Sequence[Roi], atlas: ReferenceAtlas, rois: Rois, folder: Path
) -> dict[str, list[Share]]:
    """Labels of a reference atlas that regions lie in, the largest share first, by label of the region.

    A region in another template is compared through the configured transform; without one, a single row says
    so.

    Parameters
    ----------
    regions
        Regions of the study.
    atlas
        The reference.
    rois
        Settings.
    folder
        Folder that paths are relative to.
    """
    space = atlas.space or sources.space_of(atlas.image)
    path = sources.locate(atlas.image, folder)
    names = binding.table_of(atlas.image, atlas.table, folder) or {}
    grid = images.read_header(path).grid
    there = [roi for roi in regions if on_grid.reachable(roi, space, rois)]
    placed = [on_grid.place(roi, grid, space, rois, folder) for roi in there]
    found: dict[str, list[Share]] = {
        roi.label: [(MISSING, f"not compared with {space}", float("nan"))] for roi in regions
    }
    for roi, shares in zip(there, _shares(placed, path), strict=True):
        kept = [(v, share) for v, share in shares.items() if share >= LEAST_SHARE]
        kept.sort(key=lambda one: -one[1])
        found[roi.label] = [
            (MISSING, "none of its labels", share) if v == NO_LABEL else (v, names.get(v, str(v)), share)
            for v, share in kept
        ]
        found[roi.label] = found[roi.label] or [(MISSING, "none of its labels", 1.0)]
    return found


def _shares(placed: Sequence[placement.Placed], path: Path) -> list[dict[int, float]]:
    """Share of each region in each label, or its mean probability in each volume."""
    header = images.read_header(path)
    if header.volumes == 1:
        image = atlases.read_label_image(path)
        shares = [audit.label_shares(one, image.values) for one in placed]
        return [{(int(image.ids[p - 1]) if p else NO_LABEL): s for p, s in one.items()} for one in shares]
    means: list[dict[int, float]] = [{} for _ in placed]
    largest = 0.0
    for number, values in enumerate(atlases.volumes_of(header)):
        largest = max(largest, float(values.max()))
        for one, region in zip(means, placed, strict=True):
            one[number] = audit.mean_probabilities(region, values)
    divisor = 100.0 if largest > 1 else 1.0
    return [{number: mean / divisor for number, mean in one.items()} for one in means]
