"""Stage design: a model and the cohort become rows, matrix, exchange and families."""

from __future__ import annotations

from pathlib import Path

from conn import paths
from conn.config.model import Clinical, CombineRuns, Inference, Model
from conn.design import Design, compile_model, save_design
from conn.tables import read_tsv


def design(
    out: Path,
    name: str,
    model: Model,
    clinical: Clinical,
    inference: Inference,
    combine_runs: CombineRuns = "weighted",
) -> Design:
    """Compile a model and write its two files.

    Parameters
    ----------
    out
        Output folder, with `cohort.tsv` and `runs.tsv`.
    name
        The model's name.
    model, clinical, inference, combine_runs
        Settings.

    Raises
    ------
    DesignError
        The design would be wrong.
    """
    cohort, runs = read_tsv(out / paths.COHORT), read_tsv(out / paths.RUNS)
    made = compile_model(name, model, clinical, cohort, runs, inference, combine_runs)
    save_design(out / paths.model_folder(name), made, {"edge_measure": model.edge_measure})
    return made
