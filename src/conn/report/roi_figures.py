"""Pictures of regions: three views with their outlines, on the template or on a person's own image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from conn.report import brain, style
from conn.report.brain import Volume
from conn.rois.placement import Field

HALF_MM = 32.0
"""Half the edge of a view."""

PIXEL_MM = 0.4
TILE = 2.05
"""Edge of a view in inches."""

PER_LINE = 4
VIEWS = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Drawn:
    """A region to be drawn.

    Attributes
    ----------
    label
        Its label.
    field
        The region as a function of place.
    """

    label: str
    field: Field


@dataclass(frozen=True)
class Panel:
    """Regions that are drawn together, such as both sides or subdivisions.

    Attributes
    ----------
    title
        Written above.
    regions
        At most six.
    note
        Small text beside the title.
    """

    title: str
    regions: tuple[Drawn, ...]
    note: str = ""


def three_views(panels: Sequence[Panel], ground: Volume, what: str) -> Figure:
    """Sagittal, coronal and axial views through regions, one line for each panel.

    Parameters
    ----------
    panels
        What is drawn.
    ground
        Image behind the outlines.
    what
        Words about the ground.
    """
    names, side = 1.75, 0.12
    line, head, foot = TILE + 0.34, -0.2, 0.56
    width = names + len(VIEWS) * (TILE + side) + 0.1
    figure = style.new_figure(width, head + foot + line * len(panels))
    for place, panel in enumerate(panels):
        bottom = foot + (len(panels) - 1 - place) * line
        _names(figure, panel, bottom)
        for axis in range(3):
            left = names + axis * (TILE + side)
            axes = style.inches(figure, left, bottom, TILE, TILE)
            _view(axes, panel, ground, axis)
    size = figure.get_size_inches()
    figure.text(0.1 / size[0], 0.1 / size[1], what, fontsize=8, color=style.MUTED)
    return figure


def _names(figure: Figure, panel: Panel, bottom: float) -> None:
    width, height = figure.get_size_inches()
    x, top = 0.1 / width, bottom + TILE
    figure.text(x, (top - 0.16) / height, panel.title, fontsize=9.5, fontweight="bold")
    if panel.note:
        figure.text(x, (top - 0.36) / height, panel.note, fontsize=8, color=style.MUTED, va="top")
    handles = [
        Line2D([], [], color=style.PALETTE[i % len(style.PALETTE)], lw=2, label=one.label)
        for i, one in enumerate(panel.regions)
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.02 / width, (bottom - 0.05) / height),
        handlelength=1.1,
        borderaxespad=0.2,
        labelspacing=0.25,
    )


def middle_of(panel: Panel) -> np.ndarray:
    """The place in mm that the views of a panel go through: the middle of the first region.

    Across the midline it is that of all: both sides are to be seen from the front and from above.
    """
    middles = np.array([one.field.middle() for one in panel.regions])
    center = middles.mean(axis=0)
    return np.array([middles[0, 0], center[1], center[2]])


def _view(axes: Axes, panel: Panel, ground: Volume, axis: int) -> None:
    through = middle_of(panel)
    centers = np.array([one.field.middle() for one in panel.regions]).mean(axis=0)
    first, second = [a for a in range(3) if a != axis]
    reach = np.arange(-HALF_MM, HALF_MM + PIXEL_MM / 2, PIXEL_MM)
    across, up = centers[first] + reach, centers[second] + reach
    at = float(through[axis])
    grey = _shade(brain.cut(ground, axis, at, across, up, order=1))
    extent = (across[0], across[-1], up[0], up[-1])
    axes.imshow(grey, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="equal")
    points = brain.points_of(axis, at, across, up).T
    for number, one in enumerate(panel.regions):
        _outline(axes, one, points, (across, up), style.PALETTE[number % len(style.PALETTE)])
    _marks(axes, axis, at, extent)


def _shade(values: np.ndarray) -> np.ndarray:
    """Grey values from 0 to 1; what is not there is white."""
    there = np.isfinite(values) & (values > 0)
    if not there.any():
        return np.ones_like(values)
    low, high = np.quantile(values[there], [0.02, 0.99])
    grey = 0.12 + 0.8 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return np.where(there, grey, 1.0)


def _outline(
    axes: Axes, one: Drawn, points: np.ndarray, places: tuple[np.ndarray, np.ndarray], colour: str
) -> None:
    across, up = places
    inside = one.field.at(points).reshape(len(up), len(across))[::-1]
    if not (inside > 0).any():
        return
    level = 0.5 if not one.field.graded else float(inside.max()) / 2
    axes.contour(across, up, inside, levels=[level], colors="white", linewidths=2.6, alpha=0.85)
    axes.contour(across, up, inside, levels=[level], colors=colour, linewidths=1.5)


def _marks(axes: Axes, axis: int, at: float, extent: tuple[float, float, float, float]) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    name = f"{'xyz'[axis]} = {at:.1f} mm".replace("-", "\N{MINUS SIGN}")
    axes.annotate(
        name, (0.5, 0), (0, -3), "axes fraction", "offset points", ha="center", va="top", fontsize=8.5
    )
    left, right = ("back", "front") if axis == 0 else ("L", "R")
    for x, text, side in ((0.02, left, "left"), (0.98, right, "right")):
        axes.annotate(
            text, (x, 0.985), xycoords="axes fraction", ha=side, va="top", fontsize=8, color=style.INK
        ).set_bbox({"facecolor": "white", "alpha": 0.65, "edgecolor": "none", "pad": 0.8})
    if axis == 2:
        start = extent[1] - 13.0
        axes.plot([start, start + 10], [extent[2] + 3] * 2, color="white", lw=3.2, solid_capstyle="butt")
        axes.plot([start, start + 10], [extent[2] + 3] * 2, color=style.INK, lw=1.6, solid_capstyle="butt")
        axes.annotate(
            "10 mm", (start + 5, extent[2] + 4), ha="center", va="bottom", fontsize=7.5, color=style.INK
        ).set_bbox({"facecolor": "white", "alpha": 0.65, "edgecolor": "none", "pad": 0.6})


def changes(table: pd.DataFrame, after: str) -> Figure:
    """Change of signal and coverage of every region at a later time point, with 95 % intervals.

    Parameters
    ----------
    table
        Rows of `roi_change.tsv` of one pair of time points, numbers as numbers.
    after
        The later time point.
    """
    n = len(table)
    figure = style.new_figure(style.WIDTH, 0.75 + 0.185 * n)
    size = figure.get_size_inches()
    height = size[1] - 0.75
    y = np.arange(n)[::-1]
    scale = 100.0 / table["tsnr_before"].to_numpy(float)
    columns = (
        ("tsnr", scale, "Signal (tSNR)", f"change to {after} (%)"),
        ("coverage", np.full(n, 100.0), "Coverage", f"change to {after} (percentage points)"),
    )
    for place, (name, factor, title, unit) in enumerate(columns):
        axes = style.inches(figure, 1.55 + place * 3.9, 0.45, 3.5, height)
        change, low, high = (
            table[f"{name}_{part}"].to_numpy(float) * factor for part in ("change", "low", "high")
        )
        sure = (low > 0) | (high < 0)
        axes.axvline(0, color=style.RULE, lw=1)
        for which, colour, marker in ((~sure, style.MUTED, "o"), (sure, style.PALETTE[1], "D")):
            axes.hlines(y[which], low[which], high[which], color=colour, lw=1.3)
            axes.plot(change[which], y[which], marker, color=colour, ms=4)
        axes.set(ylim=(-0.8, n - 0.2), xlabel=unit, title=title)
        axes.set_yticks(y, table["roi"] if place == 0 else [""] * n)
        axes.tick_params(axis="y", length=0)
        reach = float(np.nanmax(np.abs([low, high]), initial=1.0)) * 1.1
        axes.set_xlim(-reach, reach)
    return figure
