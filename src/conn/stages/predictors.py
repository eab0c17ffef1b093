"""What a prediction knows of everybody in the cohort: the outcome, connectivity, clinical values, site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction.recipe import Kind
from conn.cohort import Column, Person, orders_of, resolve
from conn.config.model import Clinical
from conn.config.prediction import Prediction
from conn.config.times import Moment
from conn.errors import ConfigError
from conn.images import Grid
from conn.stages.features import Maps, Scans, edges_of, maps_of

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.str_]
NOT_IN_SUBSET, THIRD_CLASS = "not_in_subset", "third_class"
NOT_ASKED_FOR = frozenset({NOT_IN_SUBSET, THIRD_CLASS})
"""Reasons of people whom a prediction does not ask for; all others lack something."""

EVENTS = {"response": "responder", "remission": "remitted"}


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is predicted.

    Attributes
    ----------
    kind
        ``classifier`` or ``regression``.
    event
        The value that is 1; empty for a number.
    numbers
        ndarray of shape (n_people,): 0, 1 or a number, NaN where it is missing.
    aside
        Rows of people of a third class, whom nobody asks for.
    """

    kind: Kind
    event: str
    numbers: Floats
    aside: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Known:
    """What is known before the outcome, one row for everybody in the cohort.

    Attributes
    ----------
    imaging, predictors, removed
        ndarrays of shape (n_people, n): features, clinical predictors and covariates, NaN where missing.
    features, clinical, covariates
        Names of their columns.
    site, strata, groups
        Arrays of shape (n_people,): to harmonise, to permute within, to leave out; empty text where missing.
        None when not asked for.
    """

    imaging: Floats
    predictors: Floats
    removed: Floats
    features: tuple[str, ...]
    clinical: tuple[str, ...]
    covariates: tuple[str, ...]
    site: Labels | None
    strata: Labels | None
    groups: Labels | None

    def strata_of(self, rows: Any) -> Labels | None:
        """Strata of some people."""
        return None if self.strata is None else self.strata[rows]

    def groups_of(self, rows: Any) -> Labels | None:
        """Groups of some people that are left out in turn."""
        return None if self.groups is None else self.groups[rows]


def outcome_of(scans: Scans, settings: Prediction, clinical: Clinical, key: str) -> Outcome:
    """The outcome of everybody.

    Raises
    ------
    ConfigError
        A category without `event`, or an `event` that nobody has.
    """
    column = resolve(settings.outcome, clinical, scans.cohort, at=settings.at, key=f"{key}.outcome")
    found = [column.by_person.get(person) for person in scans.people]
    if column.kind == "number":
        if settings.event is not None:
            raise ConfigError(f"{key}.event: {settings.outcome} is a number and has no event; remove it")
        return Outcome("regression", "", _numbers(found))
    event = settings.event or EVENTS.get(settings.outcome)
    levels = sorted({str(value) for value in found if value is not None})
    for field, level in (("event", event), ("against", settings.against)):
        if level is None and field == "against":
            continue
        if level not in levels:
            raise ConfigError(
                f"{key}.{field}: {level!r} is no value of {settings.outcome}: {', '.join(levels)}"
            )
    values = [_class(value, str(event), settings.against) for value in found]
    aside = [row for row, value in enumerate(found) if value is not None and np.isnan(values[row])]
    return Outcome("classifier", str(event), np.array(values), frozenset(aside))


def _class(value: float | str | None, event: str, against: str | None) -> float:
    if value is None or (against is not None and value not in (event, against)):
        return float("nan")
    return float(value == event)


def _numbers(found: Sequence[float | str | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in found])


def known(
    scans: Scans,
    settings: Prediction,
    clinical: Clinical,
    edges: Mapping[str, Sequence[Sequence[str | int]]],
    key: str,
) -> Known:
    """Everything that is known before the outcome.

    Parameters
    ----------
    scans
        Of the study.
    settings, clinical
        Of the configuration.
    edges
        See `conn.stages.prediction.prediction`.
    key
        Where the prediction stands in the configuration.

    Raises
    ------
    ConfigError
        A reference means nothing, is not known at the time of the scan, or is the outcome.
    """
    return known_with(scans, settings, clinical, *_imaging(scans, settings, edges), key)


