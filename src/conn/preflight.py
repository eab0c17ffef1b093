"""What is wrong for sure before anything is computed: tables, rules and designs of a study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from conn.cohort import Cohort, build_cohort, read_clinical
from conn.design import Design, compile_model
from conn.receipts import Receipt
from conn.stages.collect import refuse_nothing, run_table
from conn.study import Study
from conn.tables import format_tsv


def preflight(study: Study) -> None:
    """Raise what a run would otherwise raise after hours of work.

    Every run that can be tried counts as included: a design that is wrong with everybody in it is wrong with
    fewer people too.

    Parameters
    ----------
    study
        The study.

    Raises
    ------
    ConfigError, InputError
        Clinical tables or rules are wrong.
    DesignError
        A model cannot be computed, whatever the images hold.
    TooLittleDataError
        No run can even be tried.
    """
    designs(study)


def designs(study: Study) -> dict[str, Design]:
    """Every model, compiled as if every run that can be tried were included.

    Parameters
    ----------
    study
        The study.

    Raises
    ------
    ConnError
        See `preflight`.
    """
    hopeful = {key: _hopeful(key) for key in study.runs}
    refuse_nothing(study.index.runs, hopeful)
    runs = foreseen_runs(study, hopeful)
    made = foreseen_cohort(study, runs)
    config = study.config
    compiled = {}
    for name, model in config.models.items():
        combine_runs = config.connectivity.combine_runs
        compiled[name] = compile_model(
            name, model, config.clinical, made.table, runs, config.inference, combine_runs
        )
    return compiled


def _hopeful(key: str) -> Receipt:
    """An included run. Its motion is a number like no other, for models that have motion as a covariate."""
    mean_fd = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32
    return Receipt(key, "measure", True, numbers={"frames_kept": 100, "df": 100, "mean_fd": mean_fd})


def foreseen_runs(study: Study, receipts: Mapping[str, Receipt]) -> pd.DataFrame:
    """`runs.tsv` as it would read back, from receipts that nobody wrote."""
    lines = [line.split("\t") for line in format_tsv(run_table(study.index.runs, receipts)).splitlines()]
    return pd.DataFrame(lines[1:], columns=pd.Index(lines[0]), dtype=str)


def foreseen_cohort(study: Study, runs: pd.DataFrame) -> Cohort:
    """The cohort that stage cohort would make of a run table."""
    clinical, subjects = study.config.clinical, study.subjects
    folders = {name: study.absolute(folder) for name, folder in study.bids_dirs.items()}
    data = {
        name: read_clinical(folder, clinical, subjects[name]["found"]) for name, folder in folders.items()
    }
    only = {name: found["only"] for name, found in subjects.items()}
    return build_cohort(clinical, data, runs, study.time_points, only)
