"""Who is in a clinical analysis: people with all that it asks for, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.cohort import Column, Person, resolve
from conn.config.model import Clinical
from conn.errors import ConfigError, DesignError
from conn.stages.features import Scans
from conn.tables import number

Floats = NDArray[np.float64]
Lost = tuple[str, str, str]
"""Data set, subject, and why the person is not there."""


@dataclass(frozen=True)
class Asked:
    """What people must have.

    Attributes
    ----------
    subset
        Only people whose variable has one of these values are asked for.
    points
        Time points with a scan.
    categories
        Variables that must be known: arm and strata.
    levels
        Of the arm, the first of `categories`; others are not asked for. Empty: no arm.
    numbers
        Scores and covariates that must be known.
    before, after
        What varies over time enters as its difference.
    optional
        Scores that are looked up, and that people may lack.
    """

    subset: Mapping[str, Sequence[str]]
    points: Sequence[str]
    categories: Sequence[str] = ()
    levels: Sequence[str] = ()
    numbers: Sequence[str] = ()
    before: str | None = None
    after: str | None = None
    optional: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Enrolled:
    """People of an analysis.

    Attributes
    ----------
    people
        Data set and subject, sorted.
    columns
        Every reference by its name.
    lost
        Those who are asked for and lack something.
    """

    people: tuple[Person, ...]
    columns: Mapping[str, Column]
    lost: tuple[Lost, ...]

    def text(self, name: str) -> NDArray[np.str_]:
        """A category of everybody, of shape (n,)."""
        return np.array([str(self.columns[name].by_person[person]) for person in self.people], dtype=str)

    def values(self, name: str) -> Floats:
        """A number of everybody, of shape (n,); NaN for those who lack it."""
        found = self.columns[name].by_person
        return np.array([float(found.get(person, np.nan)) for person in self.people])

    def having(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Who has all of some columns, of shape (n,)."""
        return np.array([all(p in self.columns[name].by_person for name in names) for p in self.people])

    def of(self, rows: NDArray[np.bool_]) -> Enrolled:
        """Some of the people."""
        kept = tuple(person for person, row in zip(self.people, rows, strict=True) if row)
        return Enrolled(kept, self.columns, self.lost)


def enrol(scans: Scans, clinical: Clinical, asked: Asked) -> Enrolled:
    """Find the people of an analysis.

    Parameters
    ----------
    scans
        Who was scanned when.
    clinical
        Kinds of variables and scales.
    asked
        What people must have.

    Returns
    -------
    Enrolled

    Raises
    ------
    ConfigError
        A reference means nothing; a category is a number.
    """
    names = dict.fromkeys([*asked.subset, *asked.categories, *asked.numbers, *asked.optional])
    columns = {
        name: resolve(
            name,
            clinical,
            scans.cohort,
            at=asked.before if asked.after is None else None,
            before=asked.before if asked.after is not None else None,
            after=asked.after,
            key=scans.name,
        )
        for name in names
    }
    for name in asked.categories:
        if columns[name].kind == "number":
            raise ConfigError(f"{scans.name}: {name!r} is a number; arms and strata are categories")
    people, lost = [], []
    for person in scans.people:
        if not _wanted(person, columns, asked):
            continue
        why = _lacking(person, columns, asked, scans)
        if why is None:
            people.append(person)
        else:
            lost.append((*person, why))
    return Enrolled(tuple(people), columns, tuple(lost))


def _wanted(person: Person, columns: Mapping[str, Column], asked: Asked) -> bool:
    """Whether the analysis asks for a person; a missing value leaves that open."""
    for name, levels in asked.subset.items():
        value = columns[name].by_person.get(person)
        if value is not None and _text(value) not in levels:
            return False
    if not asked.levels:
        return True
    arm = columns[asked.categories[0]].by_person.get(person)
    return arm is None or arm in asked.levels


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else number(value)


def _lacking(person: Person, columns: Mapping[str, Column], asked: Asked, scans: Scans) -> str | None:
    """Why a person who is asked for is not there, or None."""
    absent = [point for point in asked.points if not scans.runs.get((person, point))]
    if absent:
        return f"no included run at {' and '.join(absent)}"
    needed = dict.fromkeys([*asked.subset, *asked.categories, *asked.numbers])
    missing = [name for name in needed if columns[name].by_person.get(person) is None]
    return f"{' and '.join(missing)} missing" if missing else None


def covariates(enrolled: Enrolled, names: Sequence[str]) -> Floats:
    """Columns of covariates, of shape (n, q): numbers as they are, categories as all levels but the first.

    Raises
    ------
    DesignError
        A covariate is the same for everybody.
    """
    columns: list[Floats] = []
    for name in names:
        if enrolled.columns[name].kind == "number":
            own = [enrolled.values(name)]
        else:
            text = enrolled.text(name)
            own = [(text == level).astype(np.float64) for level in np.unique(text)[1:]]
        if not own or any(np.ptp(values) == 0 for values in own):
            raise DesignError(
                f"covariate {name!r} is the same for all {len(enrolled.people)} people; take it out"
            )
        columns += own
    return np.column_stack(columns) if columns else np.empty((len(enrolled.people), 0))
