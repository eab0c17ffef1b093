"""Regions on the grid of an image: reads what defines them, and the transform between their templates."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from conn import images
from conn.config.model import Rois, Transform
from conn.errors import InputError
from conn.rois import atlases, placement, sources, transforms
from conn.rois.placement import Field, Placed, Sampled, Shapes, Warp
from conn.rois.registry import ImageRegion, Roi
from conn.rois.shapes import Shape


def field_of(roi: Roi, folder: Path) -> Field:
    """A region as a function of place; its image is read.

    Parameters
    ----------
    roi
        The region.
    folder
        Folder that its image is relative to.

    Raises
    ------
    InputError
        The image is missing, damaged, or holds nothing of the region.
    """
    if roi.image is None:
        return Shapes(roi.shapes)
    path = sources.locate(roi.image.path, folder)
    state = path.stat() if path.is_file() else None
    seen = (state.st_size, state.st_mtime_ns) if state else (0, 0)
    try:
        return _of_image(roi.image, path, seen)
    except InputError as error:
        raise InputError(f"{roi.key}: {error}") from None


@lru_cache(maxsize=512)
def _of_image(image: ImageRegion, path: Path, seen: tuple[int, int]) -> Field:
    """What an image defines; `seen` is its size and time, so that another file under its name is read."""
    if image.kind == "peak":
        center, _ = atlases.peak_of(path, _inside(image.within), image.sign)
        return Shapes((Shape(center, radius=image.radius),))
    if image.kind == "mask":
        grid, values = images.read_volume(path)
        if not (values > 0).any():
            raise InputError(f"{image.path} is empty")
        return Sampled(values > 0, grid.affine)
    value = image.value or 0
    if image.kind == "label":
        return Sampled(*atlases.mask_of(path, value))
    if image.threshold is None:
        return Sampled(*atlases.probability_of(path, value))
    return Sampled(*atlases.most_probable(path, value, image.rivals, image.threshold))


def _inside(shape: Shape | None) -> atlases.Within | None:
    if shape is None:
        return None
    return lambda points: np.asarray(shape.distance(points) <= 0)


def transform_of(roi: Roi, space: str, rois: Rois) -> Transform | None:
    """The configured transform that leads from images in `space` to a region; None when there is none."""
    found = [one for one in rois.transforms if (one.regions, one.images) == (roi.space, space)]
    return found[0] if found and roi.space != space else None


def reachable(roi: Roi, space: str, rois: Rois) -> bool:
    """Whether a region may be used on images in `space`: one template, one family, or a transform."""
    return roi.fits(space) or transform_of(roi, space, rois) is not None


def place(roi: Roi, grid: images.Grid, space: str, rois: Rois, folder: Path) -> Placed:
    """Voxels of a grid that belong to a region.

    Parameters
    ----------
    roi
        The region.
    grid
        Of the images.
    space
        Template of the images.
    rois
        Settings: weighting, transforms.
    folder
        Folder that paths of the settings are relative to.

    Raises
    ------
    InputError
        An image or a transform is missing or damaged.
    """
    warp: Warp | None = None
    chosen = transform_of(roi, space, rois)
    if chosen is not None:
        warp = transforms.load_transform(folder / chosen.file)
    field = field_of(roi, folder)
    return placement.place(field, grid.shape, grid.affine, rois.weighting, warp)
