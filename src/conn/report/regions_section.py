"""Regions: where they are, which of them to be careful with, and whether their signal changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from conn.config.model import Config
from conn.errors import ConnError
from conn.report import brain, page, roi_figures, style
from conn.report.contract import Outputs
from conn.report.regions import edge
from conn.report.roi_figures import Drawn, Panel
from conn.report.style import Picture
from conn.report.words import count, listed, significant
from conn.rois import on_grid, registry, selection
from conn.rois.placement import SUB_VOXEL
from conn.rois.registry import SELECTED, Roi
from conn.tables import MISSING

MOST_PAIRS = 12
BRAINSTEM = "Brainstem"


def panels_of(regions: Sequence[Roi], folder: Path) -> list[Panel]:
    """Regions that are seen together in a panel: subdivisions of one side, or both sides near the midline.

    Parameters
    ----------
    regions
        What is drawn.
    folder
        Folder that their images are relative to.

    Raises
    ------
    InputError
        An image is missing or damaged.
    """
    panels: dict[str, list[Roi]] = {}
    for roi in regions:
        near = abs(float(on_grid.field_of(roi, folder).middle()[0])) < roi_figures.HALF_MM / 2
        key = _name_of(roi) if near else registry.family_of(roi) or roi.label
        panels.setdefault(key, []).append(roi)
    made = []
    for members in panels.values():
        for part in range(0, len(members), len(style.PALETTE)):
            made.append(_panel(members[part : part + len(style.PALETTE)], folder))
    return made


def _name_of(roi: Roi) -> str:
    known = registry.table()
    return str(next(iter(known.loc[known["label"] == roi.label, "name"]), roi.label))


def _panel(members: Sequence[Roi], folder: Path) -> Panel:
    first = members[0]
    one_name = len({_name_of(roi) for roi in members}) == 1
    sides = {roi.side for roi in members}
    title = _name_of(first) if one_name else first.group
    title += f" {first.side}" if len(sides) == 1 and first.side in {"L", "R"} else ""
    statuses = ", ".join(dict.fromkeys(roi.status for roi in members))
    drawn = tuple(Drawn(roi.label, on_grid.field_of(roi, folder)) for roi in members)
    return Panel(title, drawn, statuses)


def pictures(folder: Path, outputs: Outputs) -> list[Picture]:
    """Change of signal between time points, then all regions in three views."""
    return [*_change_pictures(folder, outputs), *_views(folder, outputs)]


def _views(folder: Path, outputs: Outputs) -> Iterator[Picture]:
    usable = []
    for roi in registry.regions(outputs.config.rois):
        try:
            on_grid.field_of(roi, outputs.out)
        except ConnError:
            continue  # the image has gone since; the tables stand
        usable.append(roi)
    panels = panels_of(usable, outputs.out)
    pages = [panels[i : i + roi_figures.PER_LINE] for i in range(0, len(panels), roi_figures.PER_LINE)]
    for number, part in enumerate(pages, start=1):
        labels = [one.label for panel in part for one in panel.regions]
        caption = (
            f"{listed(labels)} on the template {brain.TEMPLATE}, which is a drawing ground only; outlines "
            "are the regions themselves, before they meet a grid."
        )
        with style.look():
            figure = roi_figures.three_views(part, brain.template(), "")
            yield style.save(
                folder, f"regions_{number}", figure, f"Three views through {listed(labels)}.", caption,
                vector=False, dpi=110,
            )  # fmt: skip


def _change_pictures(folder: Path, outputs: Outputs) -> Iterator[Picture]:
    table = outputs.roi_change
    for after in dict.fromkeys(table["after"]):
        part = table[table["after"] == after]
        flagged = part.loc[part["flag"] != MISSING, "roi"].tolist()
        n = int(part["n"].max())
        caption = (
            f"Signal and coverage of every region at {after} against {part['before'].iloc[0]} in "
            f"{count(n, 'person', 'people')}, with 95 % intervals (paired, not corrected for the number of "
            "regions). Signal that is lost at one time point alone looks like an effect on connectivity. "
            f"Intervals without zero (diamonds): {listed(flagged, 8) or 'none'}; by chance alone about "
            f"{significant(0.05 * len(part), 2)} of {len(part)} would have one for each measure."
        )
        alt = f"Intervals of the change of tSNR and coverage at {after} for {len(part)} regions."
        with style.look():
            figure = roi_figures.changes(part, str(after))
            yield style.save(folder, f"regions_change_{after}", figure, alt, caption)


def warnings(outputs: Outputs) -> list[str]:
    """Sentences about regions that are to be read with care."""
    rois = registry.regions(outputs.config.rois)
    return [*_placed(outputs.config), *_small(outputs), *_selected(rois), *_brainstem(rois), *_near(outputs)]


def _placed(config: Config) -> Iterator[str]:
    weighted = config.rois.weighting == "coverage"
    yield (
        "Voxels at the edge of a region count by the share of their volume that lies in it."
        if weighted
        else "Voxels belong to a region when their centre lies in it."
    )
    if config.rois.grey_matter is not None:
        yield (
            f"Regions keep only voxels with a grey-matter probability of {config.rois.grey_matter:g} or "
            "more in the person's own tissue map."
        )
    for one in config.rois.transforms:
        yield f"Regions in {one.regions} were looked up through a transform from images in {one.images}."
    removed = config.connectivity.nuisance_regions
    if removed:
        yield f"The mean series of {listed(list(removed))} was removed from all series and maps."


def _small(outputs: Outputs) -> Iterator[str]:
    if outputs.sub_voxel:
        yield (
            f"Smaller than a voxel: {listed(outputs.sub_voxel)}. What stands for them is mostly their "
            "surroundings; nothing about them is a finding by itself."
        )


def _selected(rois: Sequence[Roi]) -> Iterator[str]:
    found = [roi.label for roi in rois if roi.status == SELECTED]
    if found:
        yield (
            f"Placed at the peak of a group map: {listed(found)}. Tested on the data that the map came "
            "from, they are circular, and their effects and intervals are too large."
        )


def _brainstem(rois: Sequence[Roi]) -> Iterator[str]:
    found = [roi.label for roi in rois if roi.group == BRAINSTEM]
    if found:
        yield (
            f"In the brainstem: {listed(found)}. Heartbeat and breathing move it and the fluid around it; "
            "without recordings of both, nuisance regression removes only a part of that, and what is left "
            "differs between people and may change with a drug that acts on heart or breath. Series of "
            "these regions were not smoothed."
        )


def _near(outputs: Outputs) -> Iterator[str]:
    table = outputs.roi_pairs
    n = int((table["touching"] == "yes").sum())
    if n:
        yield (
            f"{count(n, 'pair')} of regions share volume or touch; part of their correlation is of a signal "
            "with itself."
        )


def pairs(outputs: Outputs) -> page.Table | None:
    """Pairs of regions that touch, those that share most first."""
    table = outputs.roi_pairs
    table = table[table["touching"] == "yes"].sort_values("share_of_smaller", ascending=False, kind="stable")
    if table.empty:
        return None
    rows = [
        (
            edge(str(r["roi_a"]), str(r["roi_b"])),
            significant(float(r["shared_mm3"]), 2) if r["shared_mm3"] > 0 else "0",
            f"{100 * float(r['share_of_smaller']):.0f} %",
            significant(float(r["mean_r"]), 2) if np.isfinite(r["mean_r"]) else "n/a",
        )
        for r in table.to_dict("records")
    ]
    head = ("Regions", "Shared (mm³)", "Of the smaller", "Mean r")
    return page.table("Regions that share volume or touch.", head, rows, head[1:])


def table(outputs: Outputs) -> page.Table:
    """Regions with their definitions and sources."""
    config = outputs.config
    asked, custom = config.connectivity, registry.own_labels(config.rois)
    seeds = {seed.roi: "yes" for seed in selection.single(asked.seeds, custom)}
    for seed in selection.unique(asked.together, custom):
        seeds[seed.roi] = listed([*filter(None, [seeds.get(seed.roi)]), f"together ({seed.group})"])
    measured = outputs.roi_table.set_index("roi") if not outputs.roi_table.empty else None
    rows = []
    for roi in registry.regions(config.rois):
        numbers = _numbers(measured, roi.label)
        where = roi.definition.replace("-", "\N{MINUS SIGN}") if roi.shapes else roi.definition
        if len(roi.shapes) > 1:
            first = str(roi.shapes[0]).replace("-", "\N{MINUS SIGN}")
            where = f"{first} and {len(roi.shapes) - 1} more"
        rows.append((roi.label, where, roi.space, *numbers, seeds.get(roi.label, ""), roi.source, roi.status))
    head = ("Region", "Definition", "Space", "mm³", "Voxels", "tSNR", "Grey", "Seed", "Source", "Status")
    note = (
        "Voxels: centres in the region, median over scans. Grey: mean probability of grey matter, where "
        "tissue maps are there. Status says how the coordinate is known; an approximation is a sphere at "
        "the centre of a nucleus. More columns are in rois.tsv and in the coverage table of each scan."
    )
    return page.table("Regions of interest.", head, rows, ("mm³", "Voxels", "tSNR", "Grey"), note)


def _numbers(measured: pd.DataFrame | None, label: str) -> tuple[str, str, str, str]:
    """Volume, voxels, tSNR and grey matter of a region as text."""
    if measured is None or label not in measured.index:
        return "", "", "", ""
    row = measured.loc[label]

    def shown(key: str, digits: int) -> str:
        value = float(row[key])
        return f"{value:.{digits}f}" if np.isfinite(value) else "n/a"

    voxels = shown("voxels_median", 0) + ("*" if SUB_VOXEL in str(row["flags"]) else "")
    return shown("volume_mm3", 0), voxels, shown("tsnr_median", 0), shown("grey_matter", 2)
