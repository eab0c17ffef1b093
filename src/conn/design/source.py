"""A model with the tables that it is compiled from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from conn.cohort import Column, Person, as_text, resolve
from conn.config.model import Clinical, GroupByTime, Model, Regression, TwoSample
from conn.design.plans import Plan
from conn.errors import DesignError, InputError
from conn.tables import MISSING


@dataclass(frozen=True)
class Source:
    """A model with the tables that it is compiled from."""

    name: str
    model: Model
    clinical: Clinical
    cohort: pd.DataFrame
    runs: Mapping[tuple[Person, str], tuple[str, ...]]
    df: Mapping[str, float]

    @property
    def key(self) -> str:
        return f"models.{self.name}"

    @property
    def people(self) -> list[Person]:
        return sorted(set(zip(self.cohort["dataset"], self.cohort["subject"], strict=True)))

    @property
    def group(self) -> str | None:
        return self.model.group if isinstance(self.model, TwoSample | GroupByTime) else None

    @property
    def levels(self) -> tuple[str, ...]:
        return self.model.levels if isinstance(self.model, TwoSample | GroupByTime) else ()

    @property
    def predictor(self) -> str | None:
        return self.model.predictor if isinstance(self.model, Regression) else None

    def column(self, reference: str, field: str, plan: Plan) -> Column:
        return resolve(
            reference,
            self.clinical,
            self.cohort,
            at=plan.at,
            before=plan.before,
            after=plan.after,
            mean=plan.mean,
            key=f"{self.key}.{field}",
        )


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
