"""Connectivity of each person at a time point: edges, means of networks, and seed maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import images, paths
from conn.cohort import Person, as_text
from conn.combination import choose
from conn.config.model import CombineRuns
from conn.design.source import precision_weights, run_df, runs_by_point
from conn.errors import ConfigError, DesignError, InputError
from conn.files import read_json
from conn.stages.grids import common_grid, space_of
from conn.stages.inputs import matrices_of
from conn.tables import read_tsv

Floats = NDArray[np.floating[Any]]
Edge = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Scans:
    """The scans that an analysis may use.

    Attributes
    ----------
    out
        Output folder.
    name
        Of the analysis, for errors, such as ``mediation.carried``.
    cohort
        `cohort.tsv` as text, with the runs that are used.
    runs
        Keys of the runs of each person at each time point.
    df
        Degrees of freedom by run.
    """

    out: Path
    name: str
    cohort: pd.DataFrame
    runs: Mapping[tuple[Person, str], tuple[str, ...]]
    df: Mapping[str, float]

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Everybody in the cohort, sorted: data set and subject."""
        return tuple(sorted(set(zip(self.cohort["dataset"], self.cohort["subject"], strict=True))))

    @cached_property
    def _collected(self) -> Mapping[str, Mapping[str, str]]:
        found: Mapping[str, Mapping[str, str]] = read_json(self.out / paths.COLLECTED)
        return found

    def files(self, people: Sequence[Person], point: str, ending: str) -> dict[str, str]:
        """The one file that ends in `ending` of every run of some people at a time point, by run.

        Raises
        ------
        InputError
            A run has none, or several.
        """
        found = {}
        for person in people:
            for run in self.runs.get((person, point), ()):
                names = [name for name in self._collected.get(run, {}) if name.endswith(ending)]
                if len(names) != 1:
                    raise InputError(f"{self.name}: run {run} has no file ending in {ending}; run again")
                found[run] = names[0]
        return found

    def mean(
        self,
        people: Sequence[Person],
        point: str,
        load: Callable[[str], Floats],
        n_features: int,
        dtype: type[np.floating[Any]] = np.float64,
    ) -> Floats:
        """Fisher z of some people at a time point, their runs weighted by df - 2.

        Parameters
        ----------
        people
            One row each.
        point
            Time point.
        load
            From the key of a run to its z, ndarray of shape (n_features,).
        n_features
            Edges, networks or voxels.
        dtype
            Of the rows.

        Returns
        -------
        ndarray of shape (n_people, n_features)
            NaN for people without a scan, and where one of their runs has no value.
        """
        values = np.full((len(people), n_features), np.nan, dtype=dtype)
        for row, person in enumerate(people):
            weights = precision_weights(self.runs.get((person, point), ()), self.df)
            if weights:
                values[row] = sum(dtype(weight) * load(run) for run, weight in weights.items())
        return values


def scans(out: Path, name: str, combine_runs: CombineRuns) -> Scans:
    """Read which scans everybody has.

    Parameters
    ----------
    out
        Output folder, with `cohort.tsv` and `runs.tsv`.
    name
        Of the analysis, for errors.
    combine_runs
        What is taken of several runs of one time point (`connectivity.combine_runs`).
    """
    return scans_in(out, name, read_tsv(out / paths.COHORT), read_tsv(out / paths.RUNS), combine_runs)


def scans_in(
    out: Path, name: str, cohort: pd.DataFrame, runs: pd.DataFrame, combine_runs: CombineRuns
) -> Scans:
    """Which scans everybody has, by tables that need not have been written.

    Parameters
    ----------
    out, name, combine_runs
        See `scans`.
    cohort, runs
        `cohort.tsv` and `runs.tsv`.
    """
    cohort = as_text(cohort)
    runs_by_point(name, cohort)
    table, _ = choose(cohort, runs, combine_runs)
    found = runs_by_point(name, table)
    return Scans(out, name, table, found, run_df(table, runs))


@dataclass(frozen=True, eq=False)
class Features:
    """Edges or networks of people at time points.

    Attributes
    ----------
    kind
        What a feature is.
    labels
        Regions of each edge; name and number of edges of each network.
    z
        By time point, ndarray of shape (n_people, n_features): Fisher z, NaN where somebody has none.
    """

    kind: Literal["edges", "networks"]
    labels: tuple[Edge, ...]
    z: Mapping[str, Floats]


