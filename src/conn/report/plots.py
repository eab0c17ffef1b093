"""Line drawings and matrices: what each returns is a figure, nothing is written here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import stats

from conn.report import style
from conn.report.words import fixed


@dataclass(frozen=True)
class Strip:
    """One panel of points, one column of points per category.

    Attributes
    ----------
    title, unit
        What is shown; the unit stands on the axis.
    points
        Values of each category, in order.
    kept
        Whether each value belongs to an included run.
    limit
        A configured limit, drawn as a line; None for no line.
    limit_label
        What the line is called.
    """

    title: str
    unit: str
    points: Mapping[str, np.ndarray]
    kept: Mapping[str, np.ndarray]
    limit: float | None = None
    limit_label: str = ""


def spread(n: int, width: float = 0.28) -> np.ndarray:
    """Deterministic jitter: n offsets within ±width that look irregular (golden ratio sequence)."""
    return ((np.arange(n) * 0.6180339887) % 1 - 0.5) * 2 * width


def strips(panels: Sequence[Strip]) -> Figure:
    """Strip plots side by side, with the median of included runs and any configured limit."""
    figure = style.new_figure(height=3.1)
    gap, left, bottom = 0.75, 0.72, 0.62
    width = (style.WIDTH - left - 0.15 - gap * (len(panels) - 1)) / len(panels)
    for position, panel in enumerate(panels):
        axes = style.inches(figure, left + position * (width + gap), bottom, width, 2.1)
        _strip(axes, panel)
    marks = [
        axes.scatter([], [], s=22, color=style.ACCENT, alpha=0.75, linewidths=0, label="included"),
        axes.scatter([], [], s=24, marker="x", color=style.PALETTE[1], label="left out"),
    ]
    figure.legend(handles=marks, loc="lower left", bbox_to_anchor=(0.065, 0.0), ncol=2, handletextpad=0.3)
    return figure


def _strip(axes: Axes, panel: Strip) -> None:
    for place, (category, values) in enumerate(panel.points.items()):
        kept, x = panel.kept[category], place + spread(len(values))
        axes.scatter(x[kept], values[kept], s=22, color=style.ACCENT, alpha=0.75, linewidths=0, zorder=3)
        axes.scatter(x[~kept], values[~kept], s=24, marker="x", color=style.PALETTE[1], zorder=3)
        if np.isfinite(values[kept]).any():
            middle = float(np.nanmedian(values[kept]))
            axes.plot([place - 0.36, place + 0.36], [middle, middle], color=style.INK, lw=1.6, zorder=4)
    if panel.limit is not None:
        axes.axhline(panel.limit, color=style.PALETTE[1], lw=1, ls=(0, (4, 3)), zorder=2)
        where = (1.0, panel.limit)
        axes.annotate(
            panel.limit_label,
            where,
            xycoords=("axes fraction", "data"),
            xytext=(0, -3),
            ha="right",
            va="top",
            textcoords="offset points",
            fontsize=8,
            color=style.PALETTE[1],
        )
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    slanted = len(panel.points) > 4 or max((len(c) for c in panel.points), default=0) > 12
    axes.set_xticks(range(len(panel.points)), list(panel.points), rotation=25 if slanted else 0)
    axes.set_xlim(-0.6, len(panel.points) - 0.4)
    bottom = min(0.0, axes.get_ylim()[0])
    axes.set_ylim(bottom, axes.get_ylim()[1] * 1.05)
    axes.grid(axis="y", color=style.RULE, lw=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def coverage(table: pd.DataFrame, names: Sequence[str], floor: float) -> Figure:
    """Coverage of ROIs (rows) in runs (columns) as a heat map.

    Parameters
    ----------
    table : DataFrame of shape (n_rois, n_runs)
        Share of each ROI's voxels that hold usable data.
    names
        Shown name of each run.
    floor
        `rois.min_coverage`; cells below it carry a cross.
    """
    n_rois, n_runs = table.shape
    row = 0.165
    label_names = n_runs <= 60
    foot = 0.95 if label_names else 0.5
    height = n_rois * row + foot + 0.3
    figure = style.new_figure(height=height)
    axes = style.inches(figure, 1.45, foot, 6.75, n_rois * row)
    values = table.to_numpy(float)
    image = axes.imshow(values, aspect="auto", cmap=style.SEQUENTIAL, vmin=0, vmax=1)
    low = np.argwhere(np.nan_to_num(values, nan=0.0) < floor)
    if len(low) and n_runs <= 120:
        axes.scatter(low[:, 1], low[:, 0], marker="x", s=11, linewidths=0.8, color="white")
    axes.set_yticks(range(n_rois), list(table.index), fontsize=8)
    if label_names:
        axes.set_xticks(range(n_runs), list(names), rotation=90, fontsize=8 if n_runs <= 50 else 7)
    else:
        axes.set_xlabel(f"{n_runs} runs, in the order of runs.tsv")
        axes.set_xticks([])
    axes.tick_params(length=0)
    bar = style.inches(figure, 8.35, foot, 0.14, n_rois * row)
    figure.colorbar(image, cax=bar, label="share of voxels with data")
    return figure


def matrix(
    values: pd.DataFrame,
    label: str,
    marked: np.ndarray | None = None,
    groups: Sequence[str] = (),
    limit: float | None = None,
    *,
    signed: bool = True,
) -> Figure:
    """A symmetric ROI × ROI matrix, zero in white, with marks.

    Parameters
    ----------
    values : DataFrame of shape (n_rois, n_rois)
        NaN where nothing was tested (drawn grey).
    label
        Of the colour bar.
    marked : ndarray of bool, shape (n_rois, n_rois)
        Cells that carry a ring.
    groups
        Anatomical group of each ROI, in runs; a line separates them.
    limit
        End of the colour scale.
    signed
        False for values that cannot be negative: the scale then begins at 0.
    """
    n = len(values)
    font = 8.0 if n > 24 else 8.5
    left, foot = 1.45 if not groups else 2.45, 1.2
    label = textwrap.fill(label, 28)
    right = 1.0 + 0.16 * label.count("\n")
    cell = min((style.WIDTH - left - right) / n, 0.36)
    side = cell * n
    figure = style.new_figure(left + side + right, side + foot + 0.15)
    axes = style.inches(figure, left, foot, side, side)
    shown = values.to_numpy(float)
    finite = np.abs(shown[np.isfinite(shown)])
    top = limit if limit is not None else float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    axes.set_facecolor("#e4e7eb")
    image = axes.imshow(shown, cmap=style.DIVERGING, vmin=-top, vmax=top)
    axes.set_xticks(range(n), list(values.columns), rotation=90, fontsize=font)
    axes.set_yticks(range(n), list(values.index), fontsize=font)
    axes.tick_params(length=0)
    if marked is not None and marked.any():
        y, x = np.nonzero(marked)
        size = (cell * 72 * 0.62) ** 2
        for colour, width in (("black", 2.6), ("white", 1.2)):
            axes.scatter(x, y, s=size, facecolors="none", edgecolors=colour, linewidths=width)
    _separate(axes, groups, left)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar_height = min(side, 2.4)
    bar = style.inches(figure, left + side + 0.14, foot + side - bar_height, 0.14, bar_height)
    figure.colorbar(image, cax=bar, label=label)
    if not signed:
        bar.set_ylim(0, top)
    return figure


def _separate(axes: Axes, groups: Sequence[str], left: float) -> None:
    """Lines between anatomical groups, and their names on the far left."""
    if not groups:
        return
    starts = [i for i, g in enumerate(groups) if i == 0 or g != groups[i - 1]] + [len(groups)]
    width = axes.get_window_extent().width / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    for begin, end in pairwise(starts):
        if begin:
            axes.axhline(begin - 0.5, color="white", lw=2)
            axes.axvline(begin - 0.5, color="white", lw=2)
        x = -(left - 0.12) / width
        axes.annotate(
            groups[begin],
            (x, (begin + end - 1) / 2),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
            color=style.MUTED,
            annotation_clip=False,
        )


def design_matrix(values: np.ndarray, columns: Sequence[str], weights: np.ndarray) -> Figure:
    """A design matrix as shades, each column scaled on its own, with the contrast under it.

    Parameters
    ----------
    values : ndarray of shape (n, p)
    columns
        Names of the columns.
    weights : ndarray of shape (p,) or (r, p)
        Of the contrast: one row of numbers for t, r of them for F.
    """
    n, p = values.shape
    lines = np.atleast_2d(weights)
    column = min(1.1, 6.6 / p)
    height = min(max(n * 0.075, 1.1), 2.6)
    names = [_shortened(name, 36) for name in columns]
    longest = max(len(name) for name in names) * CHARACTER
    slanted = longest > column
    head = 0.3 + (longest * math.sin(_SLANT) if slanted else 0.02)
    last = max(
        (len(name) * CHARACTER * math.cos(_SLANT) - (p - 1 - i) * column) for i, name in enumerate(names)
    )
    right = max(1.0, last - column / 2 + 0.15 if slanted else 0.0)
    foot = 0.3 + 0.2 * len(lines)
    figure = style.new_figure(max(0.75 + column * p + right, 3.2), height + head + foot)
    axes = style.inches(figure, 0.75, foot, column * p, height)
    _shades(axes, values)
    axes.set_yticks([0, n - 1] if n > 1 else [0], ["1", str(n)] if n > 1 else ["1"])
    axes.set_ylabel("person", labelpad=-2)
    axes.xaxis.tick_top()
    axes.set_xticks(
        range(p),
        names,
        rotation=math.degrees(_SLANT) if slanted else 0,
        ha="left" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
    for place, line in enumerate(lines):
        _contrast_row(axes, line, place, column)
    _contrast_name(axes, "contrast" if len(lines) == 1 else "tested\ntogether", len(lines))
    return figure


_SLANT = math.radians(35)
"""Angle of names that do not fit above their columns."""


def _shades(axes: Axes, values: np.ndarray) -> None:
    """Each column from its smallest to its largest value; constant ones by their sign."""
    middle = (values.max(axis=0) + values.min(axis=0)) / 2
    scale = np.maximum((values.max(axis=0) - values.min(axis=0)) / 2, 1e-12)
    constant = np.ptp(values, axis=0) < 1e-12
    shades = np.where(constant, np.sign(values) * 0.6, (values - middle) / scale * 0.85)
    axes.imshow(shades, aspect="auto", cmap="Greys_r", vmin=-1, vmax=1)
    for edge in range(1, values.shape[1]):
        axes.axvline(edge - 0.5, color="white", lw=1.5)


def _shortened(text: str, most: int) -> str:
    """A name that leaves room for the picture."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _contrast_row(axes: Axes, weights: np.ndarray, line: int, width: float) -> None:
    for place, weight in enumerate(weights):
        axes.annotate(
            fixed(float(weight), 0 if float(weight).is_integer() else 2),
            (place, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -14 * (line + 1)),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9 if width > 0.5 else 7.5,
            fontweight="bold" if weight else "normal",
            color=style.INK if weight else style.MUTED,
        )


