"""Stage mediation: connectivity and scores become paths, intervals and family-wise p of an analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import images, paths
from conn.clinic.mediation import bootstrap, joint, together
from conn.clinic.mediation import paths as estimates
from conn.clinic.mediation.joint import Joint
from conn.config.mediation import Mediation
from conn.config.model import Clinical, CombineRuns, Inference, Rois
from conn.errors import DesignError
from conn.files import write_json
from conn.lock import EXPLORATORY
from conn.multiplicity import holm_families
from conn.rois.registry import Roi
from conn.stages.features import Edge, Features, Scans, edges_of, maps_of, networks_of, scans
from conn.stages.grids import away
from conn.stages.mediation_rows import Rows, rows_of
from conn.stages.mediation_table import columns, summary
from conn.tables import write_tsv

Floats = NDArray[np.floating[Any]]

KIND = "mediation"
"""Folder of the results."""

DEFAULT = Rois()
"""Regions placed as a configuration without `rois` would have it."""


@dataclass(frozen=True)
class Mediators:
    """What an analysis asks of connectivity.

    Attributes
    ----------
    edges
        Pairs of regions, ``all`` or ``none``.
    networks
        Edges of each network, with their signs.
    seeds
        Regions behind each map: the seed's own, then those that were entered with it.
    """

    edges: Literal["all", "none"] | Sequence[Edge] = "none"
    networks: Mapping[str, Sequence[Sequence[str | int]]] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[Roi]] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """How maps are read and how fast.

    Attributes
    ----------
    folder
        Folder that the images of regions are relative to.
    fwhm_mm
        Smoothing of maps.
    rois
        How regions are placed.
    threads
        Blocks of voxels at the same time; results do not depend on it.
    """

    folder: Path
    fwhm_mm: float = 0.0
    rois: Rois = DEFAULT
    threads: int = 1


@dataclass(frozen=True, eq=False)
class _Job:
    """An analysis with its people."""

    name: str
    settings: Mediation
    inference: Inference
    seed: int
    scans: Scans
    rows: Rows


def mediate(
    out: Path,
    name: str,
    settings: Mediation,
    clinical: Clinical,
    inference: Inference,
    wanted: Mediators,
    resources: Resources,
    *,
    seed: int,
    combine_runs: CombineRuns = "weighted",
    status: str = EXPLORATORY,
) -> None:
    """Run an analysis and write its table, maps and summary.

    Parameters
    ----------
    out
        Output folder, with `cohort.tsv`, `runs.tsv` and the first level's results.
    name
        Of the analysis.
    settings, clinical, inference
        The analysis, what its references mean, permutations and alpha.
    wanted
        Mediators.
    resources
        Where regions are, and threads.
    seed
        Of permutations and of the bootstrap.
    combine_runs
        What is taken of several runs of one time point.
    status
        What the lock says of it, see `conn.lock.label`.

    Raises
    ------
    ConfigError, DesignError
        See `conn.stages.mediation_rows.rows_of`; edges that are entered together and missing in somebody.
    """
    _forget(out, name)
    found = scans(out, f"mediation.{name}", combine_runs)
    job = _Job(name, settings, inference, seed, found, rows_of(name, found, settings, clinical))
    parts = [_of_features(job, features) for features in _features(job, wanted)]
    if wanted.seeds:
        parts.append(_of_seeds(out, job, wanted.seeds, resources))
    joined = _together(job)
    tests = [one.tested for one in parts] + ([] if joined is None else [joined.tests])
    adjusted = holm_families([one.p_fwe for one in tests])
    if parts:
        tables = [_with_holm(one, p_holm) for one, p_holm in zip(parts, adjusted, strict=False)]
        table = pd.concat(tables, ignore_index=True).assign(status=status)
        write_tsv(out / paths.analysis("mediation", name, ".tsv"), table)
    families = [family_of(one.kind, one.tested) for one in parts]
    lost = max((one.lost for one in parts), default=0.0)
    together_holm = None if joined is None else adjusted[-1]
    record = summary(name, job.rows, settings, clinical, inference, families, joined, together_holm, lost)
    write_json(out / paths.analysis("mediation", name), record | {"status": status})


@dataclass(frozen=True, eq=False)
class _Part:
    """One family: its kind, rows of the table, tests of all features, and which of them the rows are."""

    kind: str
    table: pd.DataFrame
    tested: Joint
    rows: NDArray[np.int64]
    lost: float


def _with_holm(part: _Part, p_holm: Floats) -> pd.DataFrame:
    """Rows of the table with the p over all families of the analysis beside that of their own."""
    table = part.table.copy()
    table.insert(list(table.columns).index("p_fwe") + 1, "p_holm", p_holm[part.rows])
    return table


def _forget(out: Path, name: str) -> None:
    """Remove what earlier settings left, so that no old result stands beside new ones."""
    folder = (out / paths.analysis("mediation", name)).parent
    for path in [*folder.glob(f"{name}.*"), *folder.glob(f"{name}_seed-*_statmap.nii.gz")]:
        path.unlink()


def _features(job: _Job, wanted: Mediators) -> list[Features]:
    people, settings = job.rows.people, job.settings
    points, found = (settings.before, settings.after), []
    if wanted.edges != "none":
        found.append(edges_of(job.scans, people, points, wanted.edges, settings.edge_measure))
    if wanted.networks:
        found.append(networks_of(job.scans, people, points, wanted.networks, settings.edge_measure))
    return found


def _of_features(job: _Job, features: Features) -> _Part:
    before, after = (features.z[point] for point in (job.settings.before, job.settings.after))
    mediator, own = job.rows.data(before, after)
    tests = joint.path_tests(
        job.rows.trial, mediator, own, permutations=job.inference.permutations, seed=job.seed
    )
    tested = joint.joined([tests], job.inference.alpha)
    there = np.isfinite(mediator) & np.isfinite(own)
    if features.kind == "edges":
        about: dict[str, Any] = {
            "roi_a": [a for a, _ in features.labels],
            "roi_b": [b for _, b in features.labels],
        }
    else:
        about = {"network": [label for label, _ in features.labels]}
    table, lost = _table(job, features.kind, about, mediator, own, tested, there.sum(axis=0))
    return _Part(features.kind, table, tested, np.arange(len(table)), lost)


def _table(
    job: _Job,
    kind: str,
    about: Mapping[str, Any],
    mediator: Floats,
    own: Floats,
    tested: Joint,
    n: NDArray[np.int64],
) -> tuple[pd.DataFrame, float]:
    """Rows of the table, and the largest share of draws that could not be fitted."""
    trial, interaction = job.rows.trial, job.settings.interaction
    found = estimates.estimate(trial, mediator, own, interaction=interaction)
    intervals = bootstrap.bootstrap(
        trial,
        mediator,
        own,
        draws=job.settings.bootstrap,
        seed=job.seed,
        alpha=job.inference.alpha,
        interaction=interaction,
    )
    return columns(kind, about, found, intervals, tested, n, job.inference.alpha), intervals.lost


def family_of(kind: str, tested: Joint) -> dict[str, Any]:
    """A family of features in numbers."""
    return {
        "kind": kind,
        "features": int(np.isfinite(tested.p_fwe).sum()),
        "permutations": {"a": tested.a.n_permutations, "b": tested.b.n_permutations},
        "smallest_p": {"a": tested.a.smallest_p, "b": tested.b.smallest_p},
    }


@dataclass(frozen=True, eq=False)
class _SeedMap:
    """Paths of one seed's voxels, and the data of its strongest."""

    label: str
    voxels: NDArray[np.int64]
    grid: images.Grid
    tests: joint.PathTests
    estimates: Mapping[str, NDArray[np.float32]]
    peak: int
    mediator: Floats
    own: Floats