def known_with(
    scans: Scans,
    settings: Prediction,
    clinical: Clinical,
    imaging: Floats,
    features: tuple[str, ...],
    key: str,
) -> Known:
    """The same with imaging that is given.

    Parameters
    ----------
    scans, settings, clinical, key
        See `known`.
    imaging
        ndarray of shape (n_people, n_features); NaN for people without a scan.
    features
        Names of its columns.
    """
    asked = settings.predictors(clinical)
    _refuse_untimely(scans, settings, clinical, key)
    values, names = _columns(scans, settings, clinical, asked, f"{key}.clinical")
    removed, covariates = _columns(scans, settings, clinical, settings.remove, f"{key}.remove")
    within = (*settings.strata, *([settings.harmonise] if settings.harmonise else []))
    return Known(
        imaging,
        values,
        removed,
        features,
        names,
        covariates,
        _labels(scans, settings, clinical, [settings.harmonise] if settings.harmonise else [], key),
        _labels(scans, settings, clinical, list(dict.fromkeys(within)), key),
        _labels(scans, settings, clinical, [settings.leave_out] if settings.leave_out else [], key),
    )


def _imaging(
    scans: Scans, settings: Prediction, edges: Mapping[str, Sequence[Sequence[str | int]]]
) -> tuple[Floats, tuple[str, ...]]:
    everybody, at = scans.people, settings.at
    pairs = {name: [(str(a), str(b)) for a, b, *_ in listed] for name, listed in edges.items()}
    if settings.features == "networks":
        return _networks(scans, settings, edges)
    if settings.features == "edges":
        found = edges_of(scans, everybody, [at], pairs.get("", "all"), settings.edge_measure)
        return found.z[at], tuple(f"{a}-{b}" for a, b in found.labels)
    cubes = [_cubes(maps_of(scans, everybody, at, seed), seed, settings.parcel_mm) for seed in settings.seeds]
    names = tuple(name for _, labels in cubes for name in labels)
    return np.concatenate([values for values, _ in cubes], axis=1), names


def _networks(
    scans: Scans, settings: Prediction, edges: Mapping[str, Sequence[Sequence[str | int]]]
) -> tuple[Floats, tuple[str, ...]]:
    """Mean of sign × z over the edges of each network; without one of its edges a network has no value."""
    columns = []
    for listed in edges.values():
        pairs = [(str(a), str(b)) for a, b, *_ in listed]
        signs = np.array([int(edge[2]) if len(edge) == 3 else 1 for edge in listed])
        found = edges_of(scans, scans.people, [settings.at], pairs, settings.edge_measure)
        columns.append((found.z[settings.at] * signs).mean(axis=1))
    return np.stack(columns, axis=1), tuple(edges)


def _cubes(maps: Maps, seed: str, edge_mm: float) -> tuple[Floats, list[str]]:
    """Means of a map over cubes of voxels, named after their centre; no outcome is looked at."""
    cube, centre = cubes_of(maps.grid, maps.voxels, edge_mm)
    numbers, where, sizes = np.unique(cube, return_inverse=True, return_counts=True)
    values = np.zeros((len(maps.z), numbers.size))
    for row, z in enumerate(maps.z):
        values[row] = np.bincount(where.reshape(-1), weights=z, minlength=numbers.size) / sizes
    places = [centre(int(number)) for number in numbers]
    return values, [f"{seed}@{'_'.join(f'{x:.0f}' for x in place)}" for place in places]