def _contrast_name(axes: Axes, name: str, lines: int) -> None:
    axes.annotate(
        name,
        (1, 0),
        xycoords="axes fraction",
        xytext=(8, -14 * (lines + 1) / 2),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=style.MUTED,
    )


def forest(rows: pd.DataFrame, unit: str, alpha: float, planted: Sequence[float] = ()) -> Figure:
    """Estimates with marginal and simultaneous intervals, one row per edge, and the truth where it is known.

    Parameters
    ----------
    rows : DataFrame
        With ``name estimate ci_low ci_high ci_sim_low ci_sim_high p_fwe``.
    unit
        Of the estimate.
    alpha
        Level of the intervals, and of what is drawn in full colour.
    planted
        True value per row, NaN where it is not known.
    """
    n = len(rows)
    figure = style.new_figure(height=n * 0.24 + 1.15)
    axes = style.inches(figure, 2.75, 0.85, style.WIDTH - 2.95, n * 0.24 + 0.1)
    columns = ["estimate", "ci_low", "ci_high", "ci_sim_low", "ci_sim_high", "p_fwe"]
    for place, (estimate, low, high, sim_low, sim_high, p) in enumerate(rows[columns].to_numpy(float)):
        found = p <= alpha
        colour = style.ACCENT if found else style.MUTED
        axes.plot([sim_low, sim_high], [place, place], color=colour, lw=1, alpha=0.8, zorder=2)
        axes.plot(
            [low, high], [place, place], color=colour, lw=4, alpha=0.55, zorder=2, solid_capstyle="butt"
        )
        axes.plot(estimate, place, "o", color=colour, mfc=colour if found else "white", ms=5.5, zorder=4)
        if place < len(planted) and np.isfinite(planted[place]):
            axes.plot(
                planted[place], place, "D", color=style.PALETTE[4], mec=style.INK, mew=0.7, ms=6, zorder=5
            )
    axes.axvline(0, color=style.INK, lw=0.8)
    axes.set_yticks(range(n), list(rows["name"]))
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlabel(unit)
    axes.grid(axis="x", color=style.RULE, lw=0.5, alpha=0.7)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _forest_legend(figure, axes, alpha, bool(np.isfinite(np.asarray(planted, float)).any()))
    return figure


