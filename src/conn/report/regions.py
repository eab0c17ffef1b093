"""Regions in an order that an anatomist would choose, and their edges' names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from conn.rois import registry

GROUPS = (
    "Cingulate",
    "Cortex",
    "Amygdala",
    "Hippocampus",
    "Striatum",
    "Thalamus",
    "Brainstem",
    "CSF",
)
"""Anatomical groups of the registry, in the order of figures; everything else is one's own region."""

OWN = "Own regions"


def group_of(label: str) -> str:
    """The anatomical group of a region."""
    return _groups().get(label, OWN)


@cache
def _groups() -> dict[str, str]:
    table = registry.table()
    return dict(zip(table["label"], table["group"], strict=True))


def ordered(labels: Iterable[str]) -> list[str]:
    """Labels without repeats, group by group; in a group as the registry has them, others as given."""
    unique = list(dict.fromkeys(labels))
    place = {name: i for i, name in enumerate([*GROUPS, OWN])}
    known = {label: i for i, label in enumerate(dict.fromkeys(registry.table()["label"]))}
    return sorted(unique, key=lambda label: (place[group_of(label)], known.get(label, len(known))))


def groups_of(labels: Sequence[str]) -> list[str]:
    """The group of each label."""
    return [group_of(label) for label in labels]


def edge(a: str, b: str) -> str:
    """The name of an edge."""
    return f"{a} \N{EN DASH} {b}"
