"""The design of one contrast, compiled for the people of each trial by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from conn.cohort import Person, as_text, natural, resolve
from conn.combination import choose
from conn.config.contrasts import chosen_contrasts
from conn.config.model import Clinical, CombineRuns, Contrast, Inference, Model
from conn.design.companions import complete_plan
from conn.design.compiler import compile_model
from conn.design.rows import Rows, select
from conn.design.source import Source, run_df, runs_by_point
from conn.design.spec import Design, DesignContrast
from conn.errors import ConfigError, DesignError
from conn.tables import MISSING


@dataclass(frozen=True, eq=False)
class Trials:
    """Who is in which trial.

    Attributes
    ----------
    by
        What tells trials apart.
    people
        People of each trial, in the order that trials are shown.
    homeless
        People of whom the trial is not known, or who are in none that is asked for, each with a reason.
    """

    by: str
    people: dict[str, frozenset[Person]]
    homeless: tuple[tuple[str, str, str], ...]

    @property
    def unplaced(self) -> tuple[tuple[str, str, str], ...]:
        """Of `homeless`, the people of whom nobody knows where they belong."""
        return tuple(one for one in self.homeless if one[2] == _unknown(self.by))

    def cohort(self, trial: str, cohort: pd.DataFrame) -> pd.DataFrame:
        """Rows of a cohort that belong to a trial."""
        own = self.people[trial]
        rows = [person in own for person in zip(cohort["dataset"], cohort["subject"], strict=True)]
        return cohort[np.array(rows, dtype=bool)].reset_index(drop=True)


def _unknown(by: str) -> str:
    """Why somebody without a value is in no trial."""
    return f"{by} is missing"


def trials_of(
    by: str,
    wanted: Sequence[str],
    cohort: pd.DataFrame,
    clinical: Clinical,
    *,
    key: str,
    order: Sequence[str] = (),
) -> Trials:
    """Tell trials apart.

    Parameters
    ----------
    by
        ``dataset``, or a category.
    wanted
        The trials; empty for all that there are.
    cohort
        `cohort.tsv`.
    clinical
        What `by` means.
    key
        Where it stands in the configuration, for errors.
    order
        Trials that come first when none are named: the data sets as configured.

    Returns
    -------
    Trials

    Raises
    ------
    ConfigError
        `by` means nothing.
    DesignError
        It is a number; a trial that is named has nobody; or there is one trial alone.
    """
    table = as_text(cohort)
    column = resolve(by, clinical, table, key=f"{key}.by")
    if column.kind == "number":
        raise DesignError(
            f"{key}.by: {by!r} is a number. Declare kind: category under clinical.variables.{by}, or name "
            "another variable."
        )
    where = {person: str(value) for person, value in column.by_person.items()}
    found = sorted(set(where.values()), key=natural)
    found = [one for one in order if one in found] + [one for one in found if one not in order]
    absent = [one for one in wanted if one not in found]
    if absent:
        raise DesignError(f"{key}.trials: nobody has {by} = {absent[0]!r}; there are {', '.join(found)}")
    names = list(wanted) or found
    if len(names) < 2:
        raise DesignError(
            f"{key}.by: everybody has {by} = {', '.join(names) or MISSING}; a replication needs two trials"
        )
    people = {name: frozenset(p for p, own in where.items() if own == name) for name in names}
    everybody = sorted(set(zip(table["dataset"], table["subject"], strict=True)))
    homeless = tuple(
        (*p, _unknown(by) if p not in where else f"{by} is {where[p]}, which is not asked for")
        for p in everybody
        if p not in where or where[p] not in names
    )
    return Trials(by, people, homeless)


@dataclass(frozen=True, eq=False)
class TrialDesign:
    """A contrast in one trial.

    Attributes
    ----------
    trial
        Its name.
    design
        Compiled for its people, with the one contrast; None where that cannot be done.
    constant
        Covariates and strata that are the same in everybody of the trial, and dropped out.
    reason
        Why there is no design.
    """

    trial: str
    design: Design | None
    constant: tuple[str, ...] = ()
    reason: str = ""

    @property
    def contrast(self) -> DesignContrast:
        """The contrast of the design, which must be there."""
        assert self.design is not None
        return self.design.contrasts[0]


def has_one_estimate(contrast: str, model: Model, clinical: Clinical) -> bool:
    """Whether a contrast is one number, not an F of several."""
    plan = complete_plan(contrast, model, clinical)
    return not plan.joint and len(plan.variates) == 1


def contrasts_to_replicate(asked: Sequence[str], model: Model, clinical: Clinical, key: str) -> list[str]:
    """Contrasts that are compared over trials.

    Parameters
    ----------
    asked
        Names, or none for those that the model tests and that have one estimate.
    model, clinical
        Settings.
    key
        Where the analysis stands in the configuration, for errors.

    Raises
    ------
    DesignError
        A contrast that is asked for is an F, or there is none with one estimate.
    """
    wanted = list(asked) or list(chosen_contrasts(model))
    single = [name for name in wanted if has_one_estimate(name, model, clinical)]
    several = [name for name in wanted if name not in single]
    if several and (asked or not single):
        raise DesignError(
            f"{key}.contrasts: {several[0]!r} tests several numbers together by an F, which has no one "
            "estimate to compare over trials. Name a contrast of two groups or of one column."
        )
    return single


def compile_within(
    trials: Trials,
    contrast: str,
    name: str,
    model: Model,
    clinical: Clinical,
    cohort: pd.DataFrame,
    runs: pd.DataFrame,
    inference: Inference,
    combine_runs: CombineRuns = "weighted",
) -> list[TrialDesign]:
    """Compile one contrast of a model for each trial by itself.

    Parameters
    ----------
    trials
        Who is in which trial.
    contrast
        Its name.
    name, model, clinical, cohort, runs, inference, combine_runs
        See `conn.design.compile_model`.

    Returns
    -------
    list of TrialDesign
        A trial for which the design would be wrong has the reason instead.

    Raises
    ------
    InputError
        See `conn.design.compile_model`.
    """
    stated = model.contrasts.get(contrast, Contrast())
    single = model.model_copy(update={"contrasts": {contrast: stated}, "sensitivity": "none"})
    found = []
    for trial in trials.people:
        own = trials.cohort(trial, cohort)
        try:
            fitting, constant = _without_constants(
                name, contrast, single, clinical, own, runs, combine_runs, trials.by
            )
            made = compile_model(name, fitting, clinical, own, runs, inference, combine_runs)
        except (ConfigError, DesignError) as error:
            reason = str(error).removeprefix(f"models.{name}").removeprefix(": ").lstrip(".")
            found.append(TrialDesign(trial, None, reason=reason))
            continue
        found.append(TrialDesign(trial, _only(made, contrast), constant))
    return found


def _only(design: Design, contrast: str) -> Design:
    """The design with one of its contrasts; the score beside a dichotomy is a contrast of its own."""
    kept = tuple(one for one in design.contrasts if one.name == contrast)
    return replace(design, contrasts=kept, families=(), smallest_p=())


def _without_constants(
    name: str,
    contrast: str,
    model: Model,
    clinical: Clinical,
    cohort: pd.DataFrame,
    runs: pd.DataFrame,
    combine_runs: CombineRuns,
    by: str,
) -> tuple[Model, tuple[str, ...]]:
    """The model without covariates and strata that are the same in every row of a trial, and their names."""
    if not (model.covariates or model.strata):
        return model, ()
    table = as_text(cohort)
    df = run_df(table, runs)
    table, _ = choose(table, runs, combine_runs)
    source = Source(name, model, clinical, table, runs_by_point(name, table), df)
    rows = select(source, complete_plan(contrast, model, clinical))
    listed = (*model.covariates, *model.strata)
    constant = tuple(one for one in listed if one == by or (rows.people and _is_constant(rows, one)))
    if not constant:
        return model, ()
    left = {
        key: tuple(one for one in getattr(model, key) if one not in constant)
        for key in ("covariates", "strata")
    }
    return model.model_copy(update=left), constant


def _is_constant(rows: Rows, reference: str) -> bool:
    cells = rows.cells(reference)
    if rows.columns[reference].kind == "category":
        return len(set(cells)) == 1
    values = np.array([float(cell) for cell in cells])
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
