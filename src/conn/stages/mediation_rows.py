"""People of a mediation analysis: who takes part, who does not and why, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.mediation.trial import FEWEST, Trial, crossover_rows, make_crossover, make_trial
from conn.cohort import Column, Person, resolve
from conn.config.mediation import Mediation
from conn.config.model import Clinical
from conn.errors import ConfigError, DesignError
from conn.stages.enrolment import Lost
from conn.stages.features import Scans

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a mediation analysis.

    Attributes
    ----------
    people
        One row each: data set and subject.
    left_out
        Data set, subject and reason of everybody who was asked for and is no row.
    trial
        Arms, outcome, covariates.
    levels
        Level of each row.
    order
        Of a crossover: 1 where the treatment came first, else -1; None for arms.
    """

    people: tuple[Person, ...]
    left_out: tuple[Lost, ...]
    trial: Trial
    levels: tuple[str, ...]
    order: Floats | None

    def data(self, before: Floats, after: Floats) -> tuple[Floats, Floats]:
        """Mediator and its own covariate from connectivity at both time points, (n, n_features) each."""
        if self.order is None:
            return after, before
        return crossover_rows(self.order, after, before)


def rows_of(name: str, scans: Scans, settings: Mediation, clinical: Clinical) -> Rows:
    """Select people and make their trial.

    Parameters
    ----------
    name
        Of the analysis.
    scans
        Scans and cohort.
    settings
        The analysis.
    clinical
        What its references mean.

    Raises
    ------
    ConfigError
        A reference means nothing; a stratum is a number; nobody has a level or a value of the subset.
    DesignError
        Too few people, or columns that depend on each other; see `conn.clinic.mediation.trial.make_trial`.
    """
    columns, people, left_out = selected(name, scans, settings, clinical)
    try:
        trial, order = _trial(settings, columns, people)
    except DesignError as error:
        raise DesignError(f"mediation.{name}: {error}. {_left_out_words(left_out)}".strip()) from None
    levels = tuple(str(columns[settings.who].by_person[person]) for person in people)
    return Rows(tuple(people), tuple(left_out), trial, levels, order)


def selected(
    name: str, scans: Scans, settings: Mediation, clinical: Clinical
) -> tuple[dict[str, Column], list[Person], list[Lost]]:
    """What an analysis looks at of people, who takes part, and who is asked for and lacks something.

    Parameters
    ----------
    name, scans, settings, clinical
        See `rows_of`.

    Raises
    ------
    ConfigError
        As of `rows_of`.
    """
    columns = _columns(name, scans, settings, clinical)
    people, left_out = [], []
    for person in scans.people:
        values = {key: column.by_person.get(person) for key, column in columns.items()}
        if not _asked_for(settings, values):
            continue
        reason = _reason(settings, scans, values, person)
        if reason is None:
            people.append(person)
        else:
            left_out.append((*person, reason))
    return columns, people, left_out


def _columns(name: str, scans: Scans, settings: Mediation, clinical: Clinical) -> dict[str, Column]:
    fields = {
        settings.who: "sequence" if settings.crossover else "arm",
        **dict.fromkeys(settings.subset, "subset"),
        **dict.fromkeys(settings.strata, "strata"),
        **dict.fromkeys(settings.covariates, "covariates"),
        f"{settings.outcome}.{settings.before}": "outcome",
        f"{settings.outcome}.{settings.after}": "outcome",
    }
    timing: dict[str, Any] = {"at": settings.after}
    if settings.crossover:
        timing = {"before": settings.before, "after": settings.after}
    found = {}
    for reference, field in fields.items():
        key = f"mediation.{name}.{field}"
        found[reference] = resolve(reference, clinical, scans.cohort, key=key, **timing)
    for reference in settings.strata:
        if found[reference].kind == "number":
            raise ConfigError(f"mediation.{name}.strata: {reference!r} is a number; strata are categories")
    of_subset = [(f"subset.{reference}", reference, own) for reference, own in settings.subset.items()]
    for key, reference, wanted in [("levels", settings.who, settings.levels), *of_subset]:
        there = sorted({str(value) for value in found[reference].by_person.values()})
        for value in wanted:
            if str(value) not in there:
                raise ConfigError(
                    f"mediation.{name}.{key}: nobody has {value!r} as {reference}; known: {', '.join(there)}"
                )
    return found


def _asked_for(settings: Mediation, values: Mapping[str, float | str | None]) -> bool:
    """Whether the analysis is about a person, as far as is known."""
    if any(
        values[key] is not None and str(values[key]) not in wanted for key, wanted in settings.subset.items()
    ):
        return False
    return values[settings.who] is None or values[settings.who] in settings.levels


def _reason(
    settings: Mediation, scans: Scans, values: Mapping[str, float | str | None], person: Person
) -> str | None:
    """Why somebody is no row, or None."""
    absent = [p for p in (settings.before, settings.after) if not scans.runs.get((person, p))]
    if absent:
        return f"no included run at {' and '.join(absent)}"
    missing = [reference for reference, value in values.items() if value is None]
    return f"{missing[0]} is missing" if missing else None


def _left_out_words(left_out: list[Lost]) -> str:
    counts: dict[str, int] = {}
    for *_, reason in left_out:
        counts[reason] = counts.get(reason, 0) + 1
    words = ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items()))
    return f"Left out: {words}" if words else ""


def _trial(
    settings: Mediation, columns: Mapping[str, Column], people: list[Person]
) -> tuple[Trial, Floats | None]:
    def numbers(reference: str) -> Floats:
        return np.array([float(columns[reference].by_person[p]) for p in people], dtype=np.float64)

    first = np.array([columns[settings.who].by_person[p] == settings.levels[0] for p in people], dtype=bool)
    for level, n in zip(settings.levels, (int(first.sum()), int((~first).sum())), strict=True):
        if n < FEWEST:
            raise DesignError(
                f"{n} people of {level} have all that is asked for; mediation needs {FEWEST} of each level"
            )
    before, after = (numbers(f"{settings.outcome}.{p}") for p in (settings.before, settings.after))
    covariates = np.column_stack(
        [np.empty((len(people), 0)), *(_covariate(columns[c], people) for c in settings.covariates)]
    )
    labels = [" / ".join(str(columns[s].by_person[p]) for s in settings.strata) for p in people]
    strata = np.array(labels) if settings.strata else None
    if settings.crossover:
        order = np.where(first, 1.0, -1.0)
        return make_crossover(order, after - before, after + before, covariates, strata), order
    return make_trial(first.astype(np.float64), after, before, covariates, strata), None


def _covariate(column: Column, people: list[Person]) -> Floats:
    """A number, or a column for every level of a category but the first."""
    values = [column.by_person[person] for person in people]
    if column.kind == "number":
        return np.array(values, dtype=np.float64)[:, None]
    levels = sorted({str(value) for value in values})
    return np.array([[float(str(value) == level) for level in levels[1:]] for value in values]).reshape(
        len(people), len(levels) - 1
    )
