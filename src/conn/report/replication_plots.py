"""Forest plot of trials: each by itself, and what they say together, feature by feature."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from conn.report import style
from conn.report.words import SPACE, fixed, interval

LINE = 0.235
"""Height of a row in inches."""
LEFT, RIGHT = 2.5, 2.75
"""Room for names and for numbers, in inches."""
FOOT, HEAD = 0.95, 0.32


@dataclass(frozen=True)
class Line:
    """A trial, or a mean over trials.

    Attributes
    ----------
    name
        Of the trial, or of the mean.
    n
        People; None for a mean that has those of the line above.
    estimate, low, high
        With its interval.
    weight
        Share of the trial in the common effect; NaN for a mean.
    random
        A mean of random effects, which is not what is tested.
    """

    name: str
    n: int | None
    estimate: float
    low: float
    high: float
    weight: float = float("nan")
    random: bool = False

    @property
    def pooled(self) -> bool:
        """Whether it is a mean over trials."""
        return not np.isfinite(self.weight)


@dataclass(frozen=True)
class Group:
    """A feature: its name, trials, then means over them; and whether the common effect is significant."""

    title: str
    lines: tuple[Line, ...]
    found: bool = False


def forest(groups: Sequence[Group], unit: str, level: str) -> Figure:
    """Squares for trials, their size by weight, and diamonds for means over trials, with intervals.

    Parameters
    ----------
    groups
        Features, in order.
    unit
        Of the estimates.
    level
        Of the intervals, in words.
    """
    rows = sum(len(group.lines) + 1.5 for group in groups) - 0.5
    figure = style.new_figure(height=rows * LINE + FOOT + HEAD)
    axes = style.inches(figure, LEFT, FOOT, style.WIDTH - LEFT - RIGHT, rows * LINE)
    axes.set_ylim(rows - 0.5, -0.5)
    place = 0.0
    for group in groups:
        _text(axes, place, 0.0, group.title, -LEFT + 0.08, bold=True)
        for line in group.lines:
            place += 1
            _line(axes, place, line, found=group.found)
        place += 1.5
    _finish(axes, unit, level)
    _legend(figure, any(line.random for group in groups for line in group.lines))
    return figure


def _line(axes: Axes, place: float, line: Line, *, found: bool) -> None:
    colour = style.PALETTE[1 if line.random else 0] if line.pooled else style.INK
    found = found and line.pooled and not line.random
    name = textwrap.shorten(line.name, 34, placeholder="…")
    _text(axes, place, 0.0, name, -LEFT + 0.24, bold=found)
    if line.n is not None:
        _text(axes, place, 0.0, str(line.n), -0.18, right=True)
    words = f"{fixed(line.estimate, 3)} ({interval(line.low, line.high, 3)})"
    _text(axes, place, 1.0, words, 0.14, bold=found)
    if not line.pooled:
        _text(axes, place, 1.0, f"{100 * line.weight:.0f}{SPACE}%", RIGHT - 0.1, right=True)
        axes.plot([line.low, line.high], [place, place], color=colour, lw=1.3, zorder=2)
        axes.plot(
            line.estimate, place, "s", color=colour, ms=3.2 + 7 * np.sqrt(line.weight) * 0.8, mew=0, zorder=3
        )
        return
    corners = [
        (line.low, place),
        (line.estimate, place - 0.3),
        (line.high, place),
        (line.estimate, place + 0.3),
    ]
    face = colour if found else "white"
    axes.add_patch(Polygon(corners, closed=True, facecolor=face, edgecolor=colour, lw=1.3, zorder=3))


def _text(
    axes: Axes,
    place: float,
    side: float,
    words: str,
    inches: float,
    *,
    bold: bool = False,
    right: bool = False,
    size: float = 8.5,
    color: str | None = None,
) -> None:
    """Words beside the axes, so many inches from its left (0) or right (1) edge."""
    axes.annotate(
        words,
        (side, place),
        xycoords=("axes fraction", "data"),
        xytext=(72 * inches, 0),
        textcoords="offset points",
        va="center",
        ha="right" if right else "left",
        fontsize=size,
        fontweight="bold" if bold else "normal",
        color=color,
        annotation_clip=False,
    )


def _finish(axes: Axes, unit: str, level: str) -> None:
    top = axes.get_ylim()[1] - 0.75
    for words, side, inches, right in (
        ("n", 0.0, -0.18, True),
        (f"estimate ({level} interval)", 1.0, 0.14, False),
        ("weight", 1.0, RIGHT - 0.1, True),
    ):
        _text(axes, top, side, words, inches, right=right, size=8, color=style.MUTED)
    axes.axvline(0, color=style.INK, lw=0.8, zorder=1)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0 - 0.05 * (high - low)), max(high, 0 + 0.05 * (high - low)))
    axes.set_xlabel(textwrap.fill(unit, 62))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=style.RULE, lw=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def _legend(figure: Figure, random: bool) -> None:
    handles = [
        Line2D([], [], color=style.INK, marker="s", lw=1.3, ms=6, label="a trial (size by weight)"),
        Line2D([], [], color=style.PALETTE[0], marker="D", lw=0, ms=6, label="common effect, p_fwe ≤ α"),
        Line2D([], [], color=style.PALETTE[0], marker="D", mfc="white", lw=0, ms=6, label="p_fwe > α"),
    ]
    if random:
        colour = style.PALETTE[1]
        handles.append(
            Line2D([], [], color=colour, marker="D", mfc="white", lw=0, ms=6, label="random effects")
        )
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.01, 0.0), ncol=len(handles))
