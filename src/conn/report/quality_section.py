"""How good the data are: degrees of freedom, motion, time kept, coverage, and mean connectivity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from conn.report import brain, plots, style
from conn.report.cohort_section import run_names
from conn.report.contract import Outputs
from conn.report.people import Names
from conn.report.regions import groups_of, ordered
from conn.report.style import Picture
from conn.report.values import Connectivity
from conn.report.words import count, listed, significant
from conn.tables import MISSING

CHUNK = 12
"""Maps in one mosaic, so that a figure fits a page."""


def strips(folder: Path, outputs: Outputs) -> Picture | None:
    """Degrees of freedom, motion and time kept of every run."""
    runs = outputs.runs[np.isfinite(outputs.runs["df"]) | np.isfinite(outputs.runs["mean_fd"])]
    if runs.empty:
        return None
    denoise = outputs.config.denoise
    order = [p for p in (*outputs.time_points, MISSING) if (runs["time_point"] == p).any()]
    panels = [
        _panel(
            runs, order, "df", "Degrees of freedom", "retained degrees of freedom", denoise.min_df, "min_df"
        ),
        _panel(runs, order, "mean_fd", "Head motion", "mean framewise displacement (mm)", None, ""),
        _panel(
            runs, order, "seconds_kept", "Data kept", "uncensored seconds", denoise.min_seconds, "min_seconds"
        ),
    ]
    kept = int(runs["included"].sum())
    caption = (
        f"Each point is a run ({count(kept, 'run')} in the analysis, {len(runs) - kept} measured but left "
        f"out); "
        "bars are medians of included runs, dashed lines the configured floors."
    )
    alt = (
        "Strip plots of degrees of freedom, mean framewise displacement and seconds kept per run. "
        + " ".join(
            f"Median {n}: {significant(float(runs.loc[runs['included'], c].median()), 3)}."
            for c, n in (
                ("df", "degrees of freedom"),
                ("mean_fd", "displacement in mm"),
                ("seconds_kept", "seconds"),
            )
        )
    )
    with style.look():
        return style.save(folder, "quality_runs", plots.strips(panels), alt, caption)


def _panel(
    runs: pd.DataFrame,
    order: Sequence[str],
    column: str,
    title: str,
    unit: str,
    limit: float | None,
    label: str,
) -> plots.Strip:
    shown = {"all": "all runs", MISSING: "no time point"}
    parts = {shown.get(p, p): runs[runs["time_point"] == p] for p in order}
    return plots.Strip(
        title,
        unit,
        {name: part[column].to_numpy(float) for name, part in parts.items()},
        {name: part["included"].to_numpy(bool) for name, part in parts.items()},
        limit,
        f"{label} = {limit:g}" if limit is not None else "",
    )


def coverage(folder: Path, outputs: Outputs, names: Names) -> Picture | None:
    """Coverage of every region in every run."""
    table = outputs.coverage
    if table.empty:
        return None
    table = table.reindex(ordered(table.index))
    floor = outputs.config.rois.min_coverage
    low = table.index[(table.fillna(0.0) < floor).all(axis=1)].tolist()
    short = run_names(outputs, names)
    caption = (
        f"Coverage of {count(len(table), 'region')} in {count(table.shape[1], 'run')}. Crosses mark "
        f"regions below "
        f"rois.min_coverage = {floor:g}; they are n/a in that run."
    )
    if outputs.sub_voxel:
        caption += (
            f" Smaller than a voxel: {listed(outputs.sub_voxel)}; what stands for them is mostly their "
            "surroundings, so nothing about them is a finding by itself."
        )
    alt = f"Heat map of coverage, regions by runs. Below the floor in every run: {listed(low, 8) or 'none'}."
    with style.look():
        figure = plots.coverage(table, [short[k] for k in table.columns], floor)
        return style.save(folder, "quality_coverage", figure, alt, caption, vector=False, dpi=200)


def mean_matrix(folder: Path, data: Connectivity) -> Picture | None:
    """Mean ROI × ROI connectivity, or mean partial correlation, over all included runs."""
    mean = data.mean
    if mean.empty or not np.isfinite(mean.to_numpy()).any():
        return None
    n = len(data.runs)
    off = np.abs(mean.to_numpy()[np.isfinite(mean.to_numpy())])
    limit = max(float(np.quantile(off, 0.98)), 0.1)
    first, second = divmod(int(np.nanargmax(mean.to_numpy())), len(mean))
    partial = data.measure == "partial"
    what = "Mean partial correlation, each pair given all the others," if partial else "Mean connectivity"
    caption = (
        f"{what} between {count(len(mean), 'region')} over {count(n, 'run')} (Fisher z; grey: no value). "
        "Descriptive: the same region left and right should be clearly connected."
    )
    unit = f"mean Fisher z{' of partial r' if partial else ''}"
    alt = f"Matrix of {unit} between regions; the largest is {mean.index[first]} with {mean.index[second]}."
    with style.look():
        figure = plots.matrix(mean, unit, groups=groups_of(data.labels), limit=limit)
        name = "mean_partial_matrix" if partial else "mean_matrix"
        return style.save(folder, name, figure, alt, caption, vector=False, dpi=200)


def mean_seed_maps(folder: Path, outputs: Outputs) -> list[Picture]:
    """Mean first-level maps, for a study without models."""
    rows = []
    for seed, paths in outputs.seed_maps.items():
        volume = brain.mean_of(paths)
        empty = not np.isfinite(volume.data).any()
        rows.append(
            brain.Row(seed, volume, note="no valid voxel" if empty else f"{count(len(paths), 'run')}")
        )
    order = ordered([row.name for row in rows])
    rows.sort(key=lambda row: order.index(row.name))
    pictures = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        caption = (
            "Mean Fisher-z map of each seed over included runs, on the template "
            f"{brain.TEMPLATE} (a drawing ground only). Opacity grows with |z|; no threshold and no test."
        )
        alt = f"Axial slices of mean connectivity of {listed([r.name for r in part])}."
        with style.look():
            figure = brain.mosaic(part, "mean z", limit=0.6, full=0.3)
            name = f"mean_seedmaps_{start // CHUNK + 1}"
            pictures.append(style.save(folder, name, figure, alt, caption, vector=False))
    return pictures