def statistics(rows: pd.DataFrame, label: str, alpha: float, critical: float | None = None) -> Figure:
    """Statistics without a direction, one row per edge.

    Parameters
    ----------
    rows : DataFrame
        With ``name stat p_fwe``.
    label
        Of the statistic.
    alpha
        From which p on a row is drawn in full colour.
    critical
        What a statistic must exceed, drawn as a line; None for no line.
    """
    n = len(rows)
    figure = style.new_figure(height=n * 0.24 + 1.15)
    axes = style.inches(figure, 2.75, 0.85, style.WIDTH - 2.95, n * 0.24 + 0.1)
    for place, (value, p) in enumerate(rows[["stat", "p_fwe"]].to_numpy(float)):
        found = p <= alpha
        colour = style.ACCENT if found else style.MUTED
        axes.plot([0, value], [place, place], color=colour, lw=1.2, alpha=0.6, zorder=2)
        axes.plot(value, place, "o", color=colour, mfc=colour if found else "white", ms=5.5, zorder=4)
    if critical is not None:
        axes.axvline(critical, color=style.PALETTE[1], lw=1, ls=(0, (4, 3)), zorder=3)
    axes.set_yticks(range(n), list(rows["name"]))
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.set_xlabel(label)
    axes.grid(axis="x", color=style.RULE, lw=0.5, alpha=0.7)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _statistics_legend(figure, axes, alpha, critical)
    return figure


