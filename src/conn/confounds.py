"""Confounds tables of fMRIPrep: which columns clean a run, and which volumes are censored.

Strategies carry the names and columns under which they were compared in Wang et al. 2024
(10.1371/journal.pcbi.1011942). fMRIPrep's ``cosine`` columns are never selected: the frequencies to remove
belong to the projection, and one set of them is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conn.errors import InputError
from conn.tables import MISSING, read_tsv

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FD = "framewise_displacement"
MIN_SEGMENT = 5
"""Fewest contiguous volumes kept between censored ones when a strategy censors motion."""

_PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_EXPANSIONS = ("", "_derivative1", "_power2", "_derivative1_power2")
_OLD_NAMES = frozenset({"X", "RotX", "FramewiseDisplacement", "GlobalSignal", "WhiteMatter", "stdDVARS"})


def _expand(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}{expansion}" for name in names for expansion in _EXPANSIONS)


MOTION_24 = _expand(_PARAMETERS)
"""Six motion parameters, their derivatives, and the squares of both (10.1002/mrm.1910350312)."""

TISSUE_8 = _expand(("csf", "white_matter"))
"""Mean signals of CSF and white matter, their derivatives, and the squares of both."""

GLOBAL_4 = _expand(("global_signal",))
"""Mean signal of the brain, its derivative, and the squares of both."""


@dataclass(frozen=True)
class Strategy:
    """A named set of confounds.

    `columns` are regressed out; volumes whose framewise displacement is above `fd_threshold` (mm) are
    censored, and so are segments of fewer than `MIN_SEGMENT` volumes between them. None: no volume is
    censored for motion.
    """

    columns: tuple[str, ...]
    fd_threshold: float | None = None


def _strategies() -> dict[str, Strategy]:
    plain = {
        "simple": Strategy((*MOTION_24, "csf", "white_matter")),
        "scrubbing.5": Strategy((*MOTION_24, *TISSUE_8), 0.5),
        "scrubbing.2": Strategy((*MOTION_24, *TISSUE_8), 0.2),
        "24P": Strategy(MOTION_24),
    }
    table = {}
    for name, strategy in plain.items():
        table[name] = strategy
        table[f"{name}+gsr"] = Strategy((*strategy.columns, "global_signal"), strategy.fd_threshold)
    table["32P"] = Strategy((*MOTION_24, *TISSUE_8))
    table["36P"] = Strategy((*MOTION_24, *TISSUE_8, *GLOBAL_4))
    return table


STRATEGIES: dict[str, Strategy] = _strategies()
"""Strategies by name: those that `denoise.strategy` may have."""


@dataclass(frozen=True)
class ConfoundSelection:
    """What a strategy takes from one confounds table.

    Attributes
    ----------
    strategy : str
        Its name.
    columns : tuple of str
        The q columns of `regressors`.
    regressors : ndarray of shape (T, q)
        Float64, no NaN, in the units of the table (mm, radians, signal).
    censored : ndarray of shape (T,), bool
        Volumes to leave out: `dummy`, high motion, and short segments between them.
    dummy : ndarray of shape (T,), bool
        Volumes at the start: configured dummy scans and those that fMRIPrep calls non-steady state.
    mean_fd : float
        Mean framewise displacement (mm) of the volumes that are not dummy scans. The first volume, which
        has no displacement, does not count; NaN when none is left.
    """

    strategy: str
    columns: tuple[str, ...]
    regressors: FloatArray
    censored: BoolArray
    dummy: BoolArray
    mean_fd: float


def read_confounds(path: Path) -> pd.DataFrame:
    """Read a confounds table.

    Parameters
    ----------
    path
        A ``_desc-confounds_timeseries.tsv`` or, from older versions, ``_regressors.tsv``.

    Returns
    -------
    DataFrame of float64, one row per volume
        ``n/a`` and empty cells are NaN. ``attrs["source"]`` is the name of the file, for messages.

    Raises
    ------
    InputError
        The file is not a table (see `conn.tables.read_tsv`), or a cell is not a number.
    """
    # Tables that went through R or a spreadsheet have every name, or every cell, in quotes.
    text = read_tsv(path).map(_unquote).rename(columns=_unquote)
    cells = text.to_numpy(dtype=object)
    cells = np.where((cells == MISSING) | (cells == ""), "nan", cells)
    try:
        values = cells.astype(np.float64)
    except ValueError:
        raise InputError(_not_a_number(path, text)) from None
    table = pd.DataFrame(values, columns=text.columns)
    table.attrs["source"] = path.name
    return table


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _not_a_number(path: Path, text: pd.DataFrame) -> str:
    for name in text.columns:
        for row, cell in enumerate(text[name]):
            try:
                float("nan" if cell in ("", MISSING) else cell)
            except ValueError:
                return f"{path}: column {name!r}, volume {row}: {cell!r} is not a number"
    return f"{path}: a cell is not a number"


def check_rows(table: pd.DataFrame, volumes: int) -> None:
    """Refuse a table that has not one row per volume.

    Parameters
    ----------
    table
        See `read_confounds`.
    volumes
        Number of volumes of the image.

    Raises
    ------
    InputError
        The numbers differ.
    """
    if len(table) != volumes:
        raise InputError(
            f"{_source(table)}: {len(table)} rows, but the image has {volumes} volumes. "
            "Image and confounds must come from the same fMRIPrep run."
        )


def runnable(table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the strategies whose columns are all in a table, in the order of `STRATEGIES`."""
    return tuple(name for name in STRATEGIES if not _missing(table, STRATEGIES[name]))


