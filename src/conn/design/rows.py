"""People become rows, or are left out with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.cohort import Column, Person
from conn.config import formula
from conn.design.phrases import cell_words, neither_words, subjects_words
from conn.design.plans import Plan, Weights
from conn.design.source import Source, precision_weights, signed
from conn.design.spec import RunWeights
from conn.errors import DesignError

FEWEST_ROWS = 3

Values = Mapping[str, float | str | None]
"""What the references of a model say about one person."""


@dataclass(frozen=True)
class Rows:
    """The people of a contrast, and the values of every reference of the model.

    Attributes
    ----------
    people
        One row each.
    dropped, not_asked_for
        As in `DesignContrast`.
    columns
        What each reference means, by name.
    covariates
        Names of the nuisance variables among `columns`; one reference is several where a row has several
        values.
    """

    people: tuple[Person, ...]
    dropped: tuple[tuple[str, str, str], ...]
    not_asked_for: frozenset[Person]
    columns: Mapping[str, Column]
    covariates: tuple[str, ...]

    def cells(self, reference: str) -> list[float | str]:
        """The value of a reference in each row."""
        return [self.columns[reference].by_person[person] for person in self.people]


def select(source: Source, plan: Plan) -> Rows:
    """Everybody of the cohort becomes a row or is left out with a reason."""
    columns, covariates = _references(source, plan)
    people, dropped, outside = [], [], set()
    for person in source.people:
        values = {name: column.by_person.get(person) for name, column in columns.items()}
        unwanted = _not_asked_for(source, plan, values)
        reason = unwanted or _why_lost(source, plan, values, person)
        if unwanted is not None:
            outside.add(person)
        if reason is None:
            people.append(person)
        else:
            dropped.append((*person, reason))
    return Rows(tuple(people), tuple(dropped), frozenset(outside), columns, covariates)


def _references(source: Source, plan: Plan) -> tuple[dict[str, Column], tuple[str, ...]]:
    """Every reference of a model by name, and the names of the covariates."""
    fields = dict.fromkeys(source.model.subset, "subset")
    fields |= dict.fromkeys(plan.covariates, "covariates")
    fields |= dict.fromkeys(source.model.strata, "strata")
    fields |= {factor.reference: factor.field for factor in plan.factors}
    if plan.predictor is not None:
        fields[plan.predictor] = "outcome" if plan.effect_type == "outcome" else "predictor"
    if plan.formula:
        fields |= dict.fromkeys(formula.names(plan.formula), "formula")
    columns = {name: source.column(name, field, plan) for name, field in fields.items()}
    _check_kinds(source, plan, columns)
    if plan.signed:
        columns = _by_period(plan, columns)
    spread = {name: _spread(source, plan, columns[name]) for name in plan.covariates}
    found: dict[str, Column] = {}
    for name, column in columns.items():
        found |= {one.reference: one for one in spread[name]} if name in spread else {name: column}
    return found, tuple(one.reference for several in spread.values() for one in several)


def _check_kinds(source: Source, plan: Plan, columns: Mapping[str, Column]) -> None:
    for name in source.model.strata:
        if columns[name].kind == "number":
            raise DesignError(f"{source.key}.strata: {name!r} is a number; strata are categories")
    if plan.predictor is not None and columns[plan.predictor].kind == "category":
        field, other = "predictor", "Use a two_sample or group_by_time design."
        if plan.effect_type == "outcome":
            field, other = "outcome", "Use a treatment_by_outcome design."
        raise DesignError(
            f"{source.key}.{field}: {plan.predictor!r} is a category; a slope needs a number. {other}"
        )


def _by_period(plan: Plan, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Differences that run from the first to the second period, as the data do."""
    (factor,) = plan.factors
    signs = _signs(plan, columns[factor.reference].by_person)
    return {name: signed(c, signs) if c.time_varying else c for name, c in columns.items()}


def _signs(plan: Plan, sequence: Mapping[Person, float | str]) -> dict[Person, float]:
    first, second = plan.levels
    sign = {first: 1.0, second: -1.0}
    return {person: sign[str(value)] for person, value in sequence.items() if value in sign}


def _spread(source: Source, plan: Plan, column: Column) -> list[Column]:
    """A covariate, or one for each value of a row when it varies over time."""
    if len(plan.variates) == 1 or not column.time_varying:
        return [column]
    return source.contrasts(column.reference, "covariates", plan)


