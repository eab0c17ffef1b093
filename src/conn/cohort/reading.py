"""What the clinical tables of a data set say, by name and never by order."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conn.cohort.names import did_you_mean
from conn.config.model import Clinical, ClinicalTable, Scale, Variable
from conn.errors import ConfigError, InputError
from conn.exclusions import Exclusion
from conn.tables import MISSING, read_tsv

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
