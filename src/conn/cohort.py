"""The clinical cohort: what the tables say about each person at each time point.

Tables are read by name, never aligned by order. Only ``n/a`` and the configured codes are missing;
whatever else is not a number where a number is needed is an error that names file, row and column.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from conn.config.model import Clinical, ClinicalTable, Scale, Variable
from conn.errors import ConfigError, InputError
from conn.exclusions import Exclusion
from conn.tables import MISSING, number, read_tsv

Person = tuple[str, str]
"""Data set and subject label."""

Direction = Literal["lower_is_better", "higher_is_better"]

FIRST_COLUMNS = ("dataset", "subject", "time_point", "runs", "n_runs", "df", "mean_fd")
"""Columns of `cohort.tsv` that every cohort has, before variables and scales."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class ClinicalData:
    """What the clinical tables of one data set say. Missing values are absent keys.

    Attributes
    ----------
    subjects
        Labels found in the folder, sorted.
    listed
        Labels with a row in any of the tables, sorted.
    variables
        Per variable: subject to number or level.
    varying
        Per variable whose number differs between the sessions of a person: (subject, session) to number.
    wide
        Per scale of a wide table: (subject, time point) to score.
    long
        Per scale of a long table: (subject, session) to score; sessions without ``ses-``.
    exclusions
        Table rows that cannot be used; their `dataset` is still ``n/a``.
    notes
        Sentences for `conn check`.
    """

    subjects: tuple[str, ...]
    listed: tuple[str, ...]
    variables: Mapping[str, Mapping[str, float | str]]
    varying: Mapping[str, Mapping[tuple[str, str], float]]
    wide: Mapping[str, Mapping[tuple[str, str], float]]
    long: Mapping[str, Mapping[tuple[str, str], float]]
    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Column:
    """What a reference in a model means, person by person.

    Attributes
    ----------
    reference
        As written in the model.
    by_person
        Data set and subject to number or level; a person whose value is missing is absent.
    kind
        ``number`` or ``category``.
    time_varying
        The value depends on the time points that were asked for.
    """

    reference: str
    by_person: Mapping[Person, float | str]
    kind: Literal["number", "category"]
    time_varying: bool


@dataclass(frozen=True)
class _Row:
    file: Path
    number: int
    subject: str
    session: str | None
    cells: Mapping[str, str]

    def where(self, column: str) -> str:
        return f"{self.file}: row {self.number}, column {column!r}"


@dataclass(frozen=True)
class _Table:
    path: str
    long: bool
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]

    def usable(self) -> Iterator[_Row]:
        return (row for row in self.rows if not (self.long and row.session is None))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with the nearest names, with a leading blank; empty when nothing is near."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(names), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(names[c]) for c in close)}?" if close else ""


def percent_change(baseline: float, score: float) -> float:
    """Change in percent of baseline; NaN when a score is missing or the baseline is not above 0."""
    return 100 * (score - baseline) / baseline if baseline > 0 else math.nan


def responded(baseline: float, endpoint: float, percent: float, direction: Direction) -> bool | None:
    """Whether the improvement is at least `percent` percent of baseline.

    Parameters
    ----------
    baseline, endpoint
        Scores; NaN when missing.
    percent
        Improvement asked for, in percent of baseline.
    direction
        Which way is improvement.

    Returns
    -------
    bool or None
        None when a score is missing or the baseline is not above 0.
    """
    if math.isnan(endpoint) or not baseline > 0:
        return None
    gain = baseline - endpoint if direction == "lower_is_better" else endpoint - baseline
    # 29 of 100 points are 29 %, though 29 / 100 * 100 is a little less in binary
    return 100 * gain >= percent * baseline - 1e-9 * baseline


def remitted(endpoint: float, threshold: float, direction: Direction) -> bool | None:
    """Whether the endpoint score is the threshold or better; None when it is missing."""
    if math.isnan(endpoint):
        return None
    return endpoint <= threshold if direction == "lower_is_better" else endpoint >= threshold


