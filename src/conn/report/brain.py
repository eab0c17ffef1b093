"""Maps on the template: slices as pictures, with coordinates, sides and a labelled colour bar.

The background is the T1 image bundled with nilearn, ICBM 2009a symmetric (MNI152NLin2009aSym,
10.1016/j.neuroimage.2010.07.033). It is a drawing ground only: nothing is measured on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy import ndimage

from conn.report import style
from conn.rois.selection import UNIQUE

TEMPLATE = "MNI152NLin2009aSym"
AXIAL = (-40, -24, -16, -8, 0, 8, 20, 34, 48)
"""Heights of axial slices in mm: brainstem and temporal pole to parietal cortex."""
STEP = 1.5
"""Size of a drawn pixel in mm."""
_X, _Y, _Z = (-78.0, 78.0), (-112.0, 78.0), (-70.0, 84.0)


@dataclass(frozen=True)
class Volume:
    """An image in memory.

    Attributes
    ----------
    data : ndarray of shape (x, y, z)
    affine : ndarray of shape (4, 4)
        Voxel to mm.
    """

    data: np.ndarray
    affine: np.ndarray


def read(path: Path) -> Volume:
    """Read a NIfTI image as float32, NaN kept."""
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj, np.float32), np.asarray(image.affine, float))


def mean_of(paths: Sequence[Path]) -> Volume:
    """Voxel-wise mean of images over those that hold a value; images on another grid are left out."""
    first = read(paths[0])
    total, number = np.zeros(first.data.shape, np.float64), np.zeros(first.data.shape, np.int32)
    for path in paths:
        data = read(path).data
        if data.shape == total.shape:
            valid = np.isfinite(data)
            total[valid] += data[valid]
            number += valid
    mean = np.full(total.shape, np.nan)
    np.divide(total, number, out=mean, where=number > 0)
    return Volume(mean.astype(np.float32), first.affine)


@cache
def template() -> Volume:
    """The drawing ground, brain only, values from 0 to 1."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    return Volume(np.asarray(image.dataobj, np.float32), np.asarray(image.affine, float))


def plane(volume: Volume, axis: int, at: float, order: Literal[0, 1] = 0) -> np.ndarray:
    """A slice on the drawing grid.

    Parameters
    ----------
    volume
        The image.
    axis
        0 for sagittal, 1 for coronal, 2 for axial.
    at
        Its coordinate in mm.
    order
        0 for the nearest voxel, 1 for linear interpolation.

    Returns
    -------
    ndarray of shape (rows, columns)
        Row 0 is the top of the picture; left of the picture is left of the brain (or back, when sagittal).
        NaN outside of the image.
    """
    return cut(volume, axis, at, *_axes_of(axis), order)


