"""The registry of regions: one table with coordinates and sources, and the user's own regions."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import pandas as pd

from conn.errors import ConfigError
from conn.tables import MISSING, read_tsv

FAMILY = "MNI152"
"""Coordinates stated in no particular member of the MNI152 templates; usable with each of them."""


@dataclass(frozen=True)
class Shape:
    """A sphere (`radius`) or a box (`size`, full edge lengths) around `center`; all in mm."""

    center: tuple[float, float, float]
    radius: float | None = None
    size: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Roi:
    """A region: a union of shapes, or the voxels of an image.

    Attributes
    ----------
    label
        Letters and digits.
    space
        Template of coordinates or mask.
    shapes
        Empty when `mask` is given.
    mask
        Path of an image; voxels above zero, or equal to `value`.
    """

    label: str
    space: str
    shapes: tuple[Shape, ...] = ()
    mask: str | None = None
    value: int | None = None
    source: str = "configuration"
    status: str = "own"

    def fits(self, space: str) -> bool:
        """Whether images of template `space` may be used without a transform."""
        return self.space == space or (self.space == FAMILY and space.startswith(FAMILY))


@cache
def table() -> pd.DataFrame:
    """The registry, one row per shape, every cell as text."""
    with as_file(files("conn.rois") / "registry.tsv") as path:
        return read_tsv(path)


def _shape(row: Mapping[str, str]) -> Shape:
    center = (float(row["x"]), float(row["y"]), float(row["z"]))
    if row["kind"] == "box":
        x, y, z = (float(v) for v in row["size_mm"].split())
        return Shape(center, size=(x, y, z))
    return Shape(center, radius=float(row["radius_mm"]))


def _registered(label: str) -> Roi:
    rows = [{str(k): str(v) for k, v in r.items()} for r in table().to_dict("records") if r["label"] == label]
    first = rows[0]
    return Roi(
        label,
        first["space"],
        shapes=tuple(_shape(row) for row in rows),
        source=first["source"],
        status=first["status"],
    )


def expand(names: Sequence[str], custom: Sequence[str] = (), key: str = "rois.use") -> tuple[str, ...]:
    """Names to labels: a name without side stands for both sides.

    Parameters
    ----------
    names
        Names or labels of the registry, or of `custom`.
    custom
        Labels of the user's own regions.
    key
        Key of the configuration, for the message.

    Returns
    -------
    tuple of str
        Labels without repeats, in the order asked for.

    Raises
    ------
    ConfigError
        A name that nobody knows; the message offers the nearest.
    """
    known = table()
    labels: dict[str, None] = {}
    for name in names:
        if name in custom or (known["label"] == name).any():
            labels[name] = None
        elif (known["name"] == name).any():
            labels.update(dict.fromkeys(known.loc[known["name"] == name, "label"]))
        else:
            choices = sorted({*known["name"], *known["label"], *custom})
            plain = {choice.lower(): choice for choice in choices}
            near = [plain[c] for c in difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)]
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
            raise ConfigError(f"{key}: unknown region {name!r}; {hint}")
    return tuple(labels)


def regions(use: Sequence[str], custom: Mapping[str, Any]) -> tuple[Roi, ...]:
    """All regions of a study.

    Parameters
    ----------
    use
        Names from the registry.
    custom
        `rois.custom` of the configuration: label → object with center, radius_mm, mask, value, space.

    Returns
    -------
    tuple of Roi

    Raises
    ------
    ConfigError
        Unknown name, or an own region with the label of a registered one in use.
    """
    chosen = expand(use, tuple(custom))
    clash = [
        label for label in custom if (table()["label"] == label).any() or (table()["name"] == label).any()
    ]
    if clash:
        raise ConfigError(f"rois.custom.{clash[0]}: the registry has a region of that name; choose another")
    own = [
        Roi(
            label,
            roi.space,
            shapes=() if roi.center is None else (Shape(roi.center, radius=roi.radius_mm),),
            mask=roi.mask,
            value=roi.value,
        )
        for label, roi in custom.items()
    ]
    return (*(_registered(label) for label in chosen if label not in custom), *own)


def find(label: str, custom: Mapping[str, Any]) -> Roi:
    """One region by its label."""
    if label in custom:
        return regions((), {label: custom[label]})[0]
    return regions((label,), {})[0]


def listing() -> pd.DataFrame:
    """The registry for people: `name label side kind x y z radius_mm space source status`."""
    columns = ["name", "label", "side", "kind", "x", "y", "z", "radius_mm", "space", "source", "status"]
    return table()[columns].replace("", MISSING)