# Reading the tables ---------------------------------------------------------------------------------


def read_clinical(bids_dir: Path, clinical: Clinical, subjects: Sequence[str]) -> ClinicalData:
    """Read the clinical tables of one data set.

    Parameters
    ----------
    bids_dir
        The BIDS data set; the tables' paths are relative to it.
    clinical
        Tables, scales and variables.
    subjects
        Labels of the subjects in the folder, with or without ``sub-``.

    Returns
    -------
    ClinicalData

    Raises
    ------
    InputError
        A table is missing or damaged; a participant (wide) or a participant and session (long) occur
        twice; a row has no participant; a cell is no number, outside the range of the scale, or no
        known level.
    ConfigError
        A configured column is in none of the tables.
    """
    found = tuple(sorted({label.removeprefix("sub-") for label in subjects}))
    missing = frozenset({MISSING, *clinical.missing_codes})
    tables, notes = _read_tables(bids_dir, clinical, found, missing)
    wide = {n: _wide(n, s, tables, missing) for n, s in clinical.scales.items() if s.columns}
    long = {n: _long(n, s, s.column, tables, missing) for n, s in clinical.scales.items() if s.column}
    variables: dict[str, dict[str, float | str]] = {}
    varying: dict[str, dict[tuple[str, str], float]] = {}
    for name, variable in clinical.variables.items():
        variables[name], varying[name] = _variable(name, variable, tables, missing)
    listed = {row.subject for table in tables for row in table.rows} if tables else set(found)
    return ClinicalData(
        subjects=found,
        listed=tuple(sorted(listed)),
        variables=variables,
        varying={name: values for name, values in varying.items() if values},
        wide=wide,
        long=long,
        exclusions=tuple(_without_session(tables)),
        notes=tuple(notes),
    )


def _read_tables(
    bids_dir: Path, clinical: Clinical, subjects: Sequence[str], missing: frozenset[str]
) -> tuple[list[_Table], list[str]]:
    tables, notes = [], []
    needed = bool(clinical.scales or clinical.variables)
    for table in clinical.tables:
        files = _files(bids_dir, table, subjects)
        if not files and not needed:
            notes.append(f"{table.path} is not there; nothing was asked of it, so the run goes on without it")
            continue
        if not files:
            raise InputError(
                f"{bids_dir / table.path}: the table is not there. Correct clinical.tables, or leave it out."
            )
        tables.append(_read_table(table, files, missing))
    return tables, notes


def _files(bids_dir: Path, table: ClinicalTable, subjects: Sequence[str]) -> list[tuple[Path, str | None]]:
    """Files of a table with the subject each belongs to; None when it holds many."""
    if "{subject}" not in table.path:
        path = bids_dir / table.path
        return [(path, None)] if path.is_file() else []
    paths = [(bids_dir / table.path.replace("{subject}", label), label) for label in subjects]
    return [(path, label) for path, label in paths if path.is_file()]


def _read_table(
    table: ClinicalTable, files: Sequence[tuple[Path, str | None]], missing: frozenset[str]
) -> _Table:
    rows: list[_Row] = []
    columns: dict[str, None] = {}
    kinds: dict[bool, Path] = {}
    for file, owner in files:
        frame = read_tsv(file)
        names = [str(name) for name in frame.columns]
        kinds.setdefault(table.session_column in names, file)
        columns |= dict.fromkeys(names)
        if owner is None and table.id_column not in names:
            raise ConfigError(
                f"clinical.tables: {file} has no column {table.id_column!r} (id_column); it has "
                f"{', '.join(names)}.{did_you_mean(table.id_column, names)}"
            )
        cells = [dict(zip(names, record, strict=True)) for record in frame.itertuples(index=False, name=None)]
        rows += [_row(table, file, owner, n, c, missing) for n, c in enumerate(cells, start=2)]
    if len(kinds) == 2:
        raise InputError(
            f"{kinds[True]} has a column {table.session_column!r}, {kinds[False]} has none. "
            "Give all tables of one kind the same columns."
        )
    read = _Table(table.path, True in kinds, tuple(columns), tuple(rows))
    _refuse_duplicates(read)
    return read


