"""A model and the tables of a study become a design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from conn.cohort import as_text
from conn.combination import choose
from conn.config import formula
from conn.config.contrasts import SENSITIVITY, continuous
from conn.config.model import Clinical, CombineRuns, Inference, Model
from conn.design.columns import (
    check_exchange,
    check_rank,
    check_strata,
    contrast_weights,
    matrix_columns,
    stratum_names,
)
from conn.design.companions import alone_notes, complete_plan
from conn.design.families import families_of, smallest_p
from conn.design.notes import carried_notes, companion_notes, concerns, notes_of, run_notes
from conn.design.phrases import subjects_words
from conn.design.plans import Plan
from conn.design.rows import Rows, check_rows, row_cells, row_signs, run_weights, select
from conn.design.settings import check_settings, contrast_names
from conn.design.source import Source, run_df, runs_by_point
from conn.design.spec import Design, DesignContrast, RunWeights
from conn.design.variances import check_variances, per_unit, variances
from conn.design.words import words_of
from conn.errors import DesignError

MOTION = "mean_fd"


def compile_model(
    name: str,
    model: Model,
    clinical: Clinical,
    cohort: pd.DataFrame,
    runs: pd.DataFrame,
    inference: Inference,
    combine_runs: CombineRuns = "weighted",
) -> Design:
    """Compile a model to rows, matrices, contrasts and families.

    Parameters
    ----------
    name
        The model's name in the configuration.
    model
        Its settings.
    clinical
        What the references of the model mean.
    cohort
        `cohort.tsv`: one row per person and time point, with the keys of included runs.
    runs
        `runs.tsv`: the degrees of freedom of each run.
    inference
        Number of permutations, joint families, and the variance of slopes.
    combine_runs
        What is taken of several runs of one time point.

    Returns
    -------
    Design

    Raises
    ------
    DesignError
        The design would be wrong: empty cell, too few rows, dependent columns, a covariate that is a
        function of the group, a constant covariate, a person as two rows, an unknown level, contrast, column
        or time point. The message names rows and columns.
    ConfigError
        A reference is unknown.
    InputError
        Cohort and run table contradict each other.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (exchangeability, Freedman-Lane).
    """
    table = as_text(cohort)
    runs_by_point(name, table)
    df = run_df(table, runs)
    table, unused = choose(table, runs, combine_runs)
    source = Source(name, model, clinical, table, runs_by_point(name, table), df)
    check_settings(source)
    robust = inference.robust_slopes
    plans = [complete_plan(contrast, model, clinical) for contrast in contrast_names(source)]
    repeated, said = _sensitivity(source, plans[0], robust)
    made, lacking = _all(source, plans, robust)
    contrasts = (*made, *repeated)
    families = tuple(f for c in contrasts for f in families_of(c, model, inference))
    smallest = tuple(smallest_p(c, inference) for c in contrasts)
    unused = tuple(one for one in unused if concerns(one, plans[0], contrasts[0]))
    notes = [*notes_of(source, contrasts, smallest, inference), *said, *lacking]
    notes += alone_notes(model, clinical)
    notes += companion_notes(contrasts, continuous(model))
    notes += carried_notes(source, plans[0], contrasts[0])
    notes += run_notes(source, plans[0], contrasts[0], combine_runs, unused)
    return Design(name, model.design, contrasts, families, smallest, tuple(notes), combine_runs, unused)


def _all(source: Source, plans: Sequence[Plan], robust: bool) -> tuple[list[DesignContrast], list[str]]:
    """Every contrast; the score that stands beside a dichotomy unasked may be impossible, which is said."""
    unasked = set(continuous(source.model)) - set(source.model.contrasts)
    made, lacking = [], []
    for plan in plans:
        try:
            made.append(_compile(source, plan, robust))
        except DesignError as error:
            if plan.name not in unasked:
                raise
            reason = str(error).removeprefix(f"{source.key}: ").rstrip(".")
            lacking.append(f"{plan.name} is left out, the score beside the dichotomy: {reason}")
    return made, lacking


def _sensitivity(source: Source, plan: Plan, robust: bool) -> tuple[list[DesignContrast], list[str]]:
    """The primary contrast with motion as one more covariate, or a note why there is none."""
    model = source.model
    known = {*plan.covariates, plan.predictor, *(formula.names(plan.formula) if plan.formula else ())}
    if model.sensitivity == "none" or model.edges in ("none", ()) or MOTION in known:
        return [], []
    repeated = replace(
        plan, name=plan.name + SENSITIVITY, covariates=(*plan.covariates, MOTION), sensitivity=True
    )
    try:
        contrast = _compile(source, repeated, robust)
    except DesignError as error:
        reason = str(error).removeprefix(f"{source.key}: ").rstrip(".")
        return [], [f"{repeated.name} is left out, {plan.name} with motion as a covariate: {reason}"]
    return [contrast], list(_without_motion(contrast))


def _without_motion(contrast: DesignContrast) -> Iterator[str]:
    people = [(d, s) for d, s, reason in contrast.dropped if reason == f"{MOTION} is missing"]
    if people:
        yield f"{contrast.name} is without those whose {MOTION} is missing: {subjects_words(people)}"


def _compile(source: Source, plan: Plan, robust: bool) -> DesignContrast:
    rows = select(source, plan)
    check_rows(source, plan, rows)
    strata = stratum_names(source, rows)
    check_strata(source, plan, rows, strata)
    blocks = matrix_columns(source, plan, rows, strata)
    columns = tuple(name for name, _ in blocks)
    matrix = np.column_stack([values for _, values in blocks])
    check_rank(source, plan, rows, matrix, columns)
    weights = contrast_weights(source, plan, columns)
    check_exchange(source, plan, matrix, weights, strata)
    own = variances(source, plan, rows, robust)
    check_variances(source, plan, rows, matrix, weights, own)
    names = sorted(set(strata))
    exchanged = plan.exchange == "labels"
    data = [_weights(source, plan, rows, number) for number in range(len(plan.variates))]
    stated = source.model.contrasts.get(plan.name)
    return DesignContrast(
        name=plan.name,
        words=words_of(source, plan, rows),
        confirmatory=stated is not None and stated.confirmatory and not plan.sensitivity,
        subjects=rows.people,
        run_weights=data[0],
        matrix=matrix,
        columns=columns,
        contrast=weights,
        exchange=plan.exchange,
        strata=np.array([names.index(cell) if exchanged else 0 for cell in strata], dtype=np.int64),
        variance_groups=own.groups,
        variance_names=own.names,
        own_variances=own.own,
        per_unit=per_unit(source, plan, rows),
        effect_type=plan.effect_type,
        dropped=rows.dropped,
        levels=plan.levels,
        strata_names=tuple(names) if exchanged else ("all",),
        not_asked_for=rows.not_asked_for,
        cells=row_cells(plan, rows),
        more_weights=tuple(data[1:]),
        covariate_weights=_baseline(source, plan, rows),
        sensitivity=plan.sensitivity,
        exchanged=plan.exchanged,
    )


def _weights(source: Source, plan: Plan, rows: Rows, number: int) -> tuple[RunWeights, ...]:
    """Run weights of one value of every row."""
    signs = zip(rows.people, row_signs(plan, rows).tolist(), strict=True)
    return tuple(run_weights(source, person, plan.variates[number], sign) for person, sign in signs)


def _baseline(source: Source, plan: Plan, rows: Rows) -> tuple[RunWeights, ...]:
    """Run weights of the covariate that every voxel or edge has of its own."""
    if plan.baseline is None:
        return ()
    return tuple(run_weights(source, person, {plan.baseline: 1.0}) for person in rows.people)
