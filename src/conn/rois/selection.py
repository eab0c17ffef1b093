"""What is chosen among the regions of a study: seeds, groups of seeds, the set of the partial correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conn.config.model import Rois
from conn.rois import registry

UNIQUE = "Unique"
"""Ends the label of a map that shows what a seed shares with a voxel beyond the other seeds of its group."""


@dataclass(frozen=True)
class Seed:
    """A seed with a map.

    Attributes
    ----------
    label
        As in file names; letters and digits.
    roi
        Its region.
    group
        Group that it was entered with; None for a seed by itself.
    others
        The other regions of its group.
    """

    label: str
    roi: str
    group: str | None = None
    others: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[str, ...]:
        """Its region, then the others of its group."""
        return (self.roi, *self.others)


def single(names: Sequence[str], custom: Sequence[str] = ()) -> tuple[Seed, ...]:
    """Seeds by themselves, from `connectivity.seeds`.

    Raises
    ------
    ConfigError
        See `conn.rois.registry.expand`.
    """
    return tuple(Seed(label, label) for label in registry.expand(names, custom, "connectivity.seeds"))


def unique(together: Mapping[str, Sequence[str]], custom: Sequence[str] = ()) -> tuple[Seed, ...]:
    """Seeds that are entered together, from `connectivity.together`, group by group.

    Raises
    ------
    ConfigError
        See `conn.rois.registry.expand`.
    """
    found = []
    for group, names in together.items():
        labels = registry.expand(names, custom, f"connectivity.together.{group}")
        for label in labels:
            others = tuple(other for other in labels if other != label)
            found.append(Seed(f"{label}{UNIQUE}", label, group, others))
    return tuple(found)


def seeds(
    names: Sequence[str], together: Mapping[str, Sequence[str]], custom: Sequence[str] = ()
) -> dict[str, Seed]:
    """All seeds of a study by the label of their map, in the order of the configuration.

    Parameters
    ----------
    names
        `connectivity.seeds`.
    together
        `connectivity.together`.
    custom
        Labels of the user's own regions.

    Raises
    ------
    ConfigError
        See `conn.rois.registry.expand`.
    """
    return {seed.label: seed for seed in (*single(names, custom), *unique(together, custom))}


def partial_set(names: Sequence[str], rois: Rois) -> tuple[str, ...]:
    """Regions of the partial correlation, in the order of all regions of the study.

    Parameters
    ----------
    names
        `connectivity.partial.rois`; empty for all regions.
    rois
        Settings.

    Raises
    ------
    ConfigError
        See `conn.rois.registry.expand`.
    """
    everything = tuple(roi.label for roi in registry.regions(rois))
    if not names:
        return everything
    chosen = registry.expand(names, registry.own_labels(rois), "connectivity.partial.rois")
    place = {label: i for i, label in enumerate(everything)}
    return tuple(sorted(chosen, key=lambda label: place.get(label, len(place))))
