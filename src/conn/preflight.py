"""What is wrong for sure before anything is computed: tables, rules, designs and analyses of a study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from conn.analysis_check import analyses
from conn.cohort import Cohort, build_cohort, read_clinical
from conn.design import Design, compile_model
from conn.errors import ConnError
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
        A model or a clinical analysis cannot be computed, whatever the images hold.
    TooLittleDataError
        No run can even be tried, or nobody is left for a prediction.
    """
    runs, cohort = _foreseen(study)
    _compiled(study, runs, cohort)
    problems: list[ConnError] = []
    for _ in analyses(study, cohort.table, runs, problems):
        pass
    if problems:
        text = "\n".join(map(str, problems))
        raise type(max(problems, key=lambda error: error.exit_code))(text)


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
    return _compiled(study, *_foreseen(study))


def _foreseen(study: Study) -> tuple[pd.DataFrame, Cohort]:
    """Run table and cohort, as if every run that can be tried were included."""
    hopeful = {key: _hopeful(key) for key in study.runs}
    refuse_nothing(study.index.runs, hopeful)
    runs = foreseen_runs(study, hopeful)
    return runs, foreseen_cohort(study, runs)


def _compiled(study: Study, runs: pd.DataFrame, cohort: Cohort) -> dict[str, Design]:
    config = study.config
    policy = config.connectivity.combine_runs
    return {
        name: compile_model(name, model, config.clinical, cohort.table, runs, config.inference, policy)
        for name, model in config.models.items()
    }


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
