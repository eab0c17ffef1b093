"""The table of the cohort: one row per data set, subject and time point."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from conn.clinic.outcomes import percent_change, reliable_change, reliable_change_index
from conn.cohort.doubts import doubts
from conn.cohort.judged import Scores, errors_of, outcomes_of, score_at
from conn.cohort.names import Person
from conn.cohort.reading import ClinicalData
from conn.cohort.trials import Trial, check_points, exclusions_of, make_trial, people_notes, some
from conn.config.model import Clinical
from conn.errors import ConfigError
from conn.exclusions import Exclusion
from conn.tables import MISSING, number

FIRST_COLUMNS = ("dataset", "subject", "time_point", "runs", "n_runs", "df", "mean_fd")
"""Columns of `cohort.tsv` that every cohort has, before variables and scales."""


@dataclass(frozen=True)
class Cohort:
    """The cohort of a study.

    Attributes
    ----------
    table
        `cohort.tsv`, every cell as text: one row per data set, subject and time point.
    exclusions
        Subjects and table rows left out at this stage.
    notes
        Sentences for `conn check`.
    """

    table: pd.DataFrame
    exclusions: tuple[Exclusion, ...]
    notes: tuple[str, ...]


def build_cohort(
    clinical: Clinical,
    data: Mapping[str, ClinicalData],
    runs: pd.DataFrame,
    time_points: Mapping[str, Mapping[str, Sequence[str]]],
    only: Mapping[str, Sequence[str]] | None = None,
) -> Cohort:
    """One row per data set, subject and time point, with runs, variables, scores and outcomes.

    Parameters
    ----------
    clinical
        Scales, rules and variables.
    data
        What the tables of each data set say.
    runs
        `runs.tsv` as text; needs ``run dataset subject session time_point frames_kept df mean_fd
        included``.
    time_points
        Per data set: name of each time point to the values that belong to it, in the order of the trial.
        Empty or absent: the time points of its runs, baseline first.
    only
        Per data set: subjects to keep; empty or absent keeps all.

    Returns
    -------
    Cohort
        Scores of a time point that several sessions share are averaged, with a note. `response` is
        ``responder`` or ``nonresponder``, `remission` is ``remitted`` or ``not_remitted``.

    Raises
    ------
    ConfigError
        Two columns would have one name; baseline or endpoint is no time point; a scale's sessions are no
        time points; a response or remission rule that is n/a for everybody.
    """
    columns = _columns(clinical)
    trials = [
        make_trial(name, clinical, values, runs, time_points.get(name, {}), (only or {}).get(name, ()))
        for name, values in data.items()
    ]
    check_points(clinical, trials)
    notes = [note for trial in trials for note in people_notes(trial)]
    numbers = {
        name: _scores(f"clinical.scales.{name}", name, trials, notes, varying=False)
        for name in clinical.scales
    }
    numbers |= {
        name: _scores(f"clinical.variables.{name}", name, trials, notes, varying=True)
        for name in clinical.variables
    }
    people = [(trial.dataset, subject) for trial in trials for subject in trial.people]
    outcomes = outcomes_of(clinical, numbers, people, notes)
    errors = errors_of(clinical, numbers, people, notes)
    notes += doubts(clinical, numbers, trials)
    rows = [
        _cohort_row(clinical, trial, subject, point, numbers, outcomes, errors)
        for trial in trials
        for subject in trial.people
        for point in trial.time_points
    ]
    table = pd.DataFrame(rows, columns=pd.Index(columns), dtype=str)
    return Cohort(table, tuple(e for trial in trials for e in exclusions_of(trial, only or {})), tuple(notes))


def _columns(clinical: Clinical) -> list[str]:
    names = [*FIRST_COLUMNS, *clinical.variables]
    for scale, settings in clinical.scales.items():
        names += [scale, f"{scale}_change", f"{scale}_percent_change"]
        names += [] if settings.reliability is None else [f"{scale}_rci", f"{scale}_reliable_change"]
    names += ["response", "remission"]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigError(
            f"clinical: the name {twice[0]!r} would be a column of cohort.tsv twice. "
            "Call the variable or scale something else."
        )
    return names


def _scores(
    key: str, name: str, trials: Sequence[Trial], notes: list[str], *, varying: bool
) -> dict[tuple[str, str, str], float]:
    """Numbers by data set, subject and time point, from wide and long tables."""
    placed: dict[tuple[str, str, str], float] = {}
    for trial in trials:
        wide = {} if varying else trial.data.wide.get(name, {})
        long = trial.data.varying.get(name, {}) if varying else trial.data.long.get(name, {})
        shared: dict[tuple[str, str], list[float]] = defaultdict(list)
        for (subject, session), value in long.items():
            point = trial.place(subject, session, key)
            if point is not None:
                shared[(subject, point)].append(value)
        if long and not shared:
            raise ConfigError(
                f"{key}: none of its sessions ({', '.join(sorted({s for _, s in long}))}) is one of the time "
                f"points {', '.join(trial.time_points)} of {trial.dataset}. Correct time_points.labels."
            )
        several = sorted({subject for (subject, _), values in shared.items() if len(values) > 1})
        if several:
            notes.append(
                f"{trial.dataset}: {name} is the mean over the sessions of a time point for {some(several)}"
            )
        means = {place: math.fsum(values) / len(values) for place, values in shared.items()}
        placed |= {(trial.dataset, *place): value for place, value in (dict(wide) | means).items()}
    return placed


def _cohort_row(
    clinical: Clinical,
    trial: Trial,
    subject: str,
    point: str,
    numbers: Scores,
    outcomes: Mapping[str, Mapping[Person, str]],
    errors: Mapping[str, float],
) -> dict[str, str]:
    person = (trial.dataset, subject)
    row = {"dataset": trial.dataset, "subject": subject, "time_point": point}
    row |= imaging(trial.runs.get((subject, point), ()))
    for name in clinical.variables:
        value = trial.data.variables[name].get(subject)
        row[name] = number(score_at(numbers[name], person, point) if value is None else value)
    for name, scale in clinical.scales.items():
        score = score_at(numbers[name], person, point)
        start = score_at(numbers[name], person, clinical.baseline)
        row[name] = number(score)
        row[f"{name}_change"] = number(score - start)
        row[f"{name}_percent_change"] = number(percent_change(start, score, scale.zero))
        if name in errors:
            index = reliable_change_index(start, score, errors[name], scale.direction)
            row[f"{name}_rci"] = number(index)
            row[f"{name}_reliable_change"] = reliable_change(index) or MISSING
    for key, found in outcomes.items():
        row[key] = found.get(person, MISSING)
    return row


def imaging(runs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What the cohort table says about the runs of one time point.

    Parameters
    ----------
    runs
        Rows of `runs.tsv`: `run`, `df`, `mean_fd`, `frames_kept`.

    Returns
    -------
    dict
        Run keys, their number, sum of df, and mean FD in mm weighted by frames kept.
    """
    if not runs:
        return {"runs": MISSING, "n_runs": "0", "df": MISSING, "mean_fd": MISSING}
    moved = [r for r in runs if MISSING not in (r["mean_fd"], r["frames_kept"])]
    frames = [float(r["frames_kept"]) for r in moved]
    total = sum(f * float(r["mean_fd"]) for f, r in zip(frames, moved, strict=True))
    return {
        "runs": ";".join(r["run"] for r in runs),
        "n_runs": str(len(runs)),
        "df": number(math.fsum(float(r["df"]) for r in runs)),
        "mean_fd": number(total / sum(frames)) if sum(frames) > 0 else MISSING,
    }
