"""Images of atlases: labels by id, probabilities by volume, and peaks of group maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from conn import images
from conn.errors import InputError
from conn.rois.labels import shown

Within = Callable[[NDArray[np.float64]], NDArray[np.bool_]]
"""Points of shape (n, 3) in mm → whether they are to be looked at."""

DENSE = 1 << 16
"""Ids below this are looked up in place; larger ones are numbered first."""


@dataclass(frozen=True, eq=False)
class LabelImage:
    """A label image in memory.

    Attributes
    ----------
    grid
        Its shape and affine.
    ids : ndarray of shape (n,)
        Ids that occur, 0 left out, ascending.
    values : ndarray of shape (nx, ny, nz)
        Place of each voxel's id in `ids`, from 1; 0 is the background.
    boxes
        Bounding box of each id.
    """

    grid: images.Grid
    ids: NDArray[np.int64]
    values: NDArray[np.int32]
    boxes: tuple[tuple[slice, ...], ...]


def volumes_of(header: images.Header) -> Iterator[NDArray[Any]]:
    """Volumes of an image, of shape (nx, ny, nz), one at a time; slope and intercept are applied."""
    everything = np.arange(int(np.prod(header.grid.shape)))
    for panel in images.panels(header, everything, 1):
        values = panel[0].copy()
        if (header.slope, header.intercept) != (1.0, 0.0):
            values = values * header.slope + header.intercept
        yield values.reshape(header.grid.shape, order="F")


def read_label_image(path: Path) -> LabelImage:
    """A label image with all its ids; read once per process.

    Raises
    ------
    InputError
        Not there, damaged, more than one volume, or numbers that are no ids.
    """
    state = path.stat() if path.is_file() else None
    return _label_image(path, (state.st_size, state.st_mtime_ns) if state else (0, 0))


@lru_cache(maxsize=4)
def _label_image(path: Path, seen: tuple[int, int]) -> LabelImage:
    header = images.read_header(path)
    if header.volumes != 1:
        raise InputError(
            f"{path.name}: has {header.volumes} volumes, so it holds probabilities (or networks) "
            "and no labels; use it with threshold or weights"
        )
    (values,) = volumes_of(header)
    ids = _ids(values, path)
    largest = int(ids[-1]) if ids.size else 0
    if largest < DENSE:
        place = np.zeros(largest + 1, np.int32)
        place[ids] = np.arange(1, ids.size + 1)
        numbered = place[values.astype(np.int64)]
    else:
        numbered = np.where(values > 0, np.searchsorted(ids, values.astype(np.int64)) + 1, 0).astype(np.int32)
    boxes = tuple(box for box in ndimage.find_objects(numbered) if box is not None)
    return LabelImage(header.grid, ids, numbered, boxes)


def _ids(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Ids of an image, 0 left out; refuses what cannot be ids."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise InputError(f"{path.name}: holds values that are not finite; the background of labels is 0")
        if (values != np.rint(values)).any():
            odd = float(values[values != np.rint(values)].ravel()[0])
            raise InputError(
                f"{path.name}: holds {odd:g}, which is no id: it looks like a probability map or a "
                "statistical map. A probability map belongs in rois.custom.LABEL.probability; a mask has "
                "whole numbers"
            )
    largest = int(values.max())
    if int(values.min()) < 0:
        raise InputError(f"{path.name}: holds the negative number {int(values.min())}; ids are positive")
    if largest < DENSE:
        found = np.flatnonzero(np.bincount(values.astype(np.int64).ravel(), minlength=1))
    else:
        found = np.unique(values).astype(np.int64)
    return found[found > 0].astype(np.int64)


def mask_of(path: Path, value: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """One label of a label image, cut out.

    Parameters
    ----------
    path
        The image.
    value
        The id.

    Returns
    -------
    mask : ndarray of shape (mx, my, mz), bool
        The box that holds the label.
    affine : ndarray of shape (4, 4)
        Voxel of the box to mm.

    Raises
    ------
    InputError
        No voxel has the id; see also `read_label_image`.
    """
    image = read_label_image(path)
    place = int(np.searchsorted(image.ids, value))
    if place == image.ids.size or image.ids[place] != value:
        raise InputError(
            f"{path.name} holds no voxel with the value {value}; it has {image.ids.size}: {shown(image.ids)}"
        )
    box = image.boxes[place]
    return image.values[box] == place + 1, _cut(image.grid.affine, box)


def _cut(affine: NDArray[np.float64], box: tuple[slice, ...]) -> NDArray[np.float64]:
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return moved


def unnamed(path: Path, labels: dict[int, str]) -> list[int]:
    """Ids of a label image that its table does not have."""
    return sorted({int(i) for i in read_label_image(path).ids} - set(labels))


def probability_of(path: Path, volume: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """One probability map, cut out; percent become shares.

    Parameters
    ----------
    path
        A 3-D or 4-D image.
    volume
        Number of the volume, from 0.

    Returns
    -------
    probability : ndarray of shape (mx, my, mz), float32
    affine : ndarray of shape (4, 4)
    """
    grid, found = _probabilities(path, (volume,))
    return _boxed(
        found[volume], grid, found[volume] > 0, path, f"volume {volume} holds no probability above 0"
    )


def most_probable(
    path: Path, volume: int, rivals: Sequence[int], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Where a region is at least so probable, and no rival is more so; of equal ones the first has it.

    Overlaps go to the most probable subdivision (Roy 2009, 10.1016/j.neuroimage.2008.11.030).

    Parameters
    ----------
    path
        A 3-D or 4-D image of probabilities.
    volume
        Number of the volume, from 0.
    rivals
        Other volumes.
    threshold
        From 0 to 1.

    Returns
    -------
    mask : ndarray of shape (mx, my, mz), bool
    affine : ndarray of shape (4, 4)
    """
    grid, found = _probabilities(path, tuple(sorted({volume, *rivals})))
    own = found[volume]
    inside = own >= np.float32(threshold)
    for rival in rivals:
        if rival != volume:
            inside &= (own >= found[rival]) if volume < rival else (own > found[rival])
    return _boxed(inside, grid, inside, path, f"volume {volume} is nowhere at p >= {threshold:g}")