def _of_seeds(out: Path, job: _Job, seeds: Mapping[str, Sequence[Roi]], resources: Resources) -> _Part:
    """Maps of all seeds as one family; the table has the strongest voxel of each."""
    maps = [_seed_map(job, label, regions, resources) for label, regions in seeds.items()]
    tested = joint.joined([one.tests for one in maps], job.inference.alpha)
    ends = np.cumsum([0, *(one.voxels.size for one in maps)])
    for one, start in zip(maps, ends, strict=False):
        _write_maps(out, job.name, one, tested.of(np.arange(start, start + one.voxels.size)))
    strongest = np.array([start + one.peak for one, start in zip(maps, ends, strict=False)])
    mediator, own = (np.column_stack([getattr(one, key) for one in maps]) for key in ("mediator", "own"))
    places = np.array([_millimetres(one) for one in maps])
    about = {"seed": list(seeds), **{axis: places[:, i] for i, axis in enumerate("xyz")}}
    n = np.full(len(maps), len(job.rows.people))
    table, lost = _table(job, "seed", about, mediator, own, tested.of(strongest), n)
    return _Part("seeds", table, tested, strongest, lost)


def _seed_map(job: _Job, label: str, regions: Sequence[Roi], resources: Resources) -> _SeedMap:
    people, settings = job.rows.people, job.settings
    first = maps_of(job.scans, people, settings.before, label)
    second = maps_of(job.scans, people, settings.after, label)
    if not first.grid.matches(second.grid):
        raise DesignError(f"mediation.{job.name}: maps of {label} before and after are on different grids")
    far = away(regions, first.grid, first.space, resources.rois, resources.folder, resources.fwhm_mm)
    voxels, one, other = np.intersect1d(first.voxels, second.voxels, assume_unique=True, return_indices=True)
    kept = far[voxels]
    if not kept.any():
        raise DesignError(f"mediation.{job.name}: no voxel has a value in the maps of {label} of all people")
    mediator, own = job.rows.data(first.z[:, one[kept]], second.z[:, other[kept]])
    tests = joint.path_tests(
        job.rows.trial,
        mediator,
        own,
        permutations=job.inference.permutations,
        seed=job.seed,
        workers=resources.threads,
    )
    found = estimates.estimate(job.rows.trial, mediator, own)
    values = {"a": found.a.estimate, "b": found.b.estimate, "ab": found.ab}
    size = np.nan_to_num(tests.size, nan=-1.0)
    peak = int(size.argmax())
    return _SeedMap(
        label,
        voxels[kept],
        first.grid,
        tests,
        {key: value.astype(np.float32) for key, value in values.items()},
        peak,
        mediator[:, peak].astype(np.float64),
        own[:, peak].astype(np.float64),
    )


