"""Stage confounding: what else differs where a model looks for an effect, and what is left of the effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import inference, paths
from conn.clinic.confounding import Adjusted, adjustments
from conn.design import Design, DesignContrast, load_design
from conn.stages.inputs import files_of, matrices_of
from conn.stages.rows import Rows, rows_of, tested
from conn.stages.test import between, signed, united
from conn.tables import MISSING, read_tsv, to_number, write_tsv

Floats = NDArray[np.floating[Any]]
Edge = tuple[str, str]

MEASURES: Mapping[str, str] = {
    "mean_fd": "mm",
    "dvars": "standardised",
    "frames_kept": "frames",
    "df": "degrees of freedom",
    "global_sd": "% of mean signal",
    "tsnr": "ratio",
}
"""Columns of the table of runs that a treatment may change too, with their units."""

PER_REGION: Mapping[str, str] = {"coverage": "share", "tsnr": "ratio"}
"""Columns of the coverage tables, with their units."""

UNITS: Mapping[str, str] = {**MEASURES, **PER_REGION}
MEAN_COVERAGE = "coverage"
MOTION = "mean_fd"


@dataclass(frozen=True, eq=False)
class Quality:
    """Measures of every run.

    Attributes
    ----------
    names
        Measure and region of each column; the region is ``n/a`` for a measure of the whole run.
    values
        Run to ndarray of shape (n_columns,), NaN where a measure is missing.
    """

    names: tuple[tuple[str, str], ...]
    values: Mapping[str, Floats]

    def columns(self, region: bool) -> list[int]:
        """Places of the measures of regions, or of whole runs."""
        return [i for i, (_, where) in enumerate(self.names) if (where != MISSING) == region]


def confounding(
    out: Path,
    model: str,
    edges: Literal["all", "none"] | Sequence[Edge],
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    *,
    permutations: int,
    seed: int,
    alpha: float = 0.05,
    measure: Literal["pearson", "partial"] = "pearson",
) -> None:
    """Test every contrast of a model on measures of quality, and its effects with these held constant.

    Measures take the place of connectivity: the same people, weights, matrix and rearrangements. What the
    design asks of connectivity (a difference of changes, say) is so asked of motion. Motion among the
    covariates is left out of these tests, for it cannot be adjusted for itself. Effects are those of the
    model with all its covariates.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model.
    edges, networks
        What the model tests; ``none`` and an empty mapping if nothing.
    permutations, seed
        Of the permutation set.
    alpha
        Intervals have coverage 1 - alpha.
    measure
        Whether an edge is a Pearson or a partial correlation.
    """
    design = load_design(out / paths.model_folder(model), model)
    contrasts = [c for c in design.contrasts if not c.sensitivity and not is_level(c)]
    labels: list[str] = []
    matrices: dict[str, Floats] = {}
    if edges != "none" or networks:
        labels, matrices = matrices_of(out, files_of(out, design, paths.relmat_ending(measure)))
    pairs: list[Edge] = []
    if edges != "none":
        pairs = list(combinations(labels, 2)) if edges == "all" else [(a, b) for a, b in edges]
    members = {name: [signed(one) for one in several] for name, several in networks.items()}
    wanted = {label for pair in pairs for label in pair}
    wanted |= {label for several in members.values() for a, b, _ in several for label in (a, b)}
    quality = _quality(out, design, sorted(wanted))
    found = [_differences(without_motion(c), quality, permutations, seed, alpha) for c in contrasts]
    write_tsv(out / paths.confounding(model), _stacked(found, CONFOUNDING_COLUMNS))
    values = {run: _values(z, labels, pairs, members) for run, z in matrices.items()}
    names = [("edge", a, b) for a, b in pairs] + [("network", name, MISSING) for name in networks]
    tables = [_left(contrast, quality, values, names) for contrast in contrasts]
    write_tsv(out / paths.adjustment(model), _stacked(tables, ADJUSTMENT_COLUMNS))


def _stacked(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=pd.Index(columns))


def is_level(contrast: DesignContrast) -> bool:
    """Whether a contrast asks for a mean level, of which measures of quality have one anyway."""
    sums = [sum(weights.values()) for weights in contrast.run_weights]
    return contrast.exchange == "flips" and any(abs(total) > 1e-9 for total in sums)


def without_motion(contrast: DesignContrast) -> DesignContrast:
    """The same contrast without motion among its covariates, unless motion is what it tests."""
    drop = _motion(contrast) & ~np.atleast_2d(contrast.contrast).any(axis=0)
    if not drop.any():
        return contrast
    return replace(
        contrast,
        matrix=contrast.matrix[:, ~drop],
        columns=tuple(n for n, out in zip(contrast.columns, drop.tolist(), strict=True) if not out),
        contrast=contrast.contrast[..., ~drop],
    )


def _motion(contrast: DesignContrast) -> NDArray[np.bool_]:
    """Which columns of a matrix are motion, of shape (n_columns,)."""
    return np.array([name.split(" (")[0] == MOTION for name in contrast.columns])


def _quality(out: Path, design: Design, wanted: Sequence[str]) -> Quality:
    """Measures of the runs of a design, from the table of runs and from coverage tables.

    Of regions: those that a model tests, or all of them when it tests maps alone.
    """
    files = files_of(out, design, "_seg-rois_stat-coverage.tsv")
    table = read_tsv(out / paths.RUNS).set_index("run")
    regions = list(wanted) or read_tsv(out / next(iter(files.values())))["roi"].tolist()
    names = [(name, MISSING) for name in MEASURES] + [(MEAN_COVERAGE, MISSING)]
    names += [(name, region) for name in PER_REGION for region in regions]
    values = {}
    for run, file in files.items():
        whole = [to_number(str(table.loc[run, name])) for name in MEASURES]
        own = read_tsv(out / file).set_index("roi")
        parts = [
            np.array([to_number(str(own.loc[r, name])) if r in own.index else np.nan for r in regions])
            for name in PER_REGION
        ]
        values[run] = np.array([*whole, float(parts[0].mean()), *np.concatenate(parts)])
    return Quality(tuple(names), values)


def _differences(
    contrast: DesignContrast, quality: Quality, permutations: int, seed: int, alpha: float
) -> pd.DataFrame:
    """A contrast on every measure."""
    rows = rows_of(contrast, quality.values.__getitem__, len(quality.names))
    one = tested(contrast, rows, np.arange(len(quality.names)), permutations, seed, alpha=alpha)
    made = inference.correct([one.result], alpha).results[0]
    units = [UNITS[name] for name, where in quality.names]
    return pd.DataFrame(
        {
            "contrast": contrast.name,
            "measure": [name for name, _ in quality.names],
            "roi": [where for _, where in quality.names],
            "unit": units,
            "n": one.n,
            "estimate": one.result.effect,
            "se": one.result.se,
            "df": np.where(one.result.valid, one.result.df, np.nan),
            "stat": one.result.stat,
            "p": one.result.p,
            "ci_low": made.ci_low,
            "ci_high": made.ci_high,
            "g": one.size.g,
            "g_type": one.size.g_type,
            # A range that is NaN is not 0: somebody lacks the measure, which is not the same in everybody.
            "varies": ~(np.ptp(rows.values.reshape(-1, len(quality.names)), axis=0) == 0),
        }
    )


def _values(
    z: Floats,
    labels: Sequence[str],
    pairs: Sequence[Edge],
    members: Mapping[str, Sequence[tuple[str, str, int]]],
) -> Floats:
    """Edges, then means of networks, of one run."""
    means = [united(z, labels, edges) for edges in members.values()]
    return np.concatenate([between(z, labels, pairs) if pairs else np.empty(0), np.array(means)])


def _left(
    contrast: DesignContrast,
    quality: Quality,
    values: Mapping[str, Floats],
    names: Sequence[tuple[str, str, str]],
) -> pd.DataFrame:
    """Effects of a contrast before and after adjusting; empty for rows of several values."""
    if contrast.n_variates > 1 or contrast.effect_type == "outcome" or not names:
        return pd.DataFrame()
    rows = rows_of(contrast, values.__getitem__, len(names))
    whole = quality.columns(region=False)
    measures = rows_of(contrast, quality.values.__getitem__, len(quality.names)).of(np.array(whole))
    labels = [quality.names[i][0] for i in whole]
    columns, labels, lacking = _known(measures, labels)
    own = [MOTION] if _motion(contrast).any() else []
    free = [i for i, name in enumerate(labels) if name not in own]
    made = adjustments(
        rows.values,
        contrast.matrix,
        contrast.contrast,
        columns[:, free],
        [labels[i] for i in free],
        contrast.variance_groups,
        rows.covariate,
        own_variances=contrast.own_variances,
        unused=[*own, *lacking],
    )
    tables = [_adjusted(contrast.name, one, made[0], names, lacking) for one in made]
    return pd.concat(tables, ignore_index=True)


def _known(measures: Rows, labels: list[str]) -> tuple[Floats, list[str], list[str]]:
    """Columns that everybody has, with those of the baseline where there is one; and the other measures."""
    parts = [measures.values] if measures.covariate is None else [measures.values, measures.covariate]
    wide, names = np.column_stack(parts), labels * len(parts)
    there = np.isfinite(wide).all(axis=0)
    lacking = list(dict.fromkeys(names[i] for i in np.flatnonzero(~there)))
    keep = [i for i, name in enumerate(names) if name not in lacking]
    return wide[:, keep], [names[i] for i in keep], lacking


CONFOUNDING_COLUMNS = (
    "contrast", "measure", "roi", "unit", "n", "estimate", "se", "df", "stat", "p", "ci_low", "ci_high", "g",
    "g_type", "varies",
)  # fmt: skip
ADJUSTMENT_COLUMNS = (
    "contrast", "kind", "name", "roi_b", "adjustment", "measures", "left_out",
    "lacking", "estimate", "se", "df", "stat", "p", "share_left",
)  # fmt: skip


def _adjusted(
    contrast: str,
    one: Adjusted,
    plain: Adjusted,
    names: Sequence[tuple[str, str, str]],
    lacking: Sequence[str],
) -> pd.DataFrame:
    with np.errstate(invalid="ignore", divide="ignore"):
        left = one.estimate / plain.estimate
    return pd.DataFrame(
        {
            "contrast": contrast,
            "kind": [kind for kind, _, _ in names],
            "name": [name for _, name, _ in names],
            "roi_b": [other for _, _, other in names],
            "adjustment": one.adjustment,
            "measures": ";".join(one.measures) or MISSING,
            "left_out": ";".join(one.left_out) or MISSING,
            "lacking": ";".join(name for name in one.left_out if name in lacking) or MISSING,
            "estimate": one.estimate,
            "se": one.se,
            "df": one.df,
            "stat": one.stat,
            "p": one.p,
            "share_left": left,
        }
    )[list(ADJUSTMENT_COLUMNS)]
