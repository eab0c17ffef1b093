"""Confounds tables of fMRIPrep: which columns clean a run, and which volumes are censored.

Strategies carry the names and columns under which they were compared in Wang et al. 2024
(10.1371/journal.pcbi.1011942). fMRIPrep's ``cosine`` columns are never selected: the frequencies to remove
belong to the projection, and one set of them is enough.

CompCor components (10.1016/j.neuroimage.2007.04.042) are chosen by the JSON file beside the table. Names do
not tell: in older versions of fMRIPrep the ``a_comp_cor`` columns are of three masks, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conn.errors import InputError
from conn.files import read_json
from conn.tables import MISSING, read_cells

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FD = "framewise_displacement"
MIN_SEGMENT = 5
"""Fewest contiguous volumes kept between censored ones when a strategy censors motion."""

HIGH_PASS_S = 128.0
"""Cut-off in seconds of the cosines that fMRIPrep removes before it computes components."""

EXPLAINED = 0.5
"""Share of a mask's variance that the components of a strategy explain, as in the published comparison."""

_PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_EXPANSIONS = ("", "_derivative1", "_power2", "_derivative1_power2")
_COMPONENT = re.compile(r"a_comp_cor_(\d+)")
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
    censored for motion. `components` is the most anatomical CompCor components that are regressed out beside
    `columns`; None: as many as explain half the variance of their mask.
    """

    columns: tuple[str, ...]
    fd_threshold: float | None = None
    components: int | None = 0


def _strategies() -> dict[str, Strategy]:
    plain = {
        "simple": Strategy((*MOTION_24, "csf", "white_matter")),
        "scrubbing.5": Strategy((*MOTION_24, *TISSUE_8), 0.5),
        "scrubbing.2": Strategy((*MOTION_24, *TISSUE_8), 0.2),
        "compcor": Strategy(MOTION_24, components=None),
        "compcor6": Strategy(MOTION_24, components=6),
        "24P": Strategy(MOTION_24),
    }
    table = {}
    for name, strategy in plain.items():
        table[name] = strategy
        table[f"{name}+gsr"] = replace(strategy, columns=(*strategy.columns, "global_signal"))
    table["32P"] = Strategy((*MOTION_24, *TISSUE_8))
    table["36P"] = Strategy((*MOTION_24, *TISSUE_8, *GLOBAL_4))
    return table


STRATEGIES: dict[str, Strategy] = _strategies()
"""Strategies by name: those that `denoise.strategy` may have."""


def lowest_high_pass(strategy: str) -> float:
    """Lowest high-pass frequency in Hz that a strategy goes with; 0 for any.

    Components come from data that fMRIPrep high-passed at 128 s, so they cannot clean slower frequencies, and
    what is projected out of those would be noise. 1/128 Hz may be given as 0.0078.
    """
    return 0.0 if STRATEGIES[strategy].components == 0 else round(1.0 / HIGH_PASS_S, 4)


def takes_components(strategy: str) -> bool:
    """Whether a strategy needs the JSON file of the confounds table."""
    return STRATEGIES[strategy].components != 0


@dataclass(frozen=True)
class Components:
    """Anatomical CompCor components of the combined mask of CSF and white matter.

    Attributes
    ----------
    columns : tuple of str
        Those that explain half the variance of the mask, strongest first.
    problem : str
        Why there are none.
    """

    columns: tuple[str, ...] = ()
    problem: str = "no JSON file describes its columns"


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
    dvars : float
        Mean standardised DVARS (``std_dvars``) of the same volumes; NaN when the table has none.
    """

    strategy: str
    columns: tuple[str, ...]
    regressors: FloatArray
    censored: BoolArray
    dummy: BoolArray
    mean_fd: float
    dvars: float = float("nan")