def select(table: pd.DataFrame, strategy: str, dummy_scans: int = 0) -> ConfoundSelection:
    """Columns and censored volumes of a strategy (10.1371/journal.pcbi.1011942).

    Derivatives have no value in the first volume. That cell becomes the mean of the rest of its column:
    after demeaning it is 0, so the first volume has no say in the weight of that column. A missing value
    anywhere else is an error.

    Parameters
    ----------
    table
        See `read_confounds`.
    strategy
        A name in `STRATEGIES`.
    dummy_scans
        Volumes at the start to censor, beside those in ``non_steady_state_outlier`` columns.

    Returns
    -------
    ConfoundSelection

    Raises
    ------
    InputError
        Columns are missing (all are named, with the nearest strategy that can run), a value is missing
        after the first volume, or there are not more volumes than dummy scans.
    """
    wanted = STRATEGIES[strategy]
    missing = _missing(table, wanted)
    if missing:
        raise InputError(_explain_missing(table, strategy, missing))
    if dummy_scans >= len(table):
        raise InputError(
            f"{_source(table)}: {len(table)} volumes, dummy_scans = {dummy_scans}. Nothing would be left."
        )
    dummy = _dummy(table, dummy_scans)
    fd = _framewise_displacement(table)
    censored = dummy
    if wanted.fd_threshold is not None:
        censored = drop_short_segments(dummy | (fd > wanted.fd_threshold), MIN_SEGMENT)
    kept = fd[1:][~dummy[1:]]
    return ConfoundSelection(
        strategy=strategy,
        columns=wanted.columns,
        regressors=_fill_first_row(table, wanted.columns),
        censored=censored,
        dummy=dummy,
        mean_fd=float(kept.mean()) if kept.size else float("nan"),
    )


def drop_short_segments(censored: BoolArray, shortest: int) -> BoolArray:
    """Censor uncensored segments that are too short, where something else is censored.

    Parameters
    ----------
    censored : ndarray of shape (T,), bool
        Volumes already censored. When there are none, nothing changes.
    shortest
        Fewest volumes that a segment needs to stay.

    Returns
    -------
    ndarray of shape (T,), bool
    """
    if not censored.any():
        return censored.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[True], censored, [True]]).astype(np.int8)))
    result = censored.copy()
    for start, stop in edges.reshape(-1, 2):
        if stop - start < shortest:
            result[start:stop] = True
    return result


def _source(table: pd.DataFrame) -> str:
    return str(table.attrs.get("source", "confounds table"))


def _missing(table: pd.DataFrame, strategy: Strategy) -> tuple[str, ...]:
    present = set(table.columns)
    return tuple(name for name in (*strategy.columns, FD) if name not in present)


def _explain_missing(table: pd.DataFrame, strategy: str, missing: tuple[str, ...]) -> str:
    message = f"{_source(table)}: strategy {strategy!r} needs {_count(missing)} that the table lacks: "
    message += ", ".join(missing) + ". "
    if _OLD_NAMES & set(table.columns):
        return message + (
            "The table has the column names of fMRIPrep 1.0 or 1.1 (X, RotX, FramewiseDisplacement). "
            "Preprocess with fMRIPrep 20.2 or newer."
        )
    nearest = _nearest(table, strategy)
    if nearest is None:
        return message + "No strategy can run with this table; fMRIPrep 20.2 or newer writes what is needed."
    return message + (
        f"The nearest strategy that can run with this table is {nearest!r}: set denoise.strategy, for all "
        "runs, or exclude the run."
    )


def _count(names: tuple[str, ...]) -> str:
    return "1 column" if len(names) == 1 else f"{len(names)} columns"


def _nearest(table: pd.DataFrame, strategy: str) -> str | None:
    """The runnable strategy that censors alike, and of these the one with the fewest columns changed."""
    wanted = STRATEGIES[strategy]

    def distance(name: str) -> tuple[bool, int]:
        other = STRATEGIES[name]
        return other.fd_threshold != wanted.fd_threshold, len(set(other.columns) ^ set(wanted.columns))

    return min(runnable(table), key=distance, default=None)


def _dummy(table: pd.DataFrame, dummy_scans: int) -> BoolArray:
    dummy = np.arange(len(table)) < dummy_scans
    for name in table.columns:
        if str(name).startswith("non_steady_state_outlier"):
            dummy |= table[name].to_numpy() > 0
    return dummy


def _framewise_displacement(table: pd.DataFrame) -> FloatArray:
    """Framewise displacement (mm) of shape (T,); NaN in the first volume only."""
    fd = table[FD].to_numpy(dtype=np.float64)
    _refuse_missing(table, fd[1:, None], (FD,))
    return fd


def _fill_first_row(table: pd.DataFrame, columns: tuple[str, ...]) -> FloatArray:
    values = table[list(columns)].to_numpy(dtype=np.float64, copy=True)
    _refuse_missing(table, values[1:], columns)
    if np.isnan(values[0]).any() and len(values) < 2:
        raise InputError(f"{_source(table)}: one volume only; derivatives have no value in the first volume")
    empty = np.isnan(values[0])
    values[0, empty] = values[1:, empty].mean(axis=0)
    _refuse_missing(table, values[:1], columns, first=0)
    return values


def _refuse_missing(
    table: pd.DataFrame, values: FloatArray, columns: tuple[str, ...], first: int = 1
) -> None:
    """Raise when a value is NaN or infinite; row 0 of `values` is volume `first`."""
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        row, column = (int(i) for i in wrong[0])
        found = "n/a" if np.isnan(values[row, column]) else str(values[row, column])
        raise InputError(
            f"{_source(table)}: column {columns[column]!r}, volume {row + first} is {found}; a value may be "
            f"missing in the first volume only ({len(wrong)} such cells)."
        )
