"""The rows of every contrast of a study, for `conn check --null` and `conn check --power`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import paths
from conn.check import foresee
from conn.config.model import Model
from conn.design import Design, DesignContrast, compile_model
from conn.errors import InputError
from conn.glm import Floats
from conn.nulls import RowDesign
from conn.preflight import foreseen_cohort, foreseen_runs
from conn.rois import registry
from conn.stages.collect import refuse_nothing
from conn.stages.inputs import files_of, matrices_of
from conn.stages.rows import rows_of
from conn.study import Study
from conn.tables import read_tsv, to_number

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Probe:
    """A contrast of the study with the data of its edges.

    Attributes
    ----------
    model, contrast
        Name of the model, and its compiled contrast.
    settings
        The model as configured.
    rows
        How its rows are tested.
    edges
        Pairs of regions, as many as features.
    data : ndarray of shape (n, n_features)
        Fisher z: one row per person; NaN where a person lacks an edge.
    smallest_p
        Smallest p that the contrast can reach with the configured number of permutations.
    """

    model: str
    contrast: DesignContrast
    settings: Model
    rows: RowDesign
    edges: Pairs
    data: Floats
    smallest_p: float

    @property
    def there(self) -> NDArray[np.bool_]:
        """Edges that every row has and that vary, of shape (n_features,)."""
        return np.asarray(np.isfinite(self.data).all(axis=0) & (np.ptp(self.data, axis=0) > 0))

    @property
    def title(self) -> str:
        """Heading of what is said about it."""
        return title(self.model, self.contrast)

    @property
    def stands_in(self) -> str:
        """A sentence when the model itself tests no edges."""
        if self.settings.edges != "none":
            return ""
        return "The model tests maps; here the edges between all regions stand in for them."


def title(model: str, contrast: DesignContrast) -> str:
    """Model, contrast and people, as a heading."""
    sizes = ", ".join(f"{level} {contrast.row_levels.count(level)}" for level in contrast.levels)
    return f"MODEL {model}, {contrast.name}: {contrast.n} subjects" + (f" ({sizes})" if sizes else "")


def unprobed(contrast: DesignContrast) -> str:
    """Why null data and smallest effects of a contrast are not offered; empty when they are."""
    if contrast.sensitivity:
        return "it repeats another contrast with motion as a covariate"
    if contrast.n_variates > 1:
        return "it tests several values of a person together"
    if contrast.statistic == "F":
        return "it is an F of several columns"
    if contrast.covariate_weights:
        return "it holds the baseline of each edge constant"
    if np.count_nonzero(contrast.contrast) > 1:
        return "it combines several columns"
    return ""


def unprobed_words(study: Study, runs: pd.DataFrame) -> str:
    """Contrasts that neither null data nor smallest effects are offered for, a line each."""
    lines = [
        f"MODEL {name}, {contrast.name}: not looked at, for {unprobed(contrast)}."
        for name in study.config.models
        for contrast in compile_now(study, name, runs).contrasts
        if unprobed(contrast)
    ]
    return "\n".join(lines)


def row_design(contrast: DesignContrast) -> RowDesign:
    """How the rows of a compiled contrast are tested."""
    levels = contrast.row_levels
    groups = np.array([contrast.levels.index(level) for level in levels] or [0] * contrast.n)
    return RowDesign(
        contrast.matrix,
        contrast.contrast,
        contrast.exchange,
        contrast.strata,
        contrast.variance_groups,
        groups.astype(np.int64),
        contrast.has_nuisance,
        contrast.own_variances,
    )


# After the first level --------------------------------------------------------------------------------


def has_first_level(study: Study) -> bool:
    """Whether the matrices of the runs are there."""
    return all((study.out / path).is_file() for path in (paths.RUNS, paths.COLLECTED))


def probes(study: Study) -> Iterator[Probe]:
    """Contrasts of all models as they are configured now, with the edges that the first level left.

    Parameters
    ----------
    study
        The study; the last run must have reached stage collect.

    Raises
    ------
    InputError
        There is no first level, or it lacks a region of the configuration.
    ConnError
        A model cannot be computed.
    """
    if not has_first_level(study):
        raise InputError(
            f"{study.config.out}: there are no matrices of single scans yet. Say first: conn run "
            f"{study.config_path.name} --until collect"
        )
    table = read_tsv(study.out / paths.RUNS)
    for name, model in study.config.models.items():
        design = compile_now(study, name, table)
        labels, matrices = _matrices(study, design, model)
        pairs = _pairs(study, name, labels)
        index = np.array([[labels.index(a), labels.index(b)] for a, b in pairs]).reshape(-1, 2)
        values = {run: z[index[:, 0], index[:, 1]] for run, z in matrices.items()}
        for contrast, smallest in zip(design.contrasts, design.smallest_p, strict=True):
            if unprobed(contrast):
                continue
            data = np.asarray(rows_of(contrast, values.__getitem__, len(pairs)).values, dtype=np.float64)
            yield Probe(name, contrast, model, row_design(contrast), pairs, data, smallest)


def compile_now(study: Study, name: str, runs: pd.DataFrame) -> Design:
    """A model compiled from the configuration as it stands and a run table."""
    config = study.config
    made = foreseen_cohort(study, runs)
    policy = config.connectivity.combine_runs
    return compile_model(
        name, config.models[name], config.clinical, made.table, runs, config.inference, policy
    )


def _matrices(study: Study, design: Design, model: Model) -> tuple[list[str], dict[str, Floats]]:
    measure = "pearson" if model.edges == "none" else model.edge_measure
    files = files_of(study.out, design, paths.relmat_ending(measure))
    labels, matrices = matrices_of(study.out, files)
    return labels, {run: np.asarray(z, dtype=np.float64) for run, z in matrices.items()}


def _pairs(study: Study, name: str, labels: Sequence[str]) -> Pairs:
    """The edges of a model; all that there are when it tests maps."""
    asked = study.edges(name)
    pairs = combinations(labels, 2) if isinstance(asked, str) else ((a, b) for a, b in asked)
    found = tuple(pairs)
    unknown = sorted({label for pair in found for label in pair} - set(labels))
    if unknown:
        raise InputError(
            f"models.{name}.edges: region {unknown[0]!r} is not in the matrices of the last run. Say: conn "
            f"run {study.config_path.name} --until collect"
        )
    return found


# Before the first level -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Foreseen:
    """A contrast of the study before any image was read.

    Attributes
    ----------
    model, contrast, settings, rows
        See `Probe`.
    n_edges
        Number of edges that it will test.
    noise : ndarray of shape (n,)
        Variance of each row that comes from the length of the scans: sum of w² / (k - 2) over its runs.
    weights : ndarray of shape (n, 2)
        Weight of each person's first time point and of the later one.
    df
        Median k of its runs.
    """

    model: str
    contrast: DesignContrast
    settings: Model
    rows: RowDesign
    n_edges: int
    noise: Floats
    weights: Floats
    df: float

    @property
    def title(self) -> str:
        """Heading of what is said about it."""
        return title(self.model, self.contrast)


def foreseen_probes(study: Study) -> Iterator[Foreseen]:
    """Contrasts of all models with everybody whose scan is long enough, before any image is read.

    Raises
    ------
    ConnError
        No scan can be used, or a model cannot be computed.
    """
    regions: dict[str, Any] = {}
    receipts = {key: foresee(study, key, regions).receipt for key in study.runs}
    refuse_nothing(study.index.runs, receipts)
    runs = foreseen_runs(study, receipts)
    cells = runs[["run", "df", "time_point"]].itertuples(index=False, name=None)
    facts = {run: (to_number(df), point) for run, df, point in cells}
    for name, model in study.config.models.items():
        first = getattr(model, "before", None) or study.config.clinical.baseline
        for contrast in compile_now(study, name, runs).contrasts:
            if unprobed(contrast):
                continue
            noise, weights, df = _of_runs(contrast, facts, first)
            yield Foreseen(
                name, contrast, model, row_design(contrast), _count(study, name), noise, weights, df
            )


def _of_runs(
    contrast: DesignContrast, facts: Mapping[str, tuple[float, str]], first: str | None
) -> tuple[Floats, Floats, float]:
    """Noise, weights of time points, and median k of a contrast; see `Foreseen`."""
    noise, weights = np.zeros(contrast.n), np.zeros((contrast.n, 2))
    for row, own in enumerate(contrast.run_weights):
        for run, weight in own.items():
            df, point = facts[run]
            noise[row] += weight**2 / (df - 2)
            weights[row, int(point != first)] += weight
    used = [facts[run][0] for own in contrast.run_weights for run in own]
    return noise, weights, float(np.median(used))


def _count(study: Study, name: str) -> int:
    asked = study.edges(name)
    n_regions = len(registry.regions(study.config.rois))
    return math.comb(n_regions, 2) if isinstance(asked, str) else len(asked)