def read_confounds(path: Path) -> pd.DataFrame:
    """Read a confounds table.

    Parameters
    ----------
    path
        A ``_desc-confounds_timeseries.tsv`` or, from older versions, ``_regressors.tsv``.

    Returns
    -------
    DataFrame of float64, one row per volume
        ``n/a`` and empty cells are NaN. ``attrs["source"]`` is the name of the file, for messages, and
        ``attrs["components"]`` the `Components` that the JSON file beside it tells of.

    Raises
    ------
    InputError
        The file is not a table (see `conn.tables.read_tsv`), or a cell is not a number.
    """
    names, rows = read_cells(path)
    if any('"' in cell for row in (names, *rows) for cell in row):
        # Tables that went through R or a spreadsheet have every name, or every cell, in quotes.
        names, rows = [_unquote(name) for name in names], [[_unquote(cell) for cell in row] for row in rows]
    try:
        values = np.array([[_number(cell) for cell in row] for row in rows], dtype=np.float64)
    except ValueError:
        raise InputError(_not_a_number(path, names, rows)) from None
    table = pd.DataFrame(values.reshape(len(rows), len(names)), columns=pd.Index(names))
    table.attrs["source"] = path.name
    table.attrs["components"] = _read_components(metadata_file(path))
    return table


def metadata_file(path: Path) -> Path:
    """The JSON file that describes the columns of a confounds table."""
    return path.with_suffix(".json")


def _read_components(path: Path) -> Components:
    """Components by the metadata of a table; what is wrong with it matters only to those who need it."""
    if not path.is_file():
        return Components(problem=f"{path.name}, which fMRIPrep writes beside the table, is not there")
    try:
        metadata = read_json(path)
    except OSError as error:
        return Components(problem=f"{path.name} cannot be read ({error.strerror})")
    except ValueError as error:
        return Components(problem=f"{path.name} is not JSON ({error})")
    if not isinstance(metadata, dict):
        return Components(problem=f"{path.name} is not a JSON object")
    columns = combined_components(metadata)
    if columns:
        return Components(columns, "")
    masks = sorted({str(entry["Mask"]) for entry in metadata.values() if _is_anatomical(entry)})
    if not masks:
        without = f"{path.name} gives no column the method aCompCor and a mask"
        return Components(problem=f"{without}, as fMRIPrep 1.4 and newer do")
    return Components(problem=f"{path.name} has no retained one (masks there: {', '.join(masks)})")


