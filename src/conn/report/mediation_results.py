"""What the report reads of a mediation analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import not_done, paths
from conn.config.mediation import Mediation
from conn.config.model import Config
from conn.files import read_json
from conn.tables import MISSING, read_tsv

TEXT = ("kind", "roi_a", "roi_b", "network", "seed", "proportion_flag", "status")
KINDS = {"edge": "edge", "network": "network", "seed": "seed map"}


@dataclass(frozen=True, eq=False)
class MediationResult:
    """One analysis.

    Attributes
    ----------
    name
        Of the analysis.
    settings
        As configured.
    table
        One row per feature, numbers as numbers, strongest first within kinds; empty without single features.
    record
        The summary.
    """

    name: str
    settings: Mediation
    table: pd.DataFrame
    record: Mapping[str, Any]

    @property
    def tested(self) -> pd.DataFrame:
        """Features with a family-wise p."""
        if self.table.empty:
            return self.table
        found: pd.DataFrame = self.table.loc[np.isfinite(self.table["p_fwe"])]
        return found

    def found(self, alpha: float) -> pd.DataFrame:
        """Features of which both paths are significant."""
        tested = self.tested
        if tested.empty:
            return tested
        hits: pd.DataFrame = tested.loc[tested["p_fwe"] <= alpha]
        return hits


def results(out: Path, config: Config) -> Iterator[MediationResult]:
    """Every analysis that has results.

    Parameters
    ----------
    out
        Output folder.
    config
        What was asked for.
    """
    for name in not_done.done(out, "mediation", config.mediation):
        table, path = (out / paths.analysis("mediation", name, end) for end in (".tsv", ".json"))
        yield MediationResult(name, config.mediation[name], _table(table), read_json(path))


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame()
    cells = read_tsv(path)
    numbers = {c: cells[c].replace(MISSING, "nan").astype(float) for c in cells.columns if c not in TEXT}
    table = cells.assign(**numbers)
    size = np.fmin(table["t_a"].abs(), table["t_b"].abs())
    order = np.lexsort((-size, table["p_fwe"], table["kind"]))
    return table.iloc[order].reset_index(drop=True)
