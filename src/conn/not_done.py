"""A clinical analysis that cannot be done with the people there are: the reason stands for its results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from conn import paths
from conn.errors import DesignError, TooLittleDataError
from conn.files import read_json, write_json
from conn.tables import write_tsv

REFUSALS = (DesignError, TooLittleDataError)
"""What says that the people there are do not suffice. Anything else is wrong, and stops."""

_KEY = "not_done"


@contextmanager
def unless_refused(
    out: Path,
    kind: str,
    name: str,
    columns: Sequence[str] = (),
    *,
    status: str | None = None,
    more: Sequence[str] = (),
    more_tables: Sequence[str] = (),
) -> Iterator[None]:
    """Let a stage run; where it refuses, write the reason in place of its results.

    Other analyses and the report go on, as they do when a scan is bad: an analysis that is short of people is
    not an error of those that are not.

    Parameters
    ----------
    out
        Output folder.
    kind
        Folder of the results.
    name
        Of the analysis.
    columns
        Of its table, which is left without rows; none for no table.
    status
        What the lock says of the analysis; None where nothing is tested.
    more
        Ends of the names of further files, such as ``_model.json``, that hold the reason too.
    more_tables
        Ends of the names of further tables, such as ``_trials.tsv``, which are left without rows too.
    """
    try:
        yield
    except REFUSALS as error:
        print(f"not done: {error}", flush=True)
        record = {"name": name, "status": status, _KEY: str(error)}
        _forget(out, kind, name)
        for end in (".tsv", *more_tables) if columns else ():
            write_tsv(out / paths.analysis(kind, name, end), pd.DataFrame(columns=pd.Index(columns)))
        for end in (*more, ".json"):
            write_json(out / paths.analysis(kind, name, end), record)


def _forget(out: Path, kind: str, name: str) -> None:
    """Remove what was written before the stage refused, or by an earlier run."""
    folder = (out / paths.analysis(kind, name)).parent
    for path in [*folder.glob(f"{name}.*"), *folder.glob(f"{name}_*")]:
        path.unlink()


def reason(out: Path, kind: str, name: str) -> str | None:
    """Why an analysis was not done; None when it was, or has not run.

    Parameters
    ----------
    out
        Output folder.
    kind
        Folder of the results.
    name
        Of the analysis.
    """
    path = out / paths.analysis(kind, name)
    found = read_json(path).get(_KEY) if path.is_file() else None
    return None if found is None else str(found)


def lines(out: Path, analyses: Iterable[tuple[str, str]]) -> list[str]:
    """A line for a terminal for each of some analyses, given as folder and name, that was not done."""
    reasons = [(f"{kind} {name}", reason(out, kind, name)) for kind, name in analyses]
    return [f"not done: {analysis}: {why}" for analysis, why in reasons if why is not None]


def done(out: Path, kind: str, names: Iterable[str]) -> list[str]:
    """Those of some analyses that have results."""
    return [
        name
        for name in names
        if (out / paths.analysis(kind, name)).is_file() and reason(out, kind, name) is None
    ]