def _row(
    table: ClinicalTable,
    file: Path,
    owner: str | None,
    n: int,
    cells: dict[str, str],
    missing: frozenset[str],
) -> _Row:
    label = cells.get(table.id_column, owner or "").removeprefix("sub-")
    if label in missing or not label:
        raise InputError(
            f"{file}: row {n}, column {table.id_column!r}: {label!r} names no participant. "
            "Every row needs one; correct or delete the row."
        )
    if owner is not None and label != owner:
        raise InputError(f"{file}: row {n} is about sub-{label}, the file about sub-{owner}")
    session = cells.get(table.session_column, MISSING)
    known = session not in missing and session != ""
    return _Row(file, n, label, session.removeprefix("ses-") if known else None, cells)


def _refuse_duplicates(table: _Table) -> None:
    groups: dict[tuple[Path, str, str | None], list[_Row]] = defaultdict(list)
    for row in table.usable():
        groups[(row.file, row.subject, row.session)].append(row)
    repeated = [rows for rows in groups.values() if len(rows) > 1]
    if not repeated:
        return
    named = [
        f"rows {' and '.join(str(row.number) for row in rows)} are both sub-{rows[0].subject}"
        + (f" ses-{rows[0].session}" if rows[0].session else "")
        for rows in repeated[:5]
    ]
    more = f" (and {len(repeated) - 5} more)" if len(repeated) > 5 else ""
    unit = "participant and session" if table.long else "participant"
    raise InputError(f"{repeated[0][0].file}: {'; '.join(named)}{more}. Keep one row per {unit}.")


def _without_session(tables: Iterable[_Table]) -> Iterator[Exclusion]:
    for table in tables:
        for row in table.rows:
            if table.long and row.session is None:
                where = f"{table.path.replace('{subject}', row.subject)} row {row.number}"
                yield Exclusion(MISSING, row.subject, stage="cohort", reason="no_session", value=where)


def _find(key: str, column: str, tables: Sequence[_Table], long: bool | None) -> _Table:
    """The first table that holds the column and is of the right shape."""
    holders = [table for table in tables if column in table.columns]
    for table in holders:
        if long is None or table.long == long:
            return table
    if holders:
        shape, other = ("wide", "columns: {time_point: column}") if long else ("long", "column: name")
        raise ConfigError(
            f"{key}: column {column!r} is in {holders[0].path}, which is a {shape} table. "
            f"Write {other} instead, or make it a variable."
        )
    names = [name for table in tables for name in table.columns]
    files = ", ".join(table.path for table in tables) or "no table"
    raise ConfigError(f"{key}: there is no column {column!r} in {files}.{did_you_mean(column, names)}")


def _wide(
    name: str, scale: Scale, tables: Sequence[_Table], missing: frozenset[str]
) -> dict[tuple[str, str], float]:
    scores = {}
    for time_point, column in scale.columns.items():
        key = f"clinical.scales.{name}.columns.{time_point}"
        table = _find(key, column, tables, long=False)
        for row in table.rows:
            scores[(row.subject, time_point)] = _score(row, column, scale, missing)
    return {place: score for place, score in scores.items() if not math.isnan(score)}


def _long(
    name: str, scale: Scale, column: str, tables: Sequence[_Table], missing: frozenset[str]
) -> dict[tuple[str, str], float]:
    table = _find(f"clinical.scales.{name}.column", column, tables, long=True)
    scores = {(row.subject, row.session or ""): _score(row, column, scale, missing) for row in table.usable()}
    return {place: score for place, score in scores.items() if not math.isnan(score)}