def _not_asked_for(source: Source, plan: Plan, values: Values) -> str | None:
    """Why the model does not ask for a person, or None; a missing value leaves that open."""
    for name, wanted in source.model.subset.items():
        if values[name] is not None and cell_words(values[name]) not in wanted:
            return f"{name} is {cell_words(values[name])}, which is not in the subset"
    for factor in plan.factors:
        value = values[factor.reference]
        if value is not None and value not in factor.levels:
            return f"{factor.reference} is {value}, {neither_words(factor.levels)}"
    return None


def _why_lost(source: Source, plan: Plan, values: Values, person: Person) -> str | None:
    """Why a person whom the model asks for is no row, or None."""
    for name in source.model.subset:
        if values[name] is None:
            return f"{name} is missing"
    absent = [point for point in plan.points if not source.runs.get((person, point))]
    if absent:
        return f"no included run at {' and '.join(absent)}"
    for name, value in values.items():
        if value is None:
            return f"{name.split(' (', maxsplit=1)[0]} is missing"
    return None


def check_rows(source: Source, plan: Plan, rows: Rows) -> None:
    """Refuse empty cells and too few rows, with the reasons why people are left out."""
    reasons = _reasons(rows.dropped)
    why = f" Left out: {reasons}." if reasons else ""
    found = Counter(row_cells(plan, rows).tolist())
    for code, name in enumerate(cell_names(plan)):
        if found[code] < 2:
            cells = ", ".join(f"{level} {found[i]}" for i, level in enumerate(plan.levels))
            empty = "is empty" if found[code] == 0 else "has one subject, which has no variance"
            raise DesignError(f"{source.key}: the cell {name} {empty} (subjects: {cells}).{why}")
    if len(rows.people) < FEWEST_ROWS:
        raise DesignError(
            f"{source.key}: {len(rows.people)} subjects can be rows "
            f"({subjects_words(rows.people) or 'nobody'}); at least {FEWEST_ROWS} are needed.{why}"
        )


def cell_names(plan: Plan) -> list[str]:
    """Each cell with the names of its variables."""
    names = [""] if plan.factors else []
    for factor in plan.factors:
        here = [f"{factor.reference} = {level!r}" for level in factor.levels]
        names = [f"{name}, {one}".removeprefix(", ") for name in names for one in here]
    return names


def factor_codes(plan: Plan, rows: Rows) -> list[NDArray[np.int64]]:
    """Per factor the index of the level of each row."""
    return [
        np.array([factor.levels.index(str(v)) for v in rows.cells(factor.reference)], dtype=np.int64)
        for factor in plan.factors
    ]


def row_cells(plan: Plan, rows: Rows) -> NDArray[np.int64]:
    """Index of the cell of each row; zeros without factors."""
    codes = np.zeros(len(rows.people), dtype=np.int64)
    for factor, own in zip(plan.factors, factor_codes(plan, rows), strict=True):
        codes = codes * len(factor.levels) + own
    return codes


def _reasons(dropped: Iterable[tuple[str, str, str]]) -> str:
    counts = Counter(reason for *_, reason in dropped)
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(counts.items()))


def row_signs(plan: Plan, rows: Rows) -> NDArray[np.float64]:
    """What rows are multiplied by: -1 turns one round so that it is the first minus the second period.

    Where a product with the arm is tested it is the column of the arms, a half or minus a half.
    """
    if plan.times_arm:
        return np.where(row_cells(plan, rows) == 0, 0.5, -0.5)
    if not plan.signed:
        return np.ones(len(rows.people))
    return np.where(row_cells(plan, rows) == 0, 1.0, -1.0)


def run_weights(source: Source, person: Person, weights: Weights, sign: float = 1.0) -> RunWeights:
    """Weights of a person's runs from those of time points.

    Runs of a time point share its weight in proportion to df - 2, the precision of Fisher z. A time point of
    weight 0 has no runs.
    """
    found: RunWeights = {}
    for point, weight in weights.items():
        if weight == 0:
            continue
        shares = precision_weights(source.runs[(person, point)], source.df)
        found |= {run: sign * weight * share for run, share in shares.items()}
    return dict(sorted(found.items()))
