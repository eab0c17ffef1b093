"""Regions by name: the registry with coordinates and sources, and the user's own regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from conn.config.model import Atlas, CustomRoi, Rois, RoiShape
from conn.errors import ConfigError
from conn.rois import networks
from conn.rois.data import nearest_names, table
from conn.rois.shapes import Shape
from conn.tables import MISSING

__all__ = [
    "Roi",
    "bound",
    "expand",
    "family_of",
    "find",
    "listing",
    "nearest_names",
    "own_labels",
    "regions",
    "registered",
    "table",
]

FAMILY = "MNI152"
"""Coordinates stated in no particular member of the MNI152 templates; usable with each of them."""

OWN = "own"
"""Status and anatomical group of the user's own regions."""

SELECTED = "selected"
"""Status of a region that was placed by a result: testing it on the same data would be circular."""

FAMILIES = (
    ("amygdalaLB", "amygdalaCM", "amygdalaSF"),
    ("sgACC", "pgACC", "dACC"),
)
"""Names of regions next to each other that a study wants to tell apart."""


@dataclass(frozen=True)
class ImageRegion:
    """A region that an image defines.

    Attributes
    ----------
    path
        The image, as in the configuration.
    kind
        ``mask``: above zero. ``label``: equal to `value`. ``probability``: at least `threshold`, or weighted.
        ``peak``: a sphere around the peak of a map.
    value
        Id of a label; number of a volume, None for a 3-D probability map.
    threshold
        Of a probability; None to weight by it.
    rivals
        Other volumes of the same image: where one of them is more probable, the region is not.
    within, sign
        Of a peak: where it is looked for, and its sign.
    radius
        Of the sphere around a peak, in mm.
    """

    path: str
    kind: str
    value: int | None = None
    threshold: float | None = None
    rivals: tuple[int, ...] = ()
    within: Shape | None = None
    sign: str = "both"
    radius: float | None = None

    def __str__(self) -> str:
        which = "" if self.value is None else f" {self.value}"
        limit = "" if self.threshold is None else f" at p >= {self.threshold:g}"
        weighted = " (weights)" if self.kind == "probability" and self.threshold is None else ""
        if self.kind == "peak":
            return f"sphere {self.radius:g} mm around the peak of {self.path}"
        return f"{self.kind}{which} of {self.path}{limit}{weighted}"


@dataclass(frozen=True)
class Roi:
    """A region: a union of shapes, or what an image defines.

    Attributes
    ----------
    label
        Letters and digits.
    space
        Template of coordinates or image.
    shapes
        Empty when `image` is given.
    image
        What defines it, when that is an image.
    source
        DOI, or words.
    status
        ``read``, ``computed``, ``recalled`` or ``approximation`` in the registry; ``own``; ``selected``.
    side
        ``L``, ``R``, ``M`` (midline), or n/a.
    group
        Anatomical group; ``own`` for the user's.
    remark
        What is to be known about it.
    key
        Where the configuration names it, for messages.
    """

    label: str
    space: str
    shapes: tuple[Shape, ...] = ()
    image: ImageRegion | None = None
    source: str = "configuration"
    status: str = OWN
    side: str = MISSING
    group: str = OWN
    remark: str = MISSING
    key: str = ""

    def fits(self, space: str) -> bool:
        """Whether images of template `space` may be used without a transform."""
        return self.space == space or (self.space == FAMILY and space.startswith(FAMILY))

    @property
    def kind(self) -> str:
        """``sphere``, ``box``, ``union``, ``mask``, ``label``, ``probability`` or ``peak``."""
        if self.image is not None:
            return self.image.kind
        if len(self.shapes) > 1:
            return "union"
        return "sphere" if self.shapes[0].size is None else "box"

    @property
    def definition(self) -> str:
        """The region in words."""
        return str(self.image) if self.image is not None else "; ".join(map(str, self.shapes))


def _shape(row: Mapping[str, str]) -> Shape:
    center = (float(row["x"]), float(row["y"]), float(row["z"]))
    if row["size_mm"] != MISSING:
        x, y, z = (float(v) for v in row["size_mm"].split())
        return Shape(center, size=(x, y, z))
    return Shape(center, radius=float(row["radius_mm"]))


def registered(label: str) -> Roi:
    """A region of the registry by its label."""
    known = table()
    rows = [{str(k): str(v) for k, v in r.items()} for r in known[known["label"] == label].to_dict("records")]
    first = rows[0]
    return Roi(
        label,
        first["space"],
        shapes=tuple(_shape(row) for row in rows),
        source=first["source"],
        status=first["status"],
        side=first["side"],
        group=first["group"],
        remark=first["remark"],
        key="rois.use",
    )