def _score(row: _Row, column: str, scale: Scale, missing: frozenset[str]) -> float:
    score = _number(row, column, missing)
    if scale.minimum is not None and score < scale.minimum:
        limit = f"below the minimum {scale.minimum:g}"
    elif scale.maximum is not None and score > scale.maximum:
        limit = f"above the maximum {scale.maximum:g}"
    else:
        return score
    raise InputError(
        f"{row.where(column)}: sub-{row.subject} has {row.cells[column]}, {limit} of the scale. "
        "Correct the table, or add the value to clinical.missing_codes if it means missing."
    )


def _number(row: _Row, column: str, missing: frozenset[str]) -> float:
    """NaN only for missing codes: float() would take `nan`, `inf` and `1_0` for numbers."""
    text = row.cells.get(column, MISSING)
    if text in missing:
        return math.nan
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    hint = "Use a decimal point." if re.fullmatch(r"[+-]?\d+,\d+", text) else "Write n/a for a missing value"
    hint += "" if hint.endswith(".") else ", or add the text to clinical.missing_codes."
    raise InputError(f"{row.where(column)}: {text!r} of sub-{row.subject} is not a number. {hint}")


def _variable(
    name: str, variable: Variable, tables: Sequence[_Table], missing: frozenset[str]
) -> tuple[dict[str, float | str], dict[tuple[str, str], float]]:
    """Values by subject, or (of a number that changes) by subject and session."""
    key = f"clinical.variables.{name}"
    if variable.levels and variable.kind == "number":
        raise ConfigError(f"{key}: levels are for kind: category, and kind is number")
    table = _find(f"{key}.column", variable.column, tables, long=None)
    found: dict[str, dict[str, float | str]] = defaultdict(dict)
    for row in table.usable():
        value = _value(row, variable, missing)
        if value is not None:
            found[row.subject][row.session or ""] = value
    changing = sorted(subject for subject, values in found.items() if len(set(values.values())) > 1)
    if changing and variable.kind == "category":
        levels = ", ".join(sorted({str(v) for v in found[changing[0]].values()}))
        raise InputError(
            f"{table.path}: {variable.column!r} of sub-{changing[0]} is {levels} in different sessions; "
            f"{key} is a property of a person. Choose a column that does not change."
        )
    if not changing:
        return {subject: next(iter(values.values())) for subject, values in found.items()}, {}
    return {}, {(s, session): float(v) for s, values in found.items() for session, v in values.items()}


def _value(row: _Row, variable: Variable, missing: frozenset[str]) -> float | str | None:
    if variable.kind == "number":
        value = _number(row, variable.column, missing)
        return None if math.isnan(value) else value
    text = row.cells.get(variable.column, MISSING)
    if text in missing:
        return None
    if variable.levels and text not in variable.levels:
        raise InputError(
            f"{row.where(variable.column)}: {text!r} of sub-{row.subject} is none of the levels "
            f"{', '.join(variable.levels)}.{did_you_mean(text, variable.levels)} "
            "Correct the table, or add it to levels or to clinical.missing_codes."
        )
    if not text:
        raise InputError(f"{row.where(variable.column)}: empty for sub-{row.subject}. Write n/a for missing.")
    return variable.levels.get(text, text)


# Building the cohort --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Trial:
    """One data set: its people, its time points, its runs, and where its sessions belong."""

    dataset: str
    data: ClinicalData
    people: tuple[str, ...]
    time_points: tuple[str, ...]
    runs: Mapping[tuple[str, str], Sequence[Mapping[str, str]]]
    sessions: Mapping[tuple[str, str], frozenset[str]]
    labels: Mapping[str, str]

    def place(self, subject: str, session: str, key: str) -> str | None:
        """The time point of a session: as its runs have it, else by the values of the labels."""
        points = self.sessions.get((subject, session), frozenset())
        if len(points) > 1:
            raise ConfigError(
                f"{key}: ses-{session} of sub-{subject} in {self.dataset} holds the time points "
                f"{', '.join(sorted(points))}, and a long table cannot tell them apart. "
                "Give one column per time point (columns) instead."
            )
        if points:
            return next(iter(points))
        point = self.labels.get(session, session)
        return point if point in self.time_points else None


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
        _trial(name, clinical, values, runs, time_points.get(name, {}), (only or {}).get(name, ()))
        for name, values in data.items()
    ]
    _check_points(clinical, trials)
    notes = [note for trial in trials for note in _people_notes(trial)]
    numbers = {
        name: _scores(f"clinical.scales.{name}", name, trials, notes, varying=False)
        for name in clinical.scales
    }
    numbers |= {
        name: _scores(f"clinical.variables.{name}", name, trials, notes, varying=True)
        for name in clinical.variables
    }
    outcomes = _outcomes(clinical, numbers, trials, notes)
    rows = [
        _cohort_row(clinical, trial, subject, point, numbers, outcomes)
        for trial in trials
        for subject in trial.people
        for point in trial.time_points
    ]
    table = pd.DataFrame(rows, columns=pd.Index(columns), dtype=str)
    return Cohort(table, tuple(e for trial in trials for e in _exclusions(trial, only or {})), tuple(notes))


