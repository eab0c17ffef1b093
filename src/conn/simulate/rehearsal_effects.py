"""Effects in a dress rehearsal that are tied to columns of the real tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.bids import bare_label
from conn.errors import ConfigError, InputError
from conn.files import read_json
from conn.simulate.edges import PlantedEdge, place_of
from conn.tables import MISSING, read_tsv, to_number

Array = NDArray[np.float64]
Scan = tuple[str, str]
"""Labels of subject and session; the session is empty where a data set has none."""

PARTICIPANTS = "participants.tsv"


@dataclass(frozen=True)
class ColumnEffect:
    """What a column of a real table does to a planted edge.

    Attributes
    ----------
    roi_a, roi_b
        A planted edge.
    column
        Name of the column.
    level, delta_z
        Scans of people whose cell holds this level have this much more Fisher z.
    slope
        Fisher z for each unit by which the number in the column differs from its mean over all scans
        concerned.
    sessions
        Labels of the sessions concerned; empty for all.
    table
        Its path in the data set. In a table with `session_id` the row of the scan's own session counts.
    minus
        The number in this column is subtracted first, as of the score before treatment.
    minus_session
        The same in a table with `session_id`: the number of this session is subtracted.
    where
        Levels in `participants.tsv` that the people concerned have, by column.
    """

    roi_a: str
    roi_b: str
    column: str
    level: str | None = None
    delta_z: float = 0.0
    slope: float = 0.0
    sessions: tuple[str, ...] = ()
    table: str = PARTICIPANTS
    minus: str | None = None
    minus_session: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an effect that is neither of a level nor of a number."""
        if (self.level is None) == (self.slope == 0.0):
            raise ConfigError(
                f"effect of column {self.column!r}: give level and delta_z, or slope, and not both"
            )


@dataclass(frozen=True)
class Plan:
    """Edges and effects of a rehearsal; the keys of `delta_z` are session labels."""

    edges: tuple[PlantedEdge, ...]
    effects: tuple[ColumnEffect, ...] = ()


_GENERAL = PlantedEdge("thalamusMDL", "supramarginalL", 0.25)
_SPECIAL = PlantedEdge("dACCR", "insulaR", 0.3)
_GRADED = PlantedEdge("pgACCL", "middleTemporalL", 0.0, person_sd=0.1, change_sd=0.1)

PLANS: Mapping[str, Plan] = {
    "ds003007": Plan(
        (
            replace(_GENERAL, delta_z={"post": -0.5}),
            _SPECIAL,
            _GRADED,
        ),
        (
            ColumnEffect("dACCR", "insulaR", "group", level="depr_cbt", delta_z=-0.6, sessions=("post",)),
            ColumnEffect(
                "pgACCL",
                "middleTemporalL",
                "BDI_ses-post",
                slope=-0.03,
                sessions=("post",),
                minus="BDI_ses-pre",
            ),
        ),
    ),
    "ds005917": Plan(
        (
            replace(_GENERAL, delta_z={"d2": -0.5}),
            _SPECIAL,
            _GRADED,
        ),
        (
            ColumnEffect(
                "dACCR",
                "insulaR",
                "MADRS_Total",
                slope=0.02,
                sessions=("b0",),
                table="phenotype/phenotype.tsv",
                where={"group": "MDD"},
            ),
            ColumnEffect(
                "pgACCL",
                "middleTemporalL",
                "MADRS_Total",
                slope=-0.02,
                sessions=("d2",),
                table="phenotype/phenotype.tsv",
                minus_session="b0",
            ),
        ),
    ),
    "ds000208": Plan(
        (_GENERAL, _SPECIAL, _GRADED),
        (
            ColumnEffect("thalamusMDL", "supramarginalL", "type", level="patient", delta_z=-0.5),
            ColumnEffect("dACCR", "insulaR", "Response", level="1", delta_z=-0.6, where={"Drug": "placebo"}),
            ColumnEffect(
                "pgACCL",
                "middleTemporalL",
                "% Analsesia VAS",  # codespell:ignore
                slope=0.006,
                where={"Drug": "duloxetine"},
            ),
        ),
    ),
}
"""What `--plant` puts into the data sets of OpenNeuro that conn has examples for: something general,
something in some of the people, and something that grows with a score."""