def expand(names: Sequence[str], own: Sequence[str] = (), key: str = "rois.use") -> tuple[str, ...]:
    """Names to labels: a name without side stands for both sides, a network for all its regions.

    Parameters
    ----------
    names
        Names or labels of the registry, of networks, or of `own`.
    own
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
        if name in own or (known["label"] == name).any():
            labels[name] = None
        elif (known["name"] == name).any():
            labels.update(dict.fromkeys(known.loc[known["name"] == name, "label"]))
        elif name in networks.names():
            labels.update(dict.fromkeys(expand(networks.regions(name), own, key)))
        else:
            choices = sorted({*known["name"], *known["label"], *networks.names(), *own})
            raise ConfigError(f"{key}: unknown region {name!r}; {nearest_names(name, choices)}")
    return tuple(labels)


def own_labels(rois: Rois) -> tuple[str, ...]:
    """Labels of the user's own regions, from `rois.custom` and `rois.atlases`.

    Parameters
    ----------
    rois
        Settings, with ids in the place of names of atlases (see `conn.rois.binding`).
    """
    return (*rois.custom, *(label for atlas in rois.atlases.values() for label in bound(atlas)))


def bound(atlas: Atlas) -> dict[str, int]:
    """Label → id of the regions of an atlas whose names have been looked up."""
    if not isinstance(atlas.regions, dict):
        return {}
    return {label: value for label, value in atlas.regions.items() if isinstance(value, int)}


def regions(rois: Rois) -> tuple[Roi, ...]:
    """All regions of a study: those of the registry, then the user's own.

    Parameters
    ----------
    rois
        Settings.

    Returns
    -------
    tuple of Roi
        An own region that replaces a registered one takes its place when that is in use.

    Raises
    ------
    ConfigError
        Unknown name, one label twice, or an own region with the name of a registered one.
    """
    mine = {roi.label: roi for roi in _own(rois)}
    chosen = expand(rois.use, tuple(mine))
    found = {label: mine[label] if label in mine else registered(label) for label in chosen}
    return tuple((found | mine).values())


def find(label: str, rois: Rois) -> Roi:
    """One region by its label."""
    mine = {roi.label: roi for roi in _own(rois)}
    return mine[label] if label in mine else registered(expand((label,))[0])


def _own(rois: Rois) -> list[Roi]:
    made: dict[str, Roi] = {}
    for roi, replace in (*_customs(rois), *_of_atlases(rois)):
        if roi.label in made:
            raise ConfigError(f"{roi.key}: {made[roi.label].key} has the same label; rename one of them")
        made[roi.label] = _checked(roi, replace=replace)
    return list(made.values())


def _checked(roi: Roi, *, replace: bool) -> Roi:
    known = table()
    if replace and (known["label"] == roi.label).any():
        old = registered(roi.label)
        return Roi(**{**vars(roi), "side": old.side, "group": old.group, "remark": "replaces the registry's"})
    taken = (known["label"] == roi.label).any() or (known["name"] == roi.label).any()
    if taken or roi.label in networks.names():
        what = "a network" if roi.label in networks.names() else "a region"
        hint = "; or say replace: true to put it in that one's place" if taken else ""
        raise ConfigError(f"{roi.key}: the registry has {what} of that name; choose another{hint}")
    return roi


def _customs(rois: Rois) -> Iterator[tuple[Roi, bool]]:
    for label, one in rois.custom.items():
        made = Roi(
            label,
            one.space,
            shapes=_shapes(one),
            image=_image(one),
            source=one.source or "configuration",
            status=SELECTED if one.peak is not None else OWN,
            key=f"rois.custom.{label}",
        )
        yield made, one.replace


def _shapes(one: CustomRoi) -> tuple[Shape, ...]:
    if one.center is not None:
        return (Shape(one.center, one.radius_mm, one.size_mm),)
    return tuple(_one_shape(part) for part in one.union)


def _one_shape(part: RoiShape) -> Shape:
    return Shape(part.center, part.radius_mm, part.size_mm)


def _image(one: CustomRoi) -> ImageRegion | None:
    if one.mask is not None:
        return ImageRegion(one.mask, "mask" if one.value is None else "label", one.value)
    if one.probability is not None:
        return ImageRegion(one.probability, "probability", one.volume, one.threshold)
    if one.peak is not None:
        within = None if one.within is None else _one_shape(one.within)
        return ImageRegion(one.peak, "peak", within=within, sign=one.sign, radius=one.radius_mm)
    return None


def _of_atlases(rois: Rois) -> Iterator[tuple[Roi, bool]]:
    for name, atlas in rois.atlases.items():
        ids = bound(atlas)
        graded = atlas.threshold is not None or atlas.weights
        for label, value in ids.items():
            rivals = tuple(v for v in ids.values() if v != value) if atlas.threshold is not None else ()
            kind = "probability" if graded else "label"
            made = Roi(
                label,
                atlas.space or MISSING,
                image=ImageRegion(atlas.image, kind, value, atlas.threshold, rivals),
                source=atlas.source or f"atlas {name}",
                key=f"rois.atlases.{name}.{label}",
            )
            yield made, atlas.replace


def listing(*, more: bool = False) -> pd.DataFrame:
    """The registry for people: `name label side kind x y z radius_mm space source status`.

    Parameters
    ----------
    more
        Add `group size_mm alternatives remark`.
    """
    columns = ["name", "label", "side", "kind", "x", "y", "z", "radius_mm", "space", "source", "status"]
    columns += ["group", "size_mm", "alternatives", "remark"] if more else []
    return table()[columns].replace("", MISSING)


def family_of(roi: Roi) -> str:
    """Name of the family of a region: its first member and the side; an empty text for regions of none."""
    known = table()
    name = next(iter(known.loc[known["label"] == roi.label, "name"]), "")
    first = next((members[0] for members in FAMILIES if name in members), "")
    return f"{first}{roi.side}" if first else ""