def _columns(clinical: Clinical) -> list[str]:
    names = [*FIRST_COLUMNS, *clinical.variables]
    for scale in clinical.scales:
        names += [scale, f"{scale}_change", f"{scale}_percent_change"]
    names += ["response", "remission"]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigError(
            f"clinical: the name {twice[0]!r} would be a column of cohort.tsv twice. "
            "Call the variable or scale something else."
        )
    return names


def _trial(
    dataset: str,
    clinical: Clinical,
    data: ClinicalData,
    runs: pd.DataFrame,
    labels: Mapping[str, Sequence[str]],
    only: Sequence[str],
) -> _Trial:
    records = [r for r in _records(runs) if r["dataset"] == dataset]
    points = _time_points(clinical, data, records, labels)
    keep = {label.removeprefix("sub-") for label in only} or set(data.listed)
    grouped: dict[tuple[str, str], list[Mapping[str, str]]] = defaultdict(list)
    sessions: dict[tuple[str, str], frozenset[str]] = defaultdict(frozenset)
    for record in records:
        if record["included"] == "true":
            grouped[(record["subject"], record["time_point"])].append(record)
        if MISSING not in (record["session"], record["time_point"]):
            sessions[(record["subject"], record["session"])] |= {record["time_point"]}
    return _Trial(
        dataset=dataset,
        data=data,
        people=tuple(sorted(keep & set(data.listed))),
        time_points=points,
        runs={place: sorted(found, key=lambda r: r["run"]) for place, found in grouped.items()},
        sessions=dict(sessions),
        labels={value.removeprefix("ses-"): label for label, values in labels.items() for value in values},
    )


