"""Which of several runs of one time point stand for it: all of them, the first, or the longest in df.

`weighted` keeps all of them, and their Fisher z are averaged later with weights df - 2. `first` and `most_df`
keep one, the same rule at every time point, so that no time point is measured with more runs than another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from conn.cohort import as_text, imaging, natural
from conn.config.model import CombineRuns
from conn.errors import InputError
from conn.tables import MISSING

_Row = Mapping[str, str]

ORDER = ("session", "run_entity", "task", "acq")
"""Columns of `runs.tsv` that put the runs of a time point in order; the key decides between equal ones."""


@dataclass(frozen=True)
class Unused:
    """An included run that no model uses, because another one stands for its time point.

    Attributes
    ----------
    dataset, subject, time_point
        Whose it is; the subject without ``sub-``.
    run
        Key of the run.
    used
        Key of the run that is used.
    """

    dataset: str
    subject: str
    time_point: str
    run: str
    used: str


def choose(
    cohort: pd.DataFrame, runs: pd.DataFrame, policy: CombineRuns
) -> tuple[pd.DataFrame, tuple[Unused, ...]]:
    """The cohort with the runs that a policy uses.

    Parameters
    ----------
    cohort
        `cohort.tsv`: one row per person and time point, with the keys of included runs.
    runs
        `runs.tsv`.
    policy
        `connectivity.combine_runs`.

    Returns
    -------
    cohort
        The same rows; where a run was chosen among several, `runs`, `n_runs`, `df` and `mean_fd` are its own.
    unused
        The runs left aside, in the order of the table.

    Raises
    ------
    InputError
        The cohort lists a run that the run table does not have.
    """
    table, known = as_text(cohort), _known(runs)
    if policy == "weighted":
        return table, ()
    best = {"first": _first, "most_df": _most}[policy]
    rows, unused = [], []
    for row in table.to_dict("records"):
        listed = [_find(key, known) for key in _keys(row["runs"])]
        if len(listed) > 1:
            used = best(listed)
            place = (row["dataset"], row["subject"], row["time_point"])
            unused += [Unused(*place, r["run"], used["run"]) for r in listed if r is not used]
            row |= {name: value for name, value in imaging([used]).items() if name in row}
        rows.append(row)
    return pd.DataFrame(rows, columns=table.columns), tuple(unused)


def _keys(cell: str) -> list[str]:
    return [] if cell == MISSING else cell.split(";")


def _find(key: str, known: Mapping[str, _Row]) -> _Row:
    if key not in known:
        raise InputError(f"run {key} of the cohort is absent in runs.tsv; make the cohort again")
    return known[key]


def _known(runs: pd.DataFrame) -> dict[str, _Row]:
    """Rows of `runs.tsv` by run key; columns that a table lacks are missing values."""
    columns = ("run", "df", "mean_fd", "frames_kept", *ORDER)
    table = as_text(runs).reindex(columns=list(columns), fill_value=MISSING)
    return {row["run"]: {str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")}


def _place(row: _Row) -> tuple[object, ...]:
    labels = ["" if row[name] == MISSING else row[name] for name in ORDER]
    return (*map(natural, labels), row["run"])


def _first(rows: Sequence[_Row]) -> _Row:
    return min(rows, key=_place)


def _most(rows: Sequence[_Row]) -> _Row:
    """The most degrees of freedom; of equal ones the first."""
    return min(rows, key=lambda row: (-float(row["df"]), _place(row)))