def edges_of(
    scans: Scans,
    people: Sequence[Person],
    points: Sequence[str],
    edges: Literal["all"] | Sequence[Edge],
    measure: Literal["pearson", "partial"] = "pearson",
) -> Features:
    """Fisher z of edges.

    Parameters
    ----------
    scans
        See `scans`.
    people
        One row each.
    points
        Time points.
    edges
        Pairs of regions, or ``all`` that the matrices hold.
    measure
        Whether an edge is a Pearson or a partial correlation.

    Raises
    ------
    ConfigError
        A region is in no matrix.
    DesignError
        Nobody has a scan.
    """
    values, wanted = {}, [] if edges == "all" else [(a, b) for a, b in edges]
    for point in points:
        labels, matrices = _matrices(scans, people, point, measure)
        wanted = wanted or list(combinations(labels, 2))
        place = _places(scans, labels, wanted)
        single = {run: z[place] for run, z in matrices.items()}
        values[point] = scans.mean(people, point, single.__getitem__, len(wanted))
    return Features("edges", tuple(wanted), values)


def networks_of(
    scans: Scans,
    people: Sequence[Person],
    points: Sequence[str],
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    measure: Literal["pearson", "partial"] = "pearson",
) -> Features:
    """Mean of sign × Fisher z over the edges of each network; without one of its edges it has no value.

    Parameters
    ----------
    scans, people, points, measure
        See `edges_of`.
    networks
        Edges of each network, each with its sign or without (1).

    Raises
    ------
    ConfigError
        A region is in no matrix.
    DesignError
        Nobody has a scan.
    """
    values = {}
    for point in points:
        labels, matrices = _matrices(scans, people, point, measure)
        places = [signed_places(scans, labels, edges) for edges in networks.values()]
        means = {run: np.array([(sign * z[at]).mean() for at, sign in places]) for run, z in matrices.items()}
        values[point] = scans.mean(people, point, means.__getitem__, len(networks))
    named = tuple((name, str(len(edges))) for name, edges in networks.items())
    return Features("networks", named, values)


def signed_places(
    scans: Scans, labels: Sequence[str], edges: Sequence[Sequence[str | int]]
) -> tuple[tuple[list[int], list[int]], NDArray[np.int64]]:
    """Where the edges of a network stand in a matrix, and their signs."""
    place = _places(scans, labels, [(str(edge[0]), str(edge[1])) for edge in edges])
    return place, np.array([int(edge[2]) if len(edge) > 2 else 1 for edge in edges], dtype=np.int64)


def _matrices(
    scans: Scans, people: Sequence[Person], point: str, measure: str
) -> tuple[list[str], dict[str, Floats]]:
    files = scans.files(people, point, paths.relmat_ending(measure))
    if not files:
        raise DesignError(f"{scans.name}: nobody has a scan at time point {point!r}")
    return matrices_of(scans.out, files)


def _places(scans: Scans, labels: Sequence[str], edges: Sequence[Edge]) -> tuple[list[int], list[int]]:
    """Where edges stand in a matrix."""
    place = {label: i for i, label in enumerate(labels)}
    unknown = sorted({label for edge in edges for label in edge} - set(place))
    if unknown:
        raise ConfigError(
            f"{scans.name}: region {unknown[0]!r} is in no matrix; the matrices have {', '.join(labels)}"
        )
    return [place[a] for a, _ in edges], [place[b] for _, b in edges]


@dataclass(frozen=True, eq=False)
class Maps:
    """Seed maps of people at a time point.

    Attributes
    ----------
    z
        ndarray of shape (n_people, n_voxels), float32: Fisher z of the voxels where everybody with a scan
        has a value; NaN rows for people without one.
    voxels
        Flat indices of these voxels, first axis fastest.
    grid, space
        Of the images; `conn.stages.grids.away` says which voxels are not near the seed.
    """

    z: Floats
    voxels: NDArray[np.int64]
    grid: images.Grid
    space: str


def maps_of(scans: Scans, people: Sequence[Person], point: str, seed: str) -> Maps:
    """Fisher-z maps of a seed.

    Parameters
    ----------
    scans, people
        See `edges_of`.
    point
        Time point.
    seed
        Label of the maps.

    Raises
    ------
    DesignError
        Nobody has a scan, or maps are on different grids.
    """
    files = scans.files(people, point, f"_seed-{seed}_stat-fisherz_statmap.nii.gz")
    if not files:
        raise DesignError(f"{scans.name}: nobody has a map of seed {seed!r} at time point {point!r}")
    grid = common_grid(scans.name, scans.out, files)

    def load(run: str) -> Floats:
        return images.read_volume(scans.out / files[run])[1].ravel(order="F")

    values = scans.mean(people, point, load, int(np.prod(grid.shape)), np.float32)
    scanned = ~np.isnan(values).all(axis=1)
    voxels = np.flatnonzero(np.isfinite(values[scanned]).all(axis=0))
    return Maps(np.ascontiguousarray(values[:, voxels]), voxels, grid, space_of(files))