def points_of(axis: int, at: float, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Points of a slice in mm, of shape (3, n_up * n_across); the first row is the top of the picture."""
    rows, columns = np.meshgrid(up[::-1], across, indexing="ij")
    points = np.empty((3, rows.size))
    points[axis] = at
    first, second = [a for a in range(3) if a != axis]
    points[first], points[second] = columns.ravel(), rows.ravel()
    return points


def cut(
    volume: Volume, axis: int, at: float, across: np.ndarray, up: np.ndarray, order: Literal[0, 1] = 0
) -> np.ndarray:
    """A slice at places of one's own, in mm across and up the picture; otherwise as `plane`."""
    points = points_of(axis, at, across, up)
    inverse = np.linalg.inv(volume.affine)
    voxels = inverse[:3, :3] @ points + inverse[:3, 3:]
    values = ndimage.map_coordinates(
        volume.data, voxels, order=order, mode="constant", cval=np.nan, prefilter=False
    )
    return np.asarray(values, float).reshape(len(up), len(across))


def _axes_of(axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres across and up the picture."""
    x, y, z = (np.arange(low, high + STEP / 2, STEP) for low, high in (_X, _Y, _Z))
    return {0: (y, z), 1: (x, z), 2: (x, y)}[axis]


@cache
def _ground(axis: int, at: float) -> np.ndarray:
    """The template as RGB on the drawing grid, white outside of the head."""
    grey = np.nan_to_num(plane(template(), axis, at, order=1))
    shade = np.where(grey > 0.02, 0.30 + 0.62 * grey, 1.0)
    return np.repeat(shade[..., None], 3, axis=2)


@dataclass(frozen=True)
class Row:
    """One map of a mosaic.

    Attributes
    ----------
    name
        Written at its left.
    volume
        What is coloured.
    significant
        Mask image: voxels that carry an outline; None for none.
    note
        Small text under the name.
    """

    name: str
    volume: Volume
    significant: Volume | None = None
    note: str = ""


def blend(ground: np.ndarray, values: np.ndarray, full: float, limit: float) -> np.ndarray:
    """Colour over grey: opacity grows with the absolute value, and is complete from `full` on.

    Small effects stay visible instead of being cut off (Taylor 2023, 10.1016/j.neuroimage.2023.120138).

    Parameters
    ----------
    ground : ndarray of shape (rows, columns, 3)
    values : ndarray of shape (rows, columns)
        NaN is transparent.
    full
        Absolute value from which the colour is opaque.
    limit
        End of the colour scale.

    Returns
    -------
    ndarray of shape (rows, columns, 3)
    """
    import matplotlib as mpl

    filled = np.nan_to_num(values)
    colour = mpl.colormaps[style.DIVERGING](Normalize(-limit, limit)(filled))[..., :3]
    alpha = np.clip(np.abs(filled) / full, 0, 1)[..., None] ** 1.5
    return np.asarray(ground * (1 - alpha) + colour * alpha)


def mosaic(
    rows: Sequence[Row],
    label: str,
    limit: float,
    full: float,
    heights: Sequence[int] = AXIAL,
    *,
    signed: bool = True,
) -> Figure:
    """Axial slices of several maps, one row per map, on one colour scale; from 0 on when not `signed`."""
    left, right = 1.28, 0.78
    across, up = _axes_of(2)
    tile_width = (style.WIDTH - left - right) / len(heights)
    row_height = tile_width * len(up) / len(across) + 0.06
    head, foot = 0.42, 0.32
    height = row_height * len(rows) + head + foot
    figure = style.new_figure(height=height)
    for place, row in enumerate(rows):
        bottom = foot + (len(rows) - 1 - place) * row_height
        axes = style.inches(figure, left, bottom, style.WIDTH - left - right, row_height - 0.06)
        _draw_row(axes, row, heights, limit, full)
        _name(axes, row)
        if place == 0:
            _heights(axes, heights, len(across))
        if place == len(rows) - 1:
            _sides(axes, len(across))
    _bar(
        figure,
        (
            style.WIDTH - right + 0.12,
            height - head - min(height - head - foot, 2.2),
            0.13,
            min(height - head - foot, 2.2),
        ),
        limit,
        label,
        signed,
    )
    return figure


def _name(axes: Axes, row: Row) -> None:
    stem = row.name.removesuffix(UNIQUE)
    axes.annotate(
        row.name if stem == row.name else f"{stem}\n{UNIQUE}",
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-92, 4),
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        va="bottom",
    )
    axes.annotate(
        row.note,
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-92, 1),
        textcoords="offset points",
        fontsize=8,
        color=style.MUTED,
        va="top",
        linespacing=1.25,
    )


def _draw_row(axes: Axes, row: Row, heights: Sequence[int], limit: float, full: float) -> None:
    tiles = [blend(_ground(2, z), plane(row.volume, 2, z), full, limit) for z in heights]
    axes.imshow(np.clip(np.concatenate(tiles, axis=1), 0, 1), aspect="auto", interpolation="none")
    if row.significant is not None:
        mask = np.concatenate([np.nan_to_num(plane(row.significant, 2, z)) for z in heights], axis=1)
        _outline(axes, mask)
    axes.set_axis_off()


def _outline(axes: Axes, mask: np.ndarray) -> None:
    if mask.any():
        axes.contour(mask, levels=[0.5], colors="black", linewidths=1.0)


def _heights(axes: Axes, heights: Sequence[int], tile: int) -> None:
    top = axes.transData
    for place, z in enumerate(heights):
        text = f"z = {z}" if place == 0 else f"{z}"
        axes.annotate(
            text.replace("-", "\N{MINUS SIGN}"),
            ((place + 0.5) * tile, 0),
            xycoords=top,
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            annotation_clip=False,
        )


def _sides(axes: Axes, tile: int) -> None:
    bottom = axes.get_ylim()[0]
    for x, text in ((0.12 * tile, "L"), (0.88 * tile, "R")):
        axes.annotate(
            text,
            (x, bottom),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
            color=style.MUTED,
            annotation_clip=False,
        )


def _bar(
    figure: Figure, place: tuple[float, float, float, float], limit: float, label: str, signed: bool
) -> None:
    axes = style.inches(figure, *place)
    mappable = ScalarMappable(Normalize(-limit, limit), style.DIVERGING)
    bar = figure.colorbar(mappable, cax=axes, extend="both" if signed else "max", extendfrac=0.04)
    if not signed:
        bar.ax.set_ylim(0, limit)
    axes.set_title(label, fontsize=9, fontweight="normal", loc="left", pad=9)


@dataclass(frozen=True)
class Peak:
    """A place to look at in three planes.

    Attributes
    ----------
    row
        The map.
    title
        Written above.
    at
        x, y, z in mm.
    """

    row: Row
    title: str
    at: tuple[float, float, float]


def peaks(places: Sequence[Peak], label: str, limit: float, full: float, *, signed: bool = True) -> Figure:
    """Three planes through each of some peaks, two peaks side by side."""
    per_row = 2
    lines = -(-len(places) // per_row)
    scale = 0.0111 if len(places) > 1 else 0.0135
    widths = [len(_axes_of(axis)[0]) * scale for axis in (0, 1, 2)]
    tall = max(len(_axes_of(axis)[1]) for axis in (0, 1, 2)) * scale
    block = sum(widths) + 0.28
    line_height = tall + 0.62
    columns = min(per_row, len(places))
    width = 0.1 + columns * (block + 0.15) + 0.8
    figure = style.new_figure(width, lines * line_height + 0.1)
    for number, peak in enumerate(places):
        line, column = divmod(number, per_row)
        left = 0.1 + column * (block + 0.15)
        bottom = 0.1 + (lines - 1 - line) * line_height + 0.22
        _three_planes(figure, left, bottom, scale, peak, limit, full)
        full_width, full_height = figure.get_size_inches()
        figure.text(
            left / full_width, (bottom + tall + 0.16) / full_height, peak.title, fontsize=9, fontweight="bold"
        )
    _bar(
        figure, (width - 0.7, 0.1 + (lines - 1) * line_height + 0.25, 0.13, tall - 0.05), limit, label, signed
    )
    return figure


def _three_planes(
    figure: Figure, left: float, bottom: float, scale: float, peak: Peak, limit: float, full: float
) -> None:
    row = peak.row
    for axis in (0, 1, 2):
        across, up = _axes_of(axis)
        width, height = len(across) * scale, len(up) * scale
        axes = style.inches(figure, left, bottom, width, height)
        at = peak.at[axis]
        axes.imshow(
            np.clip(blend(_ground(axis, at), plane(row.volume, axis, at), full, limit), 0, 1), aspect="auto"
        )
        if row.significant is not None:
            _outline(axes, np.nan_to_num(plane(row.significant, axis, at)))
        first, second = [a for a in range(3) if a != axis]
        x, y = (peak.at[first] - across[0]) / STEP, (up[-1] - peak.at[second]) / STEP
        axes.axvline(x, color=style.PALETTE[2], lw=0.7, alpha=0.9)
        axes.axhline(y, color=style.PALETTE[2], lw=0.7, alpha=0.9)
        axes.set_axis_off()
        axes.annotate(
            f"{'xyz'[axis]} = {at:.0f}".replace("-", "\N{MINUS SIGN}"),
            (0.5, 0),
            xycoords="axes fraction",
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
        )
        if axis:
            _corners(axes)
        left += width + 0.14


def _corners(axes: Axes) -> None:
    for x, text in ((0.03, "L"), (0.97, "R")):
        axes.annotate(
            text, (x, 0.97), xycoords="axes fraction", ha="center", va="top", fontsize=8.5, color=style.MUTED
        )