def _statistics_legend(figure: Figure, axes: Axes, alpha: float, critical: float | None) -> None:
    handles = [axes.plot([], [], "o", color=style.ACCENT, ms=5.5, label=f"p_fwe ≤ {alpha:g}")[0]]
    handles += axes.plot([], [], "o", color=style.MUTED, mfc="white", ms=5.5, label=f"p_fwe > {alpha:g}")
    if critical is not None:
        handles += axes.plot([], [], color=style.PALETTE[1], lw=1, ls=(0, (4, 3)), label="critical value")
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.01, 0.0), ncol=len(handles))


def _forest_legend(figure: Figure, axes: Axes, alpha: float, truth: bool) -> None:
    level = f"{100 * (1 - alpha):g}\N{NO-BREAK SPACE}%"
    handles = [
        axes.plot([], [], color=style.MUTED, lw=4, alpha=0.55, label=f"{level} interval")[0],
        axes.plot([], [], color=style.MUTED, lw=1, label=f"{level} simultaneous interval")[0],
        axes.plot([], [], "o", color=style.ACCENT, ms=5.5, label=f"p_fwe ≤ {alpha:g}")[0],
    ]
    if truth:
        handles += axes.plot(
            [], [], "D", color=style.PALETTE[4], mec=style.INK, mew=0.7, ms=6, label="planted truth"
        )
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.01, 0.0), ncol=len(handles))


