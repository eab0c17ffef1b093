"""The rows of every contrast of a study, for `conn check --null` and `conn check --power`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from operator import attrgetter
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import paths
from conn.check import foresee
from conn.config.model import Model
from conn.design import Design, DesignContrast, compile_model, helmert
from conn.design.spec import RunWeights, nuisance_columns, tested_columns
from conn.errors import InputError
from conn.glm import Floats
from conn.preflight import foreseen_cohort, foreseen_runs
from conn.rois import networks, registry
from conn.row_design import RowDesign
from conn.stages.collect import refuse_nothing
from conn.stages.inputs import files_of, matrices_of
from conn.stages.rows import Rows, rows_of
from conn.study import Study
from conn.tables import read_tsv, to_number

Pairs = tuple[tuple[str, str], ...]
Why = Callable[[Model, DesignContrast], str]
"""Why a contrast is not looked at; empty when it is."""


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
    data : ndarray of shape (n, n_features), or (q, n, n_features)
        Fisher z: one row per person, of one value or of several; NaN where a person lacks an edge.
    smallest_p
        Smallest p that the contrast can reach with the configured number of permutations.
    covariate : ndarray of shape (n, n_features) or None
        The baseline of each edge, where the contrast holds it constant.
    networks
        Values of the networks that are tested by their mean, or that lie within the edges; by name, each of
        one feature.
    maps
        Number of seeds whose voxels are the features, drawn at random; 0 for edges.
    """

    model: str
    contrast: DesignContrast
    settings: Model
    rows: RowDesign
    edges: Pairs
    data: Floats
    smallest_p: float
    covariate: Floats | None = None
    networks: Mapping[str, Rows] = field(default_factory=dict)
    maps: int = 0

    @property
    def there(self) -> NDArray[np.bool_]:
        """Features that every row has and that vary, of shape (n_features,)."""
        return varying(Rows(self.data, self.covariate))

    @property
    def kind(self) -> Literal["edge", "voxel"]:
        """What the features are."""
        return "voxel" if self.maps else "edge"

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


def varying(rows: Rows) -> NDArray[np.bool_]:
    """Features that every row has and that vary, of shape (n_features,)."""
    spread = np.ptp(rows.values, axis=-2) > 0
    return np.asarray(rows.there.all(axis=0) & (spread.all(axis=0) if spread.ndim == 2 else spread))


def side_by_side(parts: Sequence[Rows]) -> tuple[Floats, Floats | None]:
    """Data and covariate of the features of several rows of the same people."""
    data = np.concatenate(list(map(attrgetter("values"), parts)), axis=-1).astype(np.float64)
    baselines = [rows.covariate for rows in parts if rows.covariate is not None]
    return data, np.concatenate(baselines, axis=-1).astype(np.float64) if baselines else None


def title(model: str, contrast: DesignContrast) -> str:
    """Model, contrast and people, as a heading."""
    sizes = ", ".join(f"{level} {contrast.row_levels.count(level)}" for level in contrast.levels)
    return f"MODEL {model}, {contrast.name}: {contrast.n} subjects" + (f" ({sizes})" if sizes else "")


REPEATED = "it repeats another contrast with motion as a covariate"


def unprobed_words(study: Study, runs: pd.DataFrame, why: Why) -> str:
    """Contrasts that are not looked at, a line each with the reason."""
    lines = [
        f"MODEL {name}, {contrast.name}: not looked at, for {reason}."
        for name, model in study.config.models.items()
        for contrast in compile_now(study, name, runs).contrasts
        if (reason := REPEATED if contrast.sensitivity else why(model, contrast))
    ]
    return "\n".join(lines)


