"""What is left out, and why: one row each, never in silence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import pandas as pd

from conn.tables import MISSING

OF_MEASURES = frozenset({"region_missing", "too_many_regions", "collinear", "censored_frames"})
"""Reasons that leave out a matrix or a map of a run instead of a region; `roi` names it."""

ANALYSES = ("association", "mediation", "prediction", "reliability", "replication")
"""Stages of rows that leave a person out of a clinical analysis; folders of their results too."""

PARTIAL = "partial correlation"
XDF = "variance under autocorrelation"
"""What `roi` holds when a run has no such matrix; a map has the label of its seed."""


@dataclass(frozen=True)
class Exclusion:
    """One row of `exclusions.tsv`.

    `reason` is a fixed word (`no_confounds`, `too_few_df` …), `value` what was found, `limit` what was
    asked for; all are text, and ``n/a`` where they do not apply.
    """

    dataset: str
    subject: str
    session: str = MISSING
    run: str = MISSING
    roi: str = MISSING
    stage: str = MISSING
    reason: str = MISSING
    value: str = MISSING
    limit: str = MISSING


def to_table(exclusions: Iterable[Exclusion]) -> pd.DataFrame:
    """Exclusions as a table, sorted, without repeats."""
    names = [field.name for field in fields(Exclusion)]
    rows = sorted({tuple(asdict(e).values()) for e in exclusions})
    return pd.DataFrame(rows, columns=pd.Index(names), dtype=str)
