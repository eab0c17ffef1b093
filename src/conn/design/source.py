"""A model with the tables that it is compiled from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from conn.cohort import Column, Person, as_text, resolve
from conn.config.model import Clinical, Model
from conn.design.plans import Plan
from conn.errors import DesignError, InputError
from conn.tables import MISSING


@dataclass(frozen=True)
class Source:
    """A model with the tables that it is compiled from.

    Attributes
    ----------
    name, model, clinical
        The model's name, its settings, and what its references mean.
    cohort
        `cohort.tsv` as text.
    runs
        Keys of the included runs by person and time point.
    df
        Degrees of freedom by run.
    """

    name: str
    model: Model
    clinical: Clinical
    cohort: pd.DataFrame
    runs: Mapping[tuple[Person, str], tuple[str, ...]]
    df: Mapping[str, float]

    @property
    def key(self) -> str:
        """Where the model stands in the configuration."""
        return f"models.{self.name}"

    @property
    def people(self) -> list[Person]:
        """Everybody in the cohort, sorted."""
        return sorted(set(zip(self.cohort["dataset"], self.cohort["subject"], strict=True)))

    def column(self, reference: str, field: str, plan: Plan) -> Column:
        """What a reference of the model means, one value per person, at the time points of a plan."""
        timing = plan.timing
        at = timing.at
        if at is None and timing.before is None:
            at = plan.points[0]
        return resolve(
            reference,
            self.clinical,
            self.cohort,
            at=at,
            before=timing.before,
            after=timing.after,
            mean=timing.mean,
            key=f"{self.key}.{field}",
        )

    def contrasts(self, reference: str, field: str, plan: Plan) -> list[Column]:
        """A number that varies over more than two time points: one column for each contrast of them."""
        key = f"{self.key}.{field}"
        values = {
            point: resolve(reference, self.clinical, self.cohort, at=point, key=key).by_person
            for point in plan.points
        }
        people = set.intersection(*(set(found) for found in values.values()))
        return [
            Column(
                f"{reference} ({number})",
                {p: math.fsum(w * float(values[t][p]) for t, w in weights.items()) for p in people},
                "number",
                time_varying=True,
            )
            for number, weights in enumerate(plan.variates, start=1)
        ]


def signed(column: Column, signs: Mapping[Person, float]) -> Column:
    """A number of each person times a sign; people without a sign are absent."""
    values = {p: signs[p] * float(value) for p, value in column.by_person.items() if p in signs}
    return replace(column, by_person=values)


def runs_by_point(name: str, cohort: pd.DataFrame) -> dict[tuple[Person, str], tuple[str, ...]]:
    """Keys of the included runs by person and time point; nobody and no run may occur twice."""
    found: dict[tuple[Person, str], tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    cells = cohort[["dataset", "subject", "time_point", "runs"]].itertuples(index=False, name=None)
    for n, (dataset, subject, point, runs) in enumerate(cells, start=2):
        place = ((dataset, subject), point)
        if place in found:
            raise DesignError(
                f"models.{name}: sub-{subject} of {dataset} has two rows at time point {point!r} in the "
                f"cohort (row {n} is the second). Rows of a test must be different people: two sessions of "
                "a person are not independent. Give the sessions different time points, or list both under "
                "one label so that they are combined."
            )
        found[place] = () if runs == MISSING else tuple(runs.split(";"))
        for run in found[place]:
            here = f"sub-{subject} of {dataset} at {point}"
            if run in owner:
                raise DesignError(
                    f"models.{name}: run {run} is listed twice, for {owner[run]} and for {here}"
                )
            owner[run] = here
    return found


def run_df(cohort: pd.DataFrame, runs: pd.DataFrame) -> dict[str, float]:
    """Degrees of freedom of the runs that the cohort lists."""
    cells = as_text(runs[["run", "df", "included"]]).itertuples(index=False, name=None)
    known = {run: (df, included) for run, df, included in cells}
    found = {}
    for listed in cohort["runs"]:
        for run in () if listed == MISSING else listed.split(";"):
            df, included = known.get(run, (MISSING, "absent"))
            if included != "true":
                raise InputError(f"run {run} of the cohort is {included} in runs.tsv; make the cohort again")
            if df == MISSING or float(df) <= 2:
                raise InputError(f"run {run} has df {df}; a run needs more than 2 to be weighted")
            found[run] = float(df)
    return found


def precision_weights(runs: Sequence[str], df: Mapping[str, float]) -> dict[str, float]:
    """Shares of the runs of one time point, which sum to 1: in proportion to df - 2, the precision of z."""
    precision = {run: df[run] - 2 for run in runs}
    total = math.fsum(precision.values())
    return {run: value / total for run, value in precision.items()}