def plan_for(skeleton: Path) -> Plan:
    """The plan of a known data set, by the DOI in its description.

    Raises
    ------
    InputError
        The data set is none of those that have a plan.
    """
    path = skeleton / "dataset_description.json"
    doi = str(read_json(path).get("DatasetDOI", "")) if path.is_file() else ""
    for name, plan in PLANS.items():
        if name in doi:
            return plan
    raise InputError(
        f"{path}: DatasetDOI {doi!r} is none of {', '.join(PLANS)}, for which effects are planned. Leave "
        "--plant out, or give edges and effects to conn.simulate.rehearse."
    )


def shifts(
    skeleton: Path, scans: Sequence[Scan], edges: Sequence[PlantedEdge], effects: Sequence[ColumnEffect]
) -> tuple[Array, list[dict[str, Any]]]:
    """What columns add to the planted edges of each scan.

    Parameters
    ----------
    skeleton
        Folder with the tables.
    scans
        All scans of the data set.
    edges
        Planted edges.
    effects
        What columns do to them.

    Returns
    -------
    shift : ndarray of shape (n_scans, n_edges)
        In Fisher z.
    records : list of dict
        The effects as they are written to `truth.json`, with the number of scans concerned and the mean
        of the column over them.

    Raises
    ------
    InputError
        A table or column is not there, a cell is no number where one is needed, or no scan is concerned.
    """
    shift = np.zeros((len(scans), len(edges)))
    records = []
    for effect in effects:
        values = list(_values(skeleton, scans, effect))
        column, mean = _amounts(values, effect)
        concerned = int(np.isfinite(column).sum())
        if not concerned:
            raise InputError(
                f"{skeleton / effect.table}: no scan is concerned by the effect of column "
                f"{effect.column!r}; check level, sessions and where"
            )
        shift[:, place_of(edges, effect.roi_a, effect.roi_b)] += np.nan_to_num(column)
        record = {key: value for key, value in asdict(effect).items() if value not in (None, (), {}, 0.0)}
        records.append(record | {"scans": concerned, "column_mean": mean})
    return shift, records


def _amounts(values: Sequence[str | float | None], effect: ColumnEffect) -> tuple[Array, float | None]:
    """Fisher z that each scan gets, NaN for those not concerned, and the mean that numbers count from."""
    if effect.level is not None:
        met = np.array([value == effect.level for value in values])
        return np.where(met, effect.delta_z, np.nan), None
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    if np.isnan(numbers).all():
        return numbers, None
    mean = float(np.nanmean(numbers))
    return effect.slope * (numbers - mean), mean


def _values(skeleton: Path, scans: Iterable[Scan], effect: ColumnEffect) -> Iterator[str | float | None]:
    """Cell of each scan: text for a level, a number for a slope; None for scans that are not concerned."""
    cells = _cells(skeleton, effect.table, effect.column)
    others = cells if effect.minus is None else _cells(skeleton, effect.table, effect.minus)
    limits = [(_cells(skeleton, PARTICIPANTS, name), level) for name, level in effect.where.items()]
    for subject, session in scans:
        concerned = not effect.sessions or session in effect.sessions
        if not concerned or any(_cell(table, subject, "") != level for table, level in limits):
            yield None
        elif effect.level is not None:
            yield _cell(cells, subject, session)
        else:
            number = _number(effect, _cell(cells, subject, session))
            subtracted = 0.0
            if effect.minus is not None or effect.minus_session is not None:
                before = session if effect.minus_session is None else effect.minus_session
                subtracted = _number(effect, _cell(others, subject, before))
            yield None if np.isnan(number - subtracted) else number - subtracted


def _number(effect: ColumnEffect, cell: str) -> float:
    try:
        return to_number(cell)
    except ValueError:
        raise InputError(
            f"{effect.table}: column {effect.column!r} has {cell!r}, which is no number; give level and "
            "delta_z instead of slope"
        ) from None


def _cell(cells: Mapping[Scan, str], subject: str, session: str) -> str:
    """Cell of a person and session; of the person where the table knows no sessions."""
    return cells.get((subject, session), cells.get((subject, ""), MISSING))


def _cells(skeleton: Path, path: str, column: str) -> dict[Scan, str]:
    table: pd.DataFrame = read_tsv(skeleton / path)
    for name in ("participant_id", column):
        if name not in table.columns:
            raise InputError(
                f"{skeleton / path}: no column {name!r}; there are {', '.join(map(str, table.columns))}"
            )
    sessions = table["session_id"] if "session_id" in table.columns else [""] * len(table)
    return {
        (bare_label(subject), str(session).removeprefix("ses-")): cell
        for subject, session, cell in zip(table["participant_id"], sessions, table[column], strict=True)
    }