@dataclass(frozen=True)
class Group:
    """People of one group in a plot of one edge.

    Attributes
    ----------
    name
        Shown name; empty when there is only one group.
    z : ndarray of shape (n_people, n_points)
        Fisher z at each time point; one column in a comparison at one time point.
    """

    name: str
    z: np.ndarray


@dataclass(frozen=True)
class EdgePanel:
    """One edge: people as lines or points.

    Attributes
    ----------
    title, note
        The edge, and its p.
    groups
        The groups.
    predictor : ndarray of shape (n_people,), optional
        For slopes: the number on the horizontal axis.
    """

    title: str
    note: str
    groups: tuple[Group, ...]
    predictor: np.ndarray | None = None


CHARACTER = 0.078
"""Width of a character of small text in inches, on average."""


def edges(panels: Sequence[EdgePanel], points: Sequence[str], unit: str, x_label: str = "") -> Figure:
    """Individual people and group means with 95 % intervals, one panel per edge, one scale for all."""
    per_row = min(4, max(len(panels), 1))
    n_rows = -(-len(panels) // per_row)
    left, gap = 0.72, 0.42
    width = (style.WIDTH - left - 0.1 - gap * 3) / 4
    ticks = _Ticks.of(panels[0], points, width)
    low_margin = (0.5 if x_label else 0.35) + ticks.extra
    row_height = low_margin + 2.45
    full = max(left + 0.1 + per_row * (width + gap) - gap, 4.2)
    columns, lines = _legend_shape(panels[0], full) if ticks.legend else (1, 0)
    foot = 0.12 + 0.22 * lines
    figure = style.new_figure(full, n_rows * row_height + foot)
    low, high = _common_range(panels)
    for position, panel in enumerate(panels):
        row, column = divmod(position, per_row)
        bottom = foot + (n_rows - 1 - row) * row_height + low_margin
        axes = style.inches(figure, left + column * (width + gap), bottom, width, 1.82)
        _edge_panel(axes, panel, points, ticks)
        axes.set_ylim(low, high)
        axes.set_title(panel.title.replace(" \N{EN DASH} ", " \N{EN DASH}\n") + "\n", fontsize=9)
        axes.annotate(
            panel.note,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            fontsize=8.5,
            color=style.MUTED,
        )
        axes.set_xlabel(x_label)
        if column == 0:
            axes.set_ylabel(unit)
        else:
            axes.tick_params(labelleft=False)
    if ticks.legend:
        handles = _group_handles(panels[0])
        place = (0.55 / full, 0)
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=place, ncol=columns)
    return figure


@dataclass(frozen=True)
class _Ticks:
    """Where names of groups and time points stand, so that none overlaps another.

    Attributes
    ----------
    legend
        Groups are named below the panels.
    slanted
        Names of time points are slanted.
    extra
        Inches that slanted names need.
    """

    legend: bool
    slanted: bool
    extra: float

    @staticmethod
    def of(panel: EdgePanel, points: Sequence[str], width: float) -> _Ticks:
        """For panels like this one, `width` inches wide."""
        if panel.predictor is not None:
            return _Ticks(False, False, 0.0)
        names = [group.name for group in panel.groups]
        if len(points) == 1:
            crowded = not _fit([*names, "n = 00"], width / (len(names) + 0.1))
            return _Ticks(any(names) and crowded, False, 0.0)
        slanted = not _fit(points, width / (len(points) - 0.4))
        longest = max(len(point) for point in points)
        extra = longest * CHARACTER * math.sin(_SLANT) - 0.05 if slanted else 0.0
        return _Ticks(any(names), slanted, extra)


