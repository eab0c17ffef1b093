"""A model and the tables of a study become a design."""

from __future__ import annotations

import numpy as np
import pandas as pd

from conn.cohort import as_text
from conn.combination import choose
from conn.config.model import Clinical, CombineRuns, Inference, Model
from conn.design.columns import (
    cell_codes,
    check_rank,
    check_strata,
    check_variance_groups,
    covariate_columns,
    dummies,
    header,
    stratum_names,
    tested_column,
    variance_groups,
)
from conn.design.families import families_of, smallest_p
from conn.design.notes import concerns, notes_of, run_notes
from conn.design.plans import Plan, plan_of
from conn.design.rows import check_rows, run_weights, select
from conn.design.settings import check_settings, contrast_names
from conn.design.source import Source, run_df, runs_by_point
from conn.design.spec import Design, DesignContrast
from conn.design.words import words_of


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
        Number of permutations and joint families.
    combine_runs
        What is taken of several runs of one time point.

    Returns
    -------
    Design

    Raises
    ------
    DesignError
        The design would be wrong: empty cell, too few rows, dependent columns, a covariate that is a
        function of the group, a constant covariate, a person as two rows, an unknown level, contrast or
        time point. The message names rows and columns.
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
    contrasts = tuple(_compile(source, plan_of(contrast, model)) for contrast in contrast_names(source))
    families = tuple(f for c in contrasts for f in families_of(c.name, model, inference))
    smallest = tuple(smallest_p(c, inference) for c in contrasts)
    unused = tuple(one for one in unused if concerns(one, source, contrasts[0]))
    notes = [*notes_of(source, contrasts, smallest, inference)]
    notes += run_notes(source, contrasts[0], combine_runs, unused)
    return Design(name, model.design, contrasts, families, smallest, tuple(notes), combine_runs, unused)


def _compile(source: Source, plan: Plan) -> DesignContrast:
    rows = select(source, plan)
    check_rows(source, rows)
    tested = tested_column(source, rows)
    cells = stratum_names(source, rows)
    check_strata(source, rows, cells)
    blocks = [("intercept", np.ones(len(rows.people)))]
    blocks += [(name, values) for name, values in (tested,) if name]
    for reference in source.model.covariates:
        blocks += covariate_columns(source, rows, reference)
    blocks += dummies(cells, sorted(set(cells)))
    columns = tuple(header(name) for name, _ in blocks)
    matrix = np.column_stack([values for _, values in blocks])
    check_rank(source, rows, matrix, columns)
    groups = variance_groups(source, rows)
    check_variance_groups(source, matrix, groups)
    contrast = np.zeros(len(columns), dtype=np.float64)
    contrast[0 if plan.tested == "intercept" else 1] = 1.0
    names = sorted(set(cells))
    exchanged = plan.exchange == "labels"
    return DesignContrast(
        name=plan.name,
        words=words_of(source, plan, rows),
        confirmatory=plan.name in source.model.contrasts and source.model.contrasts[plan.name].confirmatory,
        subjects=rows.people,
        run_weights=tuple(run_weights(source, person, plan) for person in rows.people),
        matrix=matrix,
        columns=columns,
        contrast=contrast,
        exchange=plan.exchange,
        strata=np.array([names.index(cell) if exchanged else 0 for cell in cells], dtype=np.int64),
        variance_groups=groups,
        effect_type=plan.effect_type,
        dropped=rows.dropped,
        levels=tuple(source.levels),
        strata_names=tuple(names) if exchanged else ("all",),
        not_asked_for=rows.not_asked_for,
        cells=cell_codes(source, rows),
    )
