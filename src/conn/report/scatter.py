"""Scatter of people with a line and its band for each arm, and strips of reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from conn.report import style

PER_ROW = 3


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of score and connectivity.

    Attributes
    ----------
    title
        The edge or network.
    note
        Words on the correlation, a line each.
    x_label
        The score.
    score, connectivity
        ndarrays of shape (n,).
    arms
        Arm of each person.
    """

    title: str
    note: str
    x_label: str
    score: np.ndarray
    connectivity: np.ndarray
    arms: np.ndarray


def people(panels: Sequence[Panel], levels: Sequence[str], unit: str) -> Figure:
    """One panel for each pair; a colour and a marker for each arm."""
    columns = min(PER_ROW, len(panels))
    lines = -(-len(panels) // columns)
    width, height, left, gap = 2.35, 1.95, 0.72, 0.62
    row, foot = height + 1.22, 0.32 if len(levels) > 1 else 0.0
    full = left + columns * (width + gap) - gap + 0.12
    figure = style.new_figure(max(full, 4.2), lines * row + foot)
    for place, panel in enumerate(panels):
        line, column = divmod(place, columns)
        bottom = foot + (lines - 1 - line) * row + 0.5
        axes = style.inches(figure, left + column * (width + gap), bottom, width, height)
        _panel(axes, panel, levels)
        if column == 0:
            axes.set_ylabel(unit)
    if len(levels) > 1:
        handles = [
            Line2D([], [], color=_colour(i), marker=_marker(i), lw=1.5, ms=5, label=level)
            for i, level in enumerate(levels)
        ]
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.55 / full, 0), ncol=len(levels))
    return figure


def _colour(place: int) -> str:
    return style.PALETTE[place % len(style.PALETTE)]


def _marker(place: int) -> str:
    return style.MARKERS[place % len(style.MARKERS)]


def _panel(axes: Axes, panel: Panel, levels: Sequence[str]) -> None:
    for place, level in enumerate(levels):
        own = panel.arms == level if len(levels) > 1 else np.ones(panel.arms.size, dtype=bool)
        x, y, colour = panel.score[own], panel.connectivity[own], _colour(place)
        axes.scatter(x, y, s=16, color=colour, marker=_marker(place), alpha=0.75, linewidths=0, zorder=3)
        _line(axes, x, y, colour)
    axes.set_title(panel.title + "\n\n", fontsize=9)
    axes.annotate(
        panel.note,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=8.5,
        color=style.MUTED,
        linespacing=1.25,
    )
    axes.set_xlabel(panel.x_label)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    """Least squares with the 95 % band of its mean."""
    if x.size < 4 or np.ptp(x) == 0:
        return
    fit = stats.linregress(x, y)
    grid = np.linspace(x.min(), x.max(), 60)
    rest = y - fit.intercept - fit.slope * x
    spread = ((x - x.mean()) ** 2).sum()
    half = stats.t.ppf(0.975, x.size - 2) * np.sqrt(
        (rest**2).sum() / (x.size - 2) * (1 / x.size + (grid - x.mean()) ** 2 / spread)
    )
    middle = fit.intercept + fit.slope * grid
    axes.plot(grid, middle, color=colour, lw=1.6, zorder=4)
    axes.fill_between(grid, middle - half, middle + half, color=colour, alpha=0.13, linewidth=0, zorder=2)


@dataclass(frozen=True, eq=False)
class Spread:
    """A measure of reliability over edges.

    Attributes
    ----------
    label
        What it is.
    values
        ndarray of shape (n_edges,); NaN where there is none.
    """

    label: str
    values: np.ndarray


LOWEST = -0.6
"""Where the axis of reliabilities begins; what lies below stands there as a triangle."""


def reliabilities(rows: Sequence[Spread]) -> Figure:
    """A line of points for each measure over all edges, with the middle half and the median."""
    left, width, step = 2.5, 5.6, 0.62
    figure = style.new_figure(left + width + 0.2, 0.75 + step * len(rows))
    axes = style.inches(figure, left, 0.5, width, step * len(rows))
    rng = np.random.default_rng(0)  # Only where points lie across the line.
    for place, one in enumerate(rows):
        height = len(rows) - 1 - place
        values = one.values[np.isfinite(one.values)]
        across = height + rng.uniform(-0.18, 0.18, values.size)
        below = values < LOWEST
        axes.scatter(values[~below], across[~below], s=9, color=style.ACCENT, alpha=0.4, linewidths=0)
        axes.scatter(
            np.full(below.sum(), LOWEST), across[below], s=16, marker="<", color=style.ACCENT, alpha=0.4
        )
        if values.size:
            low, middle, high = np.maximum(np.percentile(values, [25, 50, 75]), LOWEST)
            axes.plot([low, high], [height, height], color=style.INK, lw=3, solid_capstyle="butt", zorder=3)
            axes.plot(middle, height, "o", ms=6, color="white", markeredgecolor=style.INK, zorder=4)
    axes.set_yticks(range(len(rows)), [one.label for one in rows][::-1])
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xlim(LOWEST - 0.04, 1.02)
    axes.axvline(0, color=style.RULE, lw=0.8, zorder=1)
    axes.set_xlabel("reliability (0: noise alone; 1: no noise)")
    axes.tick_params(axis="y", length=0)
    return figure
