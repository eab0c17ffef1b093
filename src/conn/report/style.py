"""One look for all figures, and the only place that writes them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from conn.files import atomic

WIDTH = 9.2
"""Width of a full figure in inches; the page shows 100 CSS pixels per inch, so 8 pt stays 8 pt."""

INK = "#1f2933"
MUTED = "#616e7c"
RULE = "#cbd2d9"
ACCENT = "#0b5a7a"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which people with colour-blindness can tell apart."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DIVERGING = "RdBu_r"
SEQUENTIAL = "cividis"

RC: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "text.color": INK,
        "text.parse_math": False,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "image.interpolation": "nearest",
        "svg.fonttype": "path",
        "svg.hashsalt": "conn",
    }
)


@dataclass(frozen=True)
class Picture:
    """A figure of the report, ready to be shown.

    Attributes
    ----------
    name
        File name without suffix.
    alt
        What a reader who cannot see it should know.
    caption
        What it shows: n, estimator, correction.
    media
        MIME type of the embedded bytes.
    data
        Embedded bytes.
    width
        Width on the page in CSS pixels.
    """

    name: str
    alt: str
    caption: str
    media: str
    data: bytes = field(repr=False)
    width: int


@contextmanager
def look() -> Iterator[None]:
    """Apply the style of the report to everything drawn inside."""
    with rc_context(rc=cast("Any", dict(RC))):
        yield


def new_figure(width: float = WIDTH, height: float = 3.0) -> Figure:
    """An empty figure, size in inches, outside of any global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner of the figure."""
    full_width, full_height = figure.get_size_inches()
    return figure.add_axes(
        (left / full_width, bottom / full_height, width / full_width, height / full_height)
    )


def save(
    folder: Path, name: str, figure: Figure, alt: str, caption: str, *, vector: bool = True, dpi: int = 170
) -> Picture:
    """Write a figure as SVG and PNG, without dates, and keep the one to be embedded.

    Parameters
    ----------
    folder
        Where figures go.
    name
        File name without suffix.
    figure
        The figure.
    alt, caption
        See `Picture`.
    vector
        Embed the SVG (line drawings); else the PNG (pictures).
    dpi
        Dots per inch of the PNG.

    Returns
    -------
    Picture
    """
    svg, png = io.BytesIO(), io.BytesIO()
    with look():
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, dpi=dpi)
        figure.savefig(
            png, format="png", metadata={"Software": None}, dpi=dpi, pil_kwargs={"compress_level": 4}
        )
    for suffix, stream in (("svg", svg), ("png", png)):
        with atomic(folder / f"{name}.{suffix}") as target:
            target.write(stream.getvalue())
    chosen, media = (svg, "image/svg+xml") if vector else (png, "image/png")
    return Picture(name, alt, caption, media, chosen.getvalue(), round(figure.get_size_inches()[0] * 100))