def _fit(names: Sequence[str], room: float) -> bool:
    """Whether names stand beside each other when each has so many inches."""
    return max(len(name) for name in names) * CHARACTER + 0.06 <= room


def _legend_shape(panel: EdgePanel, width: float) -> tuple[int, int]:
    """Columns and lines of a legend of groups."""
    longest = max(len(group.name) for group in panel.groups) + len(" (n = 00)")
    columns = min(len(panel.groups), max(1, int((width - 0.6) / (longest * CHARACTER + 0.6))))
    return columns, -(-len(panel.groups) // columns)


def _group_handles(panel: EdgePanel) -> list[Patch]:
    return [
        Patch(color=style.PALETTE[i % 6], label=f"{g.name} (n = {len(g.z)})")
        for i, g in enumerate(panel.groups)
    ]


def _common_range(panels: Sequence[EdgePanel]) -> tuple[float, float]:
    values = np.concatenate([g.z.ravel() for p in panels for g in p.groups] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if not values.size:
        return -1.0, 1.0
    margin = 0.06 * max(float(np.ptp(values)), 0.1)
    return float(values.min()) - margin, float(values.max()) + margin


def _edge_panel(axes: Axes, panel: EdgePanel, points: Sequence[str], ticks: _Ticks) -> None:
    axes.axhline(0, color=style.RULE, lw=0.8, zorder=1)
    if panel.predictor is not None:
        _slope(axes, panel.predictor, panel.groups[0].z[:, 0])
    elif panel.groups and panel.groups[0].z.shape[1] > 1:
        _change(axes, panel.groups, points, ticks.slanted)
    else:
        _difference(axes, panel.groups, named=not ticks.legend)


def _change(axes: Axes, groups: Sequence[Group], points: Sequence[str], slanted: bool) -> None:
    """One thin line per person, the mean of each group with its interval beside it."""
    x = np.arange(len(points), dtype=float)
    for place, group in enumerate(groups):
        colour = style.PALETTE[place % 6]
        axes.plot(x, group.z.T, color=colour, lw=0.7, alpha=0.32, zorder=2)
        shift = 0.0 if len(groups) == 1 else (place - (len(groups) - 1) / 2) * 0.09
        _mean(axes, x + shift, group.z, colour, style.MARKERS[place % 6])
    axes.set_xticks(x, list(points))
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=math.degrees(_SLANT), ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.3, len(points) - 0.7)


def _difference(axes: Axes, groups: Sequence[Group], *, named: bool) -> None:
    for place, group in enumerate(groups):
        colour, values = style.PALETTE[place % 6], group.z[:, 0]
        axes.scatter(place + spread(len(values), 0.18), values, s=13, color=colour, alpha=0.5, linewidths=0)
        _mean(axes, np.array([place + 0.3]), group.z, colour, style.MARKERS[place % 6])
    labels = [f"{g.name}\nn = {len(g.z)}".strip() if named else "" for g in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_xlim(-0.5, len(groups) - 0.4)


def _mean(axes: Axes, x: np.ndarray, values: np.ndarray, colour: str, marker: str) -> None:
    """Mean and marginal 95 % t interval of each column."""
    n = np.isfinite(values).sum(axis=0)
    if (n < 2).any():
        return
    mean = np.nanmean(values, axis=0)
    half = stats.t.ppf(0.975, n - 1) * np.nanstd(values, axis=0, ddof=1) / np.sqrt(n)
    axes.errorbar(
        x,
        mean,
        yerr=half,
        color=colour,
        marker=marker,
        ms=5,
        lw=2,
        capsize=0,
        zorder=4,
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def _slope(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    good = np.isfinite(x) & np.isfinite(y)
    axes.scatter(x, y, s=15, color=style.ACCENT, alpha=0.7, linewidths=0, zorder=3)
    if good.sum() > 2 and np.ptp(x[good]) > 0:
        slope, start = np.polyfit(x[good], y[good], 1)
        ends = np.array([x[good].min(), x[good].max()])
        axes.plot(ends, start + slope * ends, color=style.INK, lw=1.5, zorder=4)