def _boxed(
    values: NDArray[Any], grid: images.Grid, inside: NDArray[np.bool_], path: Path, empty: str
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    if not inside.any():
        raise InputError(f"{path.name}: {empty}")
    box = ndimage.find_objects(inside.astype(np.int8))[0]
    return values[box].copy(), _cut(grid.affine, box)


def _probabilities(path: Path, wanted: tuple[int, ...]) -> tuple[images.Grid, dict[int, NDArray[np.float32]]]:
    """Some volumes of an image of probabilities, as shares."""
    state = path.stat() if path.is_file() else None
    return _shares(path, wanted, (state.st_size, state.st_mtime_ns) if state else (0, 0))


@lru_cache(maxsize=4)
def _shares(
    path: Path, wanted: tuple[int, ...], seen: tuple[int, int]
) -> tuple[images.Grid, dict[int, NDArray[np.float32]]]:
    header = images.read_header(path)
    missing = [volume for volume in wanted if volume >= header.volumes]
    if missing:
        raise InputError(
            f"{path.name}: has {header.volumes} volumes, the first being 0; there is no volume {missing[0]}"
        )
    kept, largest = {}, 0.0
    for number, values in enumerate(volumes_of(header)):
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 100:
            raise InputError(
                f"{path.name}: volume {number} holds values from {low:g} to {high:g}; probabilities are "
                "from 0 to 1, or from 0 to 100 in percent"
            )
        largest = max(largest, high)
        if number in wanted:
            kept[number] = values.astype(np.float32)
        if len(kept) == len(wanted):
            break
    if largest > 1:
        kept = {number: values / np.float32(100) for number, values in kept.items()}
    return header.grid, kept


def peak_of(
    path: Path, within: Within | None, sign: Literal["both", "positive", "negative"] | str
) -> tuple[tuple[float, float, float], float]:
    """The peak of a statistical map.

    Parameters
    ----------
    path
        A 3-D image.
    within
        Where to look; None for everywhere.
    sign
        ``both`` for the largest absolute value.

    Returns
    -------
    place
        x, y, z of the voxel in mm; of equal values the first in storage.
    value
        What the map has there.

    Raises
    ------
    InputError
        Nothing with that sign in that place.
    """
    grid, values = images.read_volume(path)
    score = np.nan_to_num(values, nan=0.0)
    score = {"both": np.abs(score), "positive": score, "negative": -score}[sign]
    if within is not None:
        voxels = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
        score = np.where(within(voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]), score.ravel(), 0.0)
    best = int(np.argmax(score))
    if score.ravel()[best] <= 0:
        kind = "value" if sign == "both" else f"{sign} value"
        raise InputError(f"{path.name}: no {kind} {'in that place' if within is not None else 'anywhere'}")
    voxel = np.unravel_index(best, grid.shape)
    x, y, z = (float(v) for v in grid.affine[:3, :3] @ voxel + grid.affine[:3, 3])
    return (x, y, z), float(values[voxel])