def row_design(contrast: DesignContrast) -> RowDesign:
    """How the rows of a compiled contrast are tested; combinations of columns become columns of their own."""
    matrix, weights = contrast.matrix, np.asarray(contrast.contrast)
    if (np.count_nonzero(np.atleast_2d(weights), axis=1) > 1).any():
        nuisance = nuisance_columns(matrix, weights)
        matrix = np.column_stack([nuisance, tested_columns(matrix, weights)])
        picked = np.eye(matrix.shape[1])[nuisance.shape[1] :]
        weights = picked if weights.ndim == 2 else picked[0]
    levels = contrast.row_levels
    groups = np.array([contrast.levels.index(level) for level in levels] or [0] * contrast.n)
    return RowDesign(
        matrix,
        weights,
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


def refuse_without_first_level(study: Study) -> None:
    """Null data are made of real ones.

    Raises
    ------
    InputError
        There is no first level.
    """
    if not has_first_level(study):
        raise InputError(
            f"{study.config.out}: there are no matrices of single scans yet. Say first: conn run "
            f"{study.config_path.name} --until collect"
        )


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
    refuse_without_first_level(study)
    table = read_tsv(study.out / paths.RUNS)
    for name in study.config.models:
        yield from edge_probes(study, compile_now(study, name, table))


def edge_probes(study: Study, design: Design) -> Iterator[Probe]:
    """Contrasts of a compiled model with its edges; see `probes`."""
    name, model = design.model, study.config.models[design.model]
    labels, matrices = _matrices(study, design, model)
    pairs = _pairs(study, name, labels)
    load = _between(matrices, labels, pairs).__getitem__
    means = _network_means(study, name, labels, matrices, pairs)
    for contrast, smallest in zip(design.contrasts, design.smallest_p, strict=True):
        if contrast.sensitivity:
            continue
        rows = rows_of(contrast, load, len(pairs))
        united = {
            network: rows_of(contrast, values.__getitem__, 1, np.float64) for network, values in means.items()
        }
        yield Probe(
            name,
            contrast,
            model,
            row_design(contrast),
            pairs,
            np.asarray(rows.values, dtype=np.float64),
            smallest,
            None if rows.covariate is None else np.asarray(rows.covariate, dtype=np.float64),
            united,
        )


def _between(matrices: Mapping[str, Floats], labels: Sequence[str], pairs: Pairs) -> dict[str, Floats]:
    index = np.array([[labels.index(a), labels.index(b)] for a, b in pairs]).reshape(-1, 2)
    return {run: z[index[:, 0], index[:, 1]] for run, z in matrices.items()}


def _network_means(
    study: Study, name: str, labels: Sequence[str], matrices: Mapping[str, Floats], pairs: Pairs
) -> dict[str, dict[str, Floats]]:
    """Mean of each declared network, else of each within the edges, in each run; of shape (1,)."""
    own, model = study.config.connectivity.networks, study.config.models[name]
    asked = {one: networks.declared(one, own) for one in model.declared_networks}
    if not asked:
        known = {frozenset(pair) for pair in pairs}
        every = {one: networks.declared(one, own) for one in (*networks.names(), *own)}
        asked = {one: of for one, of in every.items() if all(frozenset((a, b)) in known for a, b, _ in of)}
    found = {}
    for network, members in asked.items():
        inside = tuple((a, b) for a, b, _ in members)
        _refuse_unknown(study, f"models.{name}.networks", inside, labels)
        signs = np.array([sign for *_, sign in members])
        values = _between(matrices, labels, inside)
        found[network] = {run: (signs * z).mean(keepdims=True) for run, z in values.items()}
    return found


def compile_now(study: Study, name: str, runs: pd.DataFrame) -> Design:
    """A model compiled from the configuration as it stands and a run table."""
    config = study.config
    made = foreseen_cohort(study, runs)
    policy = config.connectivity.combine_runs
    return compile_model(
        name, config.models[name], config.clinical, made.table, runs, config.inference, policy
    )


def _matrices(study: Study, design: Design, model: Model) -> tuple[list[str], dict[str, Floats]]:
    named = model.edges != "none" or model.declared_networks
    measure = model.edge_measure if named else "pearson"
    files = files_of(study.out, design, paths.relmat_ending(measure))
    labels, matrices = matrices_of(study.out, files)
    return labels, {run: np.asarray(z, dtype=np.float64) for run, z in matrices.items()}


def _pairs(study: Study, name: str, labels: Sequence[str]) -> Pairs:
    """The edges of a model; all that there are when it tests maps."""
    asked = study.edges(name)
    pairs = combinations(labels, 2) if isinstance(asked, str) else ((a, b) for a, b in asked)
    found = tuple(pairs)
    _refuse_unknown(study, f"models.{name}.edges", found, labels)
    return found


def _refuse_unknown(study: Study, key: str, pairs: Sequence[Sequence[str]], labels: Sequence[str]) -> None:
    unknown = sorted({label for pair in pairs for label in pair} - set(labels))
    if unknown:
        raise InputError(
            f"{key}: region {unknown[0]!r} is not in the matrices of the last run. Say: conn "
            f"run {study.config_path.name} --until collect"
        )


# Before the first level -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scans:
    """What a value of each row is made of.

    Attributes
    ----------
    noise : ndarray of shape (n,)
        Variance that comes from the length of the scans: sum of w² / (k - 2) over the runs.
    weights : ndarray of shape (n, n_points)
        Weight of each time point of the person, the first one of the study in front.
    """

    noise: Floats
    weights: Floats


@dataclass(frozen=True, eq=False)
class Foreseen:
    """A contrast of the study before any image was read.

    Attributes
    ----------
    model, contrast, settings, rows
        See `Probe`.
    n_edges
        Number of edges that it will test.
    read
        What is read of each row: its value, or the difference between every two time points.
    baseline
        The baseline that is held constant, or None.
    df
        Median k of its runs.
    """

    model: str
    contrast: DesignContrast
    settings: Model
    rows: RowDesign
    n_edges: int
    read: tuple[Scans, ...]
    baseline: Scans | None
    df: float

    @property
    def title(self) -> str:
        """Heading of what is said about it."""
        return title(self.model, self.contrast)


def expected_runs(study: Study) -> pd.DataFrame:
    """The run table as it will be if every scan that is long enough can be used.

    Raises
    ------
    ConnError
        No scan can be used.
    """
    regions: dict[str, Any] = {}
    receipts = {key: foresee(study, key, regions).receipt for key in study.runs}
    refuse_nothing(study.index.runs, receipts)
    return foreseen_runs(study, receipts)


def foreseen_probes(study: Study, runs: pd.DataFrame, why: Why = lambda *_: "") -> Iterator[Foreseen]:
    """Contrasts of all models with everybody whose scan is long enough, before any image is read.

    Parameters
    ----------
    study
        The study.
    runs
        See `expected_runs`.
    why
        Contrasts that are left out.

    Raises
    ------
    ConnError
        A model cannot be computed.
    """
    cells = runs[["run", "df", "time_point"]].itertuples(index=False, name=None)
    facts = {run: (to_number(df), point) for run, df, point in cells}
    for name, model in study.config.models.items():
        first = getattr(model, "before", None) or study.config.clinical.baseline
        for contrast in compile_now(study, name, runs).contrasts:
            if contrast.sensitivity or why(model, contrast):
                continue
            yield Foreseen(
                name,
                contrast,
                model,
                row_design(contrast),
                _count(study, name),
                tuple(_scans(rows, facts, first) for rows in _read(contrast)),
                _scans(contrast.covariate_weights, facts, first) if contrast.covariate_weights else None,
                float(np.median([facts[run][0] for own in contrast.run_weights for run in own])),
            )


def value_weights(n_values: int) -> Floats:
    """Differences between every two of the time points that rows of several values are contrasts of.

    Returns
    -------
    ndarray of shape (n_points * (n_points - 1) / 2, n_values)
    """
    basis = np.array(helmert(n_values + 1))
    return np.array([basis[:, j] - basis[:, i] for i, j in combinations(range(n_values + 1), 2)])


def _read(contrast: DesignContrast) -> list[tuple[RunWeights, ...]]:
    """Run weights of what is read of each row."""
    every = (contrast.run_weights, *contrast.more_weights)
    if len(every) == 1:
        return [contrast.run_weights]
    found = []
    for weights in value_weights(len(every)):
        rows: list[RunWeights] = [{} for _ in range(contrast.n)]
        for factor, values in zip(weights.tolist(), every, strict=True):
            for row, own in zip(rows, values, strict=True):
                for run, weight in own.items():
                    row[run] = row.get(run, 0.0) + factor * weight
        found.append(tuple(rows))
    return found


def _scans(rows: Sequence[RunWeights], facts: Mapping[str, tuple[float, str]], first: str | None) -> Scans:
    """Noise, and weights of time points; see `Scans`."""
    points = {point: None for own in rows for point in (facts[run][1] for run in own)}
    order = [str(first), *(point for point in points if point != first)]
    noise, weights = np.zeros(len(rows)), np.zeros((len(rows), len(order)))
    for row, own in enumerate(rows):
        for run, weight in own.items():
            df, point = facts[run]
            noise[row] += weight**2 / (df - 2)
            weights[row, order.index(point)] += weight
    return Scans(noise, weights)


def _count(study: Study, name: str) -> int:
    asked = study.edges(name)
    n_regions = len(registry.regions(study.config.rois))
    return math.comb(n_regions, 2) if isinstance(asked, str) else len(asked)
