"""What the report reads of a replication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import not_done, paths
from conn.config.model import Config
from conn.config.replication import Replication
from conn.files import read_json
from conn.report.contract import numeric
from conn.stages.replication_table import NAMES, TEXT
from conn.tables import read_tsv

KIND = "replication"


@dataclass(frozen=True, eq=False)
class ReplicationResult:
    """One analysis.

    Attributes
    ----------
    name, asked
        Of the analysis, and its options.
    pooled
        One row per contrast and feature: what the trials say together.
    trials
        One row per contrast, feature and trial.
    record
        The summary.
    """

    name: str
    asked: Replication
    pooled: pd.DataFrame
    trials: pd.DataFrame
    record: Mapping[str, Any]

    @property
    def alpha(self) -> float:
        """Error rate."""
        return float(self.record["alpha"])

    @property
    def contrasts(self) -> list[str]:
        """Contrasts with results."""
        return [name for name, one in self.record["contrasts"].items() if one["skipped"] is None]

    def fitted(self, contrast: str) -> list[Mapping[str, Any]]:
        """Trials in which a contrast was fitted."""
        return [one for one in self.record["contrasts"][contrast]["trials"] if "n" in one]

    @property
    def most_trials(self) -> int:
        """Trials of the contrast that has most."""
        return max(len(self.fitted(contrast)) for contrast in self.contrasts)

    def ranked(self, contrast: str, kind: str | None = None) -> pd.DataFrame:
        """Features of a contrast that were tested, networks first, strongest first within kinds."""
        rows = self.pooled[self.pooled["contrast"] == contrast]
        rows = rows if kind is None else rows[rows["kind"] == kind]
        rows = rows[np.isfinite(rows["p_fwe"].to_numpy(float))]
        order = np.lexsort(
            (-rows["z"].abs().to_numpy(float), rows["p_fwe"].to_numpy(float), rows["kind"] != "network")
        )
        found: pd.DataFrame = rows.iloc[order]
        return found

    def of(self, row: Mapping[Any, Any]) -> pd.DataFrame:
        """Rows of the trials that have a feature, in the order of the trials."""
        keep = np.isfinite(self.trials["estimate"].to_numpy(float))
        for name in NAMES:
            keep &= (self.trials[name] == row[name]).to_numpy()
        found: pd.DataFrame = self.trials.loc[keep]
        return found


def results(out: Path, config: Config) -> Iterator[ReplicationResult]:
    """Every replication that has results.

    Parameters
    ----------
    out
        Output folder.
    config
        What was asked for.
    """
    for name in not_done.done(out, KIND, config.replication):
        tables = [_table(out / paths.analysis(KIND, one, ".tsv")) for one in (name, f"{name}_trials")]
        record = read_json(out / paths.analysis(KIND, name))
        yield ReplicationResult(name, config.replication[name], tables[0], tables[1], record)


def _table(path: Path) -> pd.DataFrame:
    table = read_tsv(path)
    return numeric(table, _numbers(list(table.columns)))


def _numbers(columns: Sequence[str]) -> list[str]:
    return [column for column in columns if column not in TEXT]
