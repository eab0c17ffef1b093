"""People become rows, or are left out with a reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conn.cohort import Column, Person
from conn.design.phrases import cell_words, subjects_words
from conn.design.plans import Plan
from conn.design.source import Source
from conn.errors import DesignError

FEWEST_ROWS = 3


@dataclass(frozen=True)
class Rows:
    """The people of a contrast, and the values of every reference of the model."""

    people: tuple[Person, ...]
    dropped: tuple[tuple[str, str, str], ...]
    not_asked_for: frozenset[Person]
    columns: Mapping[str, Column]

    def cells(self, reference: str) -> list[float | str]:
        return [self.columns[reference].by_person[person] for person in self.people]


def select(source: Source, plan: Plan) -> Rows:
    columns = _references(source, plan)
    people, dropped, outside = [], [], set()
    for person in source.people:
        values = {name: column.by_person.get(person) for name, column in columns.items()}
        unwanted = _not_asked_for(source, values)
        reason = unwanted or _why_lost(source, plan, values, person)
        if unwanted is not None:
            outside.add(person)
        if reason is None:
            people.append(person)
        else:
            dropped.append((*person, reason))
    return Rows(tuple(people), tuple(dropped), frozenset(outside), columns)


def _references(source: Source, plan: Plan) -> dict[str, Column]:
    fields = dict.fromkeys(source.model.subset, "subset")
    fields |= dict.fromkeys(source.model.covariates, "covariates")
    fields |= dict.fromkeys(source.model.strata, "strata")
    if source.group is not None:
        fields[source.group] = "group"
    if source.predictor is not None:
        fields[source.predictor] = "predictor"
    columns = {name: source.column(name, field, plan) for name, field in fields.items()}
    for name in source.model.strata:
        if columns[name].kind == "number":
            raise DesignError(f"{source.key}.strata: {name!r} is a number; strata are categories")
    if source.predictor is not None and columns[source.predictor].kind == "category":
        raise DesignError(
            f"{source.key}.predictor: {source.predictor!r} is a category; a slope needs a number. "
            "Use a two_sample or group_by_time design."
        )
    return columns


Values = Mapping[str, float | str | None]
"""What the references of a model say about one person."""


def _not_asked_for(source: Source, values: Values) -> str | None:
    """Why the model does not ask for a person, or None; a missing value leaves that open."""
    for name, wanted in source.model.subset.items():
        if values[name] is not None and cell_words(values[name]) not in wanted:
            return f"{name} is {cell_words(values[name])}, which is not in the subset"
    group = source.group
    if group is not None and values[group] is not None and values[group] not in source.levels:
        return f"{group} is {values[group]}, neither {source.levels[0]} nor {source.levels[1]}"
    return None


def _why_lost(source: Source, plan: Plan, values: Values, person: Person) -> str | None:
    """Why a person whom the model asks for is no row, or None."""
    for name in source.model.subset:
        if values[name] is None:
            return f"{name} is missing"
    absent = [point for point in plan.weights if not source.runs.get((person, point))]
    if absent:
        return f"no included run at {' and '.join(absent)}"
    for name, value in values.items():
        if value is None:
            return f"{name} is missing"
    return None


def check_rows(source: Source, rows: Rows) -> None:
    counted = _reasons(rows.dropped)
    why = f" Left out: {counted}." if counted else ""
    if source.group is not None:
        found = Counter(rows.cells(source.group))
        for level in source.levels:
            if found[level] < 2:
                cells = ", ".join(f"{name} {found[name]}" for name in source.levels)
                empty = "is empty" if found[level] == 0 else "has one subject, which has no variance"
                raise DesignError(
                    f"{source.key}: the cell {source.group} = {level!r} {empty} (subjects: {cells}).{why}"
                )
    if len(rows.people) < FEWEST_ROWS:
        raise DesignError(
            f"{source.key}: {len(rows.people)} subjects can be rows ({subjects_words(rows.people) or 'nobody'}); "
            f"at least {FEWEST_ROWS} are needed.{why}"
        )


def _reasons(dropped: Iterable[tuple[str, str, str]]) -> str:
    counts = Counter(reason for *_, reason in dropped)
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items()))


def run_weights(source: Source, person: Person, plan: Plan) -> dict[str, float]:
    """Runs of a time point share its weight in proportion to df - 2, the precision of Fisher z."""
    weights: dict[str, float] = {}
    for point, weight in plan.weights.items():
        precision = {run: source.df[run] - 2 for run in source.runs[(person, point)]}
        total = math.fsum(precision.values())
        weights |= {run: weight * value / total for run, value in precision.items()}
    return dict(sorted(weights.items()))
