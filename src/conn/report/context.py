"""What all parts of the results share: their context, the edges tested, and words on how p was corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn.config.model import Model
from conn.report import designs
from conn.report.contract import ContrastResult, Outputs, TestedFamily
from conn.report.people import Names
from conn.report.values import Connectivity
from conn.report.words import count, fixed, listed

Z_OF_PARTIAL = "Fisher z of partial r"


@dataclass(frozen=True)
class Context:
    """What all parts of the results need."""

    folder: Path
    outputs: Outputs
    names: Names
    data: Connectivity

    @cached_property
    def partial(self) -> Connectivity:
        """Partial correlations of runs."""
        return Connectivity(self.outputs, "partial")

    def model_of(self, contrast: ContrastResult) -> Model:
        """Settings of the model of a contrast."""
        return self.outputs.config.models[contrast.model]

    def edges_of(self, contrast: ContrastResult) -> Connectivity:
        """What the edges of a contrast were taken from."""
        return self.partial if self.is_partial(contrast) else self.data

    def is_partial(self, contrast: ContrastResult) -> bool:
        """Whether the edges of a contrast are partial correlations."""
        return self.model_of(contrast).edge_measure == "partial"

    @property
    def alpha(self) -> float:
        """Family-wise error rate."""
        return self.outputs.config.inference.alpha

    @property
    def level(self) -> str:
        """Level of intervals in percent."""
        return f"{100 * (1 - self.alpha):g}\N{NO-BREAK SPACE}%"

    @cached_property
    def planted(self) -> list[dict[str, Any]]:
        """Planted edges of a simulation."""
        truth = self.outputs.truth or {}
        return [dict(e) for e in truth.get("edges", ()) if isinstance(e, Mapping)]

    @cached_property
    def planted_in_scans(self) -> list[dict[str, Any]]:
        """Planted edges of a rehearsal, with their mean z in every scan."""
        planted = (self.outputs.truth or {}).get("planted")
        edges = planted.get("edges", ()) if isinstance(planted, Mapping) else ()
        return [dict(e) for e in edges if isinstance(e, Mapping) and "scans" in e]


def anchor_of(contrast: ContrastResult, prefix: str) -> str:
    """Identifier of a contrast's block in the page."""
    return f"{prefix}-{contrast.model}-{contrast.name}"


def stem(contrast: ContrastResult) -> str:
    """First part of the names of a contrast's figures."""
    return f"model-{contrast.model}_contrast-{contrast.name}"


def row_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of a table with plain text as keys."""
    return {str(k): v for k, v in row.items()}


def tested(contrast: ContrastResult) -> pd.DataFrame:
    """Edges that have a family-wise p, smallest first; ties by |statistic|."""
    return ranked(contrast.edges)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Rows with a family-wise p, smallest first; ties by |statistic|."""
    table = table.loc[np.isfinite(table["p_fwe"])]
    order = np.lexsort((-table["stat"].abs().to_numpy(), table["p"].to_numpy(), table["p_fwe"].to_numpy()))
    first: pd.DataFrame = table.iloc[order].reset_index(drop=True)
    return first


def shown_edges(context: Context, contrast: ContrastResult, least: int, most: int) -> pd.DataFrame:
    """The significant edges, at least so many and at most so many."""
    table = tested(contrast)
    n = min(max(int((table["p_fwe"] <= context.alpha).sum()), least), most)
    return table.head(n)


def any_finite(table: pd.DataFrame, column: str) -> bool:
    """Whether a column of numbers holds anything."""
    return column in table and bool(np.isfinite(table[column].to_numpy(float)).any())


def unit(context: Context, contrast: ContrastResult) -> str:
    """Unit of the estimate of an edge; of an F, which has none, the name of the statistic."""
    if contrast.is_f:
        return "F"
    words = designs.unit(context.model_of(contrast), contrast.base)
    return words.replace("Fisher z", Z_OF_PARTIAL) if context.is_partial(contrast) else words


def df_words(row: Mapping[str, Any]) -> str:
    """Degrees of freedom of a row: one number for t, two for F."""
    numbers = [float(row[key]) for key in ("df_num", "df")]
    return ", ".join(fixed(v, 0 if v.is_integer() else 1) for v in numbers if np.isfinite(v))


def permutation_words(contrast: ContrastResult, family: TestedFamily) -> str:
    """The set of rearrangements in words."""
    noun = "sign flips" if contrast.rows.exchange == "flips" else "exchanges"
    if family.complete:
        return f"all {family.permutations:,} {noun}"
    return f"{family.permutations - 1:,} random {noun} and the observed order"


def test_words(context: Context, contrast: ContrastResult) -> str:
    """How many people, and what p_fwe of edges is taken from."""
    return f"n = {contrast.n}; p_fwe by the {correction_words(contrast, 'edges')}; α = {context.alpha:g}"


def correction_words(contrast: ContrastResult, kind: str) -> str:
    """What p_fwe of edges, maps or networks is taken from."""
    family = contrast.family(kind)
    over = f"over {count(family.tests, kind.removesuffix('s'))}"
    if "factors" in family.kinds:
        over = f"over {count(family.tests, 'voxel')} of {count(len(contrast.compared), 'comparison')}"
    if "maps" in family.kinds:
        maps = f"of the maps of {count(len(contrast.mapped), 'seed')}"
        joint = f"over {count(family.tests, 'test')}: edges, and voxels {maps}"
        over = joint if "edges" in family.kinds else f"over {count(family.tests, 'voxel')} {maps}"
    largest = {"score": "enhanced score", "F": "F"}.get(family.scale, f"|{family.scale}|")
    return f"permutation distribution of the largest {largest} {over} ({permutation_words(contrast, family)})"


def lacking(context: Context, contrast: ContrastResult, seed: str) -> list[str]:
    """Who of a contrast has no value of a seed in a run that the contrast uses."""
    used = {run for weights in contrast.run_weights for run in weights}
    rows = context.outputs.exclusions
    rows = rows[(rows["roi"] == seed) & rows["run"].isin(used)]
    people = dict.fromkeys(zip(rows["dataset"], rows["subject"], strict=True))
    return [context.names.person(d, s) for d, s in people]


def everybody(context: Context) -> str:
    """In whom an edge or voxel needs a value to be tested."""
    share = context.outputs.config.inference.min_share
    return "everybody of the contrast" if share == 1 else f"at least {100 * share:g} % of the contrast"


def lack_words(names: Sequence[str], after: str, most: int) -> str:
    """Why a map is empty; `after` stands between the reason and the names."""
    return f"missing in{after}{listed(names, most)}" if names else "no valid voxel"