def combined_components(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns of the components of the combined mask that explain half its variance.

    fMRIPrep retains just those unless it is told to return all components; then all count as retained, and
    the cumulative variance tells where half is reached.

    Parameters
    ----------
    metadata
        Content of the JSON file beside a confounds table of fMRIPrep 1.4 or newer: one object for each column
        with Method, Mask, Retained and CumulativeVarianceExplained.

    Returns
    -------
    tuple of str
        Strongest first. Entries of components that are no columns (``dropped``) are never among them.
    """
    numbered = {
        int(match[1]): name
        for name, entry in metadata.items()
        if (match := _COMPONENT.fullmatch(name)) and _is_anatomical(entry)
        if entry["Mask"] == "combined" and entry.get("Retained") is not False
    }
    columns = []
    for _, name in sorted(numbered.items()):
        columns.append(name)
        explained = metadata[name].get("CumulativeVarianceExplained")
        if isinstance(explained, int | float) and explained >= EXPLAINED:
            break
    return tuple(columns)


def _is_anatomical(entry: Any) -> bool:
    """Whether the metadata of a column are those of anatomical CompCor and say which mask."""
    if not isinstance(entry, dict):
        return False
    return entry.get("Method") == "aCompCor" and isinstance(entry.get("Mask"), str)


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _number(cell: str) -> float:
    return float("nan") if cell in ("", MISSING) else float(cell)


def _not_a_number(path: Path, names: list[str], rows: list[list[str]]) -> str:
    for column, name in enumerate(names):
        for volume, row in enumerate(rows):
            try:
                _number(row[column])
            except ValueError:
                return f"{path}: column {name!r}, volume {volume}: {row[column]!r} is not a number"
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
    """Names of the strategies whose columns are all in a table, with values, in the order of `STRATEGIES`."""
    return tuple(name for name, strategy in STRATEGIES.items() if _can_run(table, strategy))


def select(table: pd.DataFrame, strategy: str, dummy_scans: int = 0) -> ConfoundSelection:
    """Columns and censored volumes of a strategy (10.1371/journal.pcbi.1011942).

    Derivatives have no value in the first volume. That cell becomes the mean of the rest of its column:
    after demeaning it is 0, so the first volume has no say in the weight of that column. A missing value
    anywhere else is an error.

    ``compcor6`` takes six components, or fewer where fewer explain half the variance: fMRIPrep writes no
    others, and the loader of nilearn, with which strategies were compared, takes what there is.

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
        Columns or the metadata of components are missing (all are named, with the nearest strategy that can
        run), a value is missing after the first volume, or there are not more volumes than dummy scans.
    """
    wanted = STRATEGIES[strategy]
    lacking = _lacking(table, wanted)
    if lacking:
        raise InputError(_explain_lacking(table, strategy, lacking))
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
    columns = _columns(table, wanted)
    return ConfoundSelection(
        strategy=strategy,
        columns=columns,
        regressors=_fill_first_row(table, columns),
        censored=censored,
        dummy=dummy,
        mean_fd=float(kept.mean()) if kept.size else float("nan"),
        dvars=_mean_dvars(table, dummy),
    )


def _mean_dvars(table: pd.DataFrame, dummy: BoolArray) -> float:
    """Mean of what fMRIPrep calls ``std_dvars``, without dummy scans and the first volume, which has none."""
    if "std_dvars" not in table.columns:
        return float("nan")
    values = table["std_dvars"].to_numpy()[1:][~dummy[1:]]
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


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


def _components(table: pd.DataFrame) -> Components:
    found = table.attrs.get("components")
    return found if isinstance(found, Components) else Components()


def _columns(table: pd.DataFrame, strategy: Strategy) -> tuple[str, ...]:
    """Columns that a strategy takes from this table."""
    return (*strategy.columns, *_components(table).columns[: strategy.components])


def _lacking(table: pd.DataFrame, strategy: Strategy) -> str:
    """What a strategy needs that the table, or the JSON file beside it, lacks, in words; else empty."""
    present = set(table.columns)
    missing = tuple(name for name in (*_columns(table, strategy), FD) if name not in present)
    parts = [f"{_count(missing)} that the table lacks: {', '.join(missing)}"] if missing else []
    found = _components(table)
    if strategy.components != 0 and not found.columns:
        parts.append(f"anatomical CompCor components of the combined mask, but {found.problem}")
    return "; and ".join(parts)


def _can_run(table: pd.DataFrame, strategy: Strategy) -> bool:
    if _lacking(table, strategy):
        return False
    values = table[[*_columns(table, strategy), FD]].to_numpy(dtype=np.float64)
    return bool(np.isfinite(values[1:]).all())


def _explain_lacking(table: pd.DataFrame, strategy: str, lacking: str) -> str:
    message = f"{_source(table)}: strategy {strategy!r} needs {lacking}. "
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
    """The runnable strategy that censors alike, cleans alike of tissue, and has fewest columns changed."""
    wanted = STRATEGIES[strategy]

    def distance(name: str) -> tuple[bool, bool, int]:
        other = STRATEGIES[name]
        changed = set(_columns(table, other)) ^ set(_columns(table, wanted))
        return (
            other.fd_threshold != wanted.fd_threshold,
            _cleans_tissue(other) != _cleans_tissue(wanted),
            len(changed),
        )

    return min(runnable(table), key=distance, default=None)


def _cleans_tissue(strategy: Strategy) -> bool:
    return strategy.components != 0 or bool(set(strategy.columns) & set(TISSUE_8))


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