def cubes_of(grid: Grid, voxels: NDArray[np.int64], edge_mm: float) -> tuple[NDArray[np.int64], Any]:
    """Number of the cube of each voxel, and a function from a number to its centre in mm.

    Parameters
    ----------
    grid
        Of the map.
    voxels
        Flat indices, first axis fastest.
    edge_mm
        Edge of a cube in mm, rounded to whole voxels.
    """
    edge = np.maximum(np.round(edge_mm / grid.voxel_mm).astype(int), 1)
    per_axis = -(-np.array(grid.shape) // edge)
    index = np.stack(np.unravel_index(voxels, grid.shape, order="F"))
    number = np.ravel_multi_index(tuple(index // edge[:, None]), tuple(per_axis), order="F")

    def centre(cube: int) -> Floats:
        corner = np.array(np.unravel_index(cube, tuple(per_axis), order="F")) * edge
        return np.asarray(grid.affine[:3, :3] @ (corner + (edge - 1) / 2) + grid.affine[:3, 3])

    return np.asarray(number, dtype=np.int64), centre


def lacks_baseline(settings: Prediction, known: Known) -> str:
    """A score after treatment, predicted without the score before: its scale; otherwise empty."""
    scale, _, what = settings.outcome.partition(".")
    if not what or what == settings.at or any(name.startswith(f"{scale}.") for name in known.clinical):
        return ""
    return scale


def _refuse_untimely(scans: Scans, settings: Prediction, clinical: Clinical, key: str) -> None:
    """What a model uses must be known when the scan is made, and must not be the outcome."""
    moment = Moment(settings.at, settings.outcome, clinical, orders_of(scans.cohort))
    wrong = next(moment.objections(settings.used(clinical), key), None)
    if wrong is not None:
        raise ConfigError(wrong)


def _columns(
    scans: Scans, settings: Prediction, clinical: Clinical, asked: Sequence[str], key: str
) -> tuple[Floats, tuple[str, ...]]:
    """Numbers as they are, categories as one column for each value but the first."""
    columns: list[Floats] = []
    names: list[str] = []
    for reference in asked:
        column = resolve(reference, clinical, scans.cohort, at=settings.at, key=key)
        found = [column.by_person.get(person) for person in scans.people]
        if column.kind == "number":
            columns.append(_numbers(found))
            names.append(reference)
            continue
        for level in _levels(column)[1:]:
            columns.append(np.array([np.nan if value is None else float(value == level) for value in found]))
            names.append(f"{reference}={level}")
    block = np.stack(columns, axis=1) if columns else np.zeros((len(scans.people), 0))
    return block, tuple(names)


def _levels(column: Column) -> list[str]:
    return sorted({str(value) for value in column.by_person.values()})


def _labels(
    scans: Scans, settings: Prediction, clinical: Clinical, asked: Sequence[str], key: str
) -> Labels | None:
    """One label of everybody from several categories; empty text where one of them is missing."""
    if not asked:
        return None
    found = [resolve(name, clinical, scans.cohort, at=settings.at, key=key).by_person for name in asked]
    return np.array(
        [
            "/".join(str(column[person]) for column in found) if all(person in c for c in found) else ""
            for person in scans.people
        ]
    )


def outside_of(scans: Scans, settings: Prediction, clinical: Clinical, key: str) -> list[str]:
    """Why each person is not in the subset that was asked for; empty text for those who are.

    Raises
    ------
    ConfigError
        A value that nobody has.
    """
    columns = {}
    for name, values in settings.subset.items():
        column = resolve(name, clinical, scans.cohort, at=settings.at, key=f"{key}.subset")
        there = _levels(column)
        for value in values:
            if value not in there:
                raise ConfigError(f"{key}.subset.{name}: nobody has {value!r}; known: {', '.join(there)}")
        columns[name] = column
    return [_outside(person, settings, columns) for person in scans.people]


def _outside(person: Person, settings: Prediction, columns: Mapping[str, Column]) -> str:
    found = {name: column.by_person.get(person) for name, column in columns.items()}
    if any(value is not None and value not in settings.subset[name] for name, value in found.items()):
        return NOT_IN_SUBSET
    return "subset_unknown" if any(value is None for value in found.values()) else ""
