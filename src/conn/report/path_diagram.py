"""The drawing of a mediation model: three boxes, three arrows, and the same with roles exchanged."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from conn.report import style

HEIGHT = 2.6
_BOXES = {"cause": (0.0, 0.0), "carrier": (2.0, 1.62), "target": (4.0, 0.0)}
_WIDTH, _TALL = 1.42, 0.62
_LETTERS = 15
"""What fits into a box at the size of the other words; one word that is longer becomes smaller."""


@dataclass(frozen=True)
class Side:
    """One direction of the model.

    Attributes
    ----------
    title
        Above the drawing.
    cause, carrier, target
        What stands in the boxes.
    first, second, direct
        Words at the arrows cause → carrier, carrier → target, cause → target.
    through
        The effect through the carrier, below the drawing.
    strong
        Whether it is the model that was asked for.
    """

    title: str
    cause: str
    carrier: str
    target: str
    first: str
    second: str
    direct: str
    through: str
    strong: bool = True


def diagram(forward: Side, reverse: Side) -> Figure:
    """Both directions side by side, the reverse one in grey."""
    figure = style.new_figure(height=HEIGHT)
    for left, side in ((0.05, forward), (style.WIDTH / 2 + 0.1, reverse)):
        axes = style.inches(figure, left, 0.02, style.WIDTH / 2 - 0.15, HEIGHT - 0.04)
        axes.set_xlim(-0.85, 4.85)
        axes.set_ylim(-0.95, 2.55)
        axes.axis("off")
        _draw(axes, side)
    return figure


def _draw(axes: Axes, side: Side) -> None:
    colour = style.ACCENT if side.strong else style.MUTED
    words = style.INK if side.strong else style.MUTED
    axes.text(-0.85, 2.42, side.title, color=words, weight="bold", size=9, va="top")
    for key, (x, y) in _BOXES.items():
        _box(axes, x, y, getattr(side, key), colour, words)
    _arrow(axes, (0.3, 0.33), (1.25, 1.42), colour, 1.8)
    _arrow(axes, (2.75, 1.42), (3.7, 0.33), colour, 1.8)
    _arrow(axes, (0.75, 0.0), (3.25, 0.0), style.MUTED, 1.1)
    axes.text(0.62, 1.0, side.first, ha="right", va="center", color=words, size=8)
    axes.text(3.38, 1.0, side.second, ha="left", va="center", color=words, size=8)
    axes.text(2.0, 0.08, side.direct, ha="center", va="bottom", color=style.MUTED, size=8)
    axes.text(2.0, -0.62, side.through, ha="center", va="center", color=words, size=8.5, weight="bold")


def _box(axes: Axes, x: float, y: float, text: str, colour: str, words: str) -> None:
    low = (x - _WIDTH / 2, y - _TALL / 2)
    shape = FancyBboxPatch(low, _WIDTH, _TALL, boxstyle="round,pad=0.03", fc="white", ec=colour, lw=1.3)
    axes.add_patch(shape)
    lines = textwrap.wrap(text, _LETTERS, max_lines=3, placeholder=" …", break_long_words=False)
    size = 8 * min(1.0, _LETTERS / max(map(len, lines), default=1))
    axes.text(x, y, "\n".join(lines), ha="center", va="center", size=size, color=words)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, width: float
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, lw=width, color=colour, shrinkA=0, shrinkB=0
        )
    )