def _millimetres(one: _SeedMap) -> Floats:
    place = np.unravel_index(one.voxels[one.peak], one.grid.shape, order="F")
    return np.asarray((one.grid.affine @ [*place, 1.0])[:3])


def _write_maps(out: Path, name: str, one: _SeedMap, tested: Joint) -> None:
    stats = {**one.estimates, "ta": tested.a.stat, "tb": tested.b.stat, "p": tested.p, "pfwe": tested.p_fwe}
    for stat, values in stats.items():
        flat = np.full(int(np.prod(one.grid.shape)), np.nan)
        flat[one.voxels] = values
        path = paths.inside(out, paths.analysis_map("mediation", name, one.label, stat))
        images.write_map(path, one.grid, flat.reshape(one.grid.shape, order="F"))


def refuse_gaps(name: str, labels: Sequence[str], gone: Sequence[bool]) -> None:
    """Refuse mediators that enter together when somebody lacks one.

    Parameters
    ----------
    name
        Of the analysis.
    labels
        Of the mediators.
    gone
        Of each: whether somebody lacks it.

    Raises
    ------
    DesignError
        Any of them is.
    """
    if any(gone):
        names = ", ".join(label for label, missing in zip(labels, gone, strict=True) if missing)
        raise DesignError(
            f"mediation.{name}.together: {names} is missing in somebody; take it out, or leave "
            "people without it out by subset"
        )


def _together(job: _Job) -> together.Together | None:
    settings = job.settings
    if not settings.together:
        return None
    points = (settings.before, settings.after)
    features = edges_of(job.scans, job.rows.people, points, settings.together, settings.edge_measure)
    mediator, own = job.rows.data(*(features.z[point] for point in points))
    gone = ~(np.isfinite(mediator) & np.isfinite(own)).all(axis=0)
    refuse_gaps(job.name, ["-".join(pair) for pair in features.labels], np.ravel(gone).tolist())
    try:
        return together.together(
            job.rows.trial,
            mediator,
            own,
            draws=settings.bootstrap,
            permutations=job.inference.permutations,
            seed=job.seed,
            alpha=job.inference.alpha,
        )
    except DesignError as error:
        raise DesignError(f"mediation.{job.name}.{error}") from None