def _records(runs: pd.DataFrame) -> list[dict[str, str]]:
    names = ("run", "dataset", "subject", "session", "time_point", "frames_kept", "df", "mean_fd", "included")
    absent = [name for name in names if name not in runs.columns]
    if absent:
        raise InputError(f"runs.tsv has no column {absent[0]!r}; it is not a run table of this version")
    texts = [dict(zip(names, row, strict=True)) for row in as_text(runs[list(names)]).itertuples(index=False)]
    return [
        row | {"subject": row["subject"].removeprefix("sub-"), "session": row["session"].removeprefix("ses-")}
        for row in texts
    ]


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with every cell as text, missing as ``n/a``; text stays as it is."""
    return table.map(lambda cell: number(cell, 17)).astype(str)


def _time_points(
    clinical: Clinical,
    data: ClinicalData,
    records: Sequence[Mapping[str, str]],
    labels: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """In the order of the trial; scores may exist at time points without scans (a later endpoint)."""
    scored = [point for scale in clinical.scales.values() for point in scale.columns]
    if labels:
        return tuple(dict.fromkeys([*labels, *scored]))
    sessions = {session for values in data.long.values() for _, session in values}
    named = {p for p in (clinical.baseline, clinical.endpoint) if p is not None and p in sessions}
    points = {r["time_point"] for r in records} - {MISSING} | named | set(scored)
    ordered = sorted(points, key=lambda point: (point != clinical.baseline, natural(point)))
    return tuple(ordered) or (MISSING,)


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key of a label: d2 before d10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def _check_points(clinical: Clinical, trials: Sequence[_Trial]) -> None:
    known = list(dict.fromkeys(point for trial in trials for point in trial.time_points))
    for key, point in (("baseline", clinical.baseline), ("endpoint", clinical.endpoint)):
        if point is not None and point not in known:
            raise ConfigError(
                f"clinical.{key}: {point!r} is none of the time points {', '.join(known)}."
                f"{did_you_mean(point, known)}"
            )


def _people_notes(trial: _Trial) -> Iterator[str]:
    scanned = set(trial.data.subjects) | {subject for subject, _ in trial.runs}
    absent = [subject for subject in trial.people if subject not in scanned]
    if absent:
        yield (
            f"{trial.dataset}: {len(absent)} of {len(trial.people)} subjects are in the clinical tables but "
            f"not in the data set: {_some(absent)}"
        )
    lost = sum(len(runs) for (_, point), runs in trial.runs.items() if point not in trial.time_points)
    if lost:
        yield f"{trial.dataset}: {lost} included runs belong to no time point and are in no row of the cohort"
    for note in trial.data.notes:
        yield f"{trial.dataset}: {note}"
    reached = {point for _, point in trial.runs}
    for point in trial.time_points:
        if point not in reached and point != MISSING:
            yield f"{trial.dataset}: time point {point} has no included run"


def _some(subjects: Sequence[str], most: int = 10) -> str:
    names = ", ".join(f"sub-{subject}" for subject in subjects[:most])
    return f"{names} and {len(subjects) - most} more" if len(subjects) > most else names


def _exclusions(trial: _Trial, only: Mapping[str, Sequence[str]]) -> Iterator[Exclusion]:
    for exclusion in trial.data.exclusions:
        yield replace(exclusion, dataset=trial.dataset)
    keep = {label.removeprefix("sub-") for label in only.get(trial.dataset, ())}
    scanned = set(trial.data.subjects) | {subject for subject, _ in trial.runs}
    for subject in sorted(scanned - set(trial.data.listed)):
        if keep and subject not in keep:
            continue
        bare = [label for label in trial.data.listed if label.lstrip("0") == subject.lstrip("0")]
        value = f"the table has {bare[0]}" if bare else MISSING
        yield Exclusion(trial.dataset, subject, stage="cohort", reason="not_in_table", value=value)


def _scores(
    key: str, name: str, trials: Sequence[_Trial], notes: list[str], *, varying: bool
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
                f"{trial.dataset}: {name} is the mean over the sessions of a time point for {_some(several)}"
            )
        means = {place: math.fsum(values) / len(values) for place, values in shared.items()}
        placed |= {(trial.dataset, *place): value for place, value in (dict(wide) | means).items()}
    return placed


Scores = Mapping[str, Mapping[tuple[str, str, str], float]]


def _outcomes(
    clinical: Clinical, scores: Scores, trials: Sequence[_Trial], notes: list[str]
) -> dict[str, dict[Person, str]]:
    people = [(trial.dataset, subject) for trial in trials for subject in trial.people]
    pairs: dict[str, dict[Person, bool | None]] = {"response": {}, "remission": {}}
    for person in people:
        if clinical.response is not None:
            rule = clinical.response
            start, end = (_at(scores[rule.scale], person, p) for p in (clinical.baseline, clinical.endpoint))
            direction = clinical.scales[rule.scale].direction
            pairs["response"][person] = responded(start, end, rule.percent, direction)
        if clinical.remission is not None:
            limit = clinical.remission
            end = _at(scores[limit.scale], person, clinical.endpoint)
            direction = clinical.scales[limit.scale].direction
            pairs["remission"][person] = remitted(end, limit.threshold, direction)
    for key, found in pairs.items():
        if found:
            notes += _missing_outcomes(key, clinical, scores, found)
    words = {"response": ("nonresponder", "responder"), "remission": ("not_remitted", "remitted")}
    return {
        key: {person: words[key][bool(value)] for person, value in found.items() if value is not None}
        for key, found in pairs.items()
    }


def _at(scores: Mapping[tuple[str, str, str], float], person: Person, point: str | None) -> float:
    return math.nan if point is None else scores.get((*person, point), math.nan)


def _missing_outcomes(
    key: str, clinical: Clinical, scores: Scores, found: Mapping[Person, bool | None]
) -> list[str]:
    """A note with counts when some are n/a; an error when all are."""
    rule = clinical.response if key == "response" else clinical.remission
    scale = rule.scale if rule is not None else ""
    points = [p for p in (clinical.baseline, clinical.endpoint) if p is not None]
    points = points if key == "response" else points[-1:]
    counts = ", ".join(
        f"at {p} {sum(not math.isnan(_at(scores[scale], person, p)) for person in found)}" for p in points
    )
    known = sum(value is not None for value in found.values())
    if known == 0:
        raise ConfigError(
            f"clinical.{key}: the rule gives n/a for all {len(found)} subjects: scores of {scale} exist "
            f"{counts}, and nobody has what the rule needs. Choose another scale or time point, or remove "
            "the rule."
        )
    if known == len(found):
        return []
    start = clinical.baseline
    flat = [p for p in found if key == "response" and _at(scores[scale], p, start) <= 0]
    zero = f"; {len(flat)} with a baseline that is not above 0" if flat else ""
    return [
        f"{key} is n/a for {len(found) - known} of {len(found)} subjects (scores of {scale}: {counts}{zero})"
    ]


def _cohort_row(
    clinical: Clinical,
    trial: _Trial,
    subject: str,
    point: str,
    numbers: Scores,
    outcomes: Mapping[str, Mapping[Person, str]],
) -> dict[str, str]:
    person = (trial.dataset, subject)
    row = {"dataset": trial.dataset, "subject": subject, "time_point": point}
    row |= imaging(trial.runs.get((subject, point), ()))
    for name in clinical.variables:
        value = trial.data.variables[name].get(subject)
        row[name] = number(_at(numbers[name], person, point) if value is None else value)
    for name in clinical.scales:
        score = _at(numbers[name], person, point)
        start = _at(numbers[name], person, clinical.baseline)
        row[name] = number(score)
        row[f"{name}_change"] = number(score - start)
        row[f"{name}_percent_change"] = number(percent_change(start, score))
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


# References of models -------------------------------------------------------------------------------


def resolve(
    reference: str,
    clinical: Clinical,
    cohort: pd.DataFrame,
    *,
    at: str | None = None,
    before: str | None = None,
    after: str | None = None,
    mean: bool = False,
    key: str = "models",
) -> Column:
    """What a name in a model means, as one value per person.

    Parameters
    ----------
    reference
        A name of `clinical.variables`; ``response``, ``remission``, ``dataset``, ``mean_fd``;
        ``SCALE.TIMEPOINT``, ``SCALE.change[.TIMEPOINT]``, ``SCALE.percent_change[.TIMEPOINT]`` (the
        endpoint when no time point is given).
    clinical
        Kinds of the variables, scales, baseline and endpoint.
    cohort
        The table of `Cohort`, or `cohort.tsv` read back.
    at
        The one time point whose value a varying variable takes.
    before, after
        A varying variable takes its difference, after minus before.
    mean
        With `before` and `after`: the mean of the two instead.
    key
        The key to name in an error.

    Returns
    -------
    Column

    Raises
    ------
    ConfigError
        The reference means nothing here; the nearest names are given.
    """
    weights = _weights(at, before, after, mean)
    if reference in clinical.variables:
        return _variable_reference(reference, clinical.variables[reference].kind, cohort, weights, key)
    if reference in ("response", "remission"):
        if getattr(clinical, reference) is None:
            raise ConfigError(f"{key}: {reference!r} needs the rule clinical.{reference}, which is not set")
        return Column(reference, _person_values(cohort, reference), "category", time_varying=False)
    if reference == "dataset":
        names = dict.fromkeys(zip(cohort["dataset"], cohort["subject"], strict=True))
        return Column(reference, {person: person[0] for person in names}, "category", time_varying=False)
    if reference == "mean_fd":
        return Column(reference, _weighted(cohort, reference, weights, key), "number", time_varying=True)
    column, point = _scale_reference(reference, clinical, cohort, key)
    found = {p: v[point] for p, v in _cells(cohort, column).items() if point in v}
    return Column(reference, {p: float(v) for p, v in found.items()}, "number", time_varying=False)


def _weights(at: str | None, before: str | None, after: str | None, mean: bool) -> dict[str, float]:
    if at is not None:
        return {at: 1.0}
    if before is None or after is None:
        return {}
    return {before: 0.5, after: 0.5} if mean else {before: -1.0, after: 1.0}


def _cells(cohort: pd.DataFrame, column: str) -> dict[Person, dict[str, str]]:
    """Cells of a column that are not missing, by person and time point; everybody is a key."""
    if column not in cohort.columns:
        raise InputError(f"cohort.tsv has no column {column!r}; make the cohort again")
    found: dict[Person, dict[str, str]] = {}
    table = as_text(cohort[["dataset", "subject", "time_point", column]])
    for dataset, subject, point, cell in table.itertuples(index=False, name=None):
        values = found.setdefault((dataset, subject), {})
        if cell != MISSING:
            values[point] = cell
    return found


def _person_values(cohort: pd.DataFrame, column: str) -> dict[Person, str]:
    return {person: next(iter(v.values())) for person, v in _cells(cohort, column).items() if v}


def _variable_reference(
    name: str,
    kind: Literal["number", "category"],
    cohort: pd.DataFrame,
    weights: Mapping[str, float],
    key: str,
) -> Column:
    values = _person_values(cohort, name)
    if kind == "category":
        return Column(name, values, kind, time_varying=False)
    if any(len(set(v.values())) > 1 for v in _cells(cohort, name).values()):
        return Column(name, _weighted(cohort, name, weights, key), kind, time_varying=True)
    return Column(name, {person: float(v) for person, v in values.items()}, kind, time_varying=False)


def _weighted(
    cohort: pd.DataFrame, column: str, weights: Mapping[str, float], key: str
) -> dict[Person, float | str]:
    if not weights:
        raise ConfigError(f"{key}: {column!r} varies over time and needs a time point")
    return {
        person: math.fsum(weight * float(values[point]) for point, weight in weights.items())
        for person, values in _cells(cohort, column).items()
        if all(point in values for point in weights)
    }


def _scale_reference(reference: str, clinical: Clinical, cohort: pd.DataFrame, key: str) -> tuple[str, str]:
    """Column and time point of `SCALE.…`."""
    points = list(dict.fromkeys(cohort["time_point"].astype(str)))
    scale, _, rest = reference.partition(".")
    what, _, point = rest.partition(".")
    if scale in clinical.scales and what in ("change", "percent_change"):
        if clinical.baseline is None:
            raise ConfigError(f"{key}: {reference!r} needs clinical.baseline, which is not set")
        if not point and clinical.endpoint is None:
            raise ConfigError(f"{key}: {reference!r} needs a time point, or clinical.endpoint")
        column, point = f"{scale}_{what}", point or str(clinical.endpoint)
    else:
        column, point = scale, rest
    if scale in clinical.scales and point in points:
        return column, point
    known = [*clinical.variables, "mean_fd", "dataset"]
    known += [rule for rule in ("response", "remission") if getattr(clinical, rule) is not None]
    for name in clinical.scales:
        known += [f"{name}.{p}" for p in (*points, "change", "percent_change")]
    raise ConfigError(
        f"{key}: {reference!r} is unknown.{did_you_mean(reference, known)} Known: {', '.join(known)}"
    )
