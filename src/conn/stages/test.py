"""Stage test: a compiled design and the runs' z values become statistics and permutation maxima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conn import images, paths
from conn.config.model import EdgeEnhancement, Enhancement, Rois
from conn.design import Design, helmert, load_design
from conn.enhancement import Enhancer
from conn.graph import lattice, numbered, shared_nodes
from conn.rois.registry import Roi
from conn.stages.grids import away, common_grid, space_of
from conn.stages.inputs import files_of, matrices_of
from conn.stages.rows import Rows, averaged, rows_of, tested
from conn.stages.tested import save
from conn.suprathreshold import Clusters
from conn.tfce import Tfce

Floats = NDArray[np.floating[Any]]

DEFAULT = Rois()
"""Regions placed as a configuration without `rois` would have it."""


def test_edges(
    out: Path,
    model: str,
    edges: Literal["all"] | Sequence[tuple[str, str]],
    *,
    permutations: int,
    seed: int,
    alpha: float = 0.05,
    measure: Literal["pearson", "partial"] = "pearson",
    min_share: float = 1.0,
    enhancement: EdgeEnhancement | None = None,
) -> None:
    """Test the edges of a model and write the result.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model.
    edges
        Pairs of regions, or ``all`` that the matrices hold.
    permutations
        Number of permutations.
    seed
        Of the permutation set.
    alpha
        Intervals of effect sizes have coverage 1 - alpha.
    measure
        Whether an edge is a Pearson or a partial correlation.
    min_share
        Share of rows with a value from which an edge is tested.
    enhancement
        Scores edges by those that they share a region with; None: no scores.
    """
    design = load_design(out / paths.model_folder(model), model)
    labels, matrices = matrices_of(out, files_of(out, design, paths.relmat_ending(measure)))
    wanted = list(combinations(labels, 2)) if edges == "all" else [(a, b) for a, b in edges]
    enhance = _edge_enhancer(enhancement, wanted)
    values = {run: between(z, labels, wanted) for run, z in matrices.items()}
    found = {}
    for contrast in design.contrasts:
        rows = rows_of(contrast, values.__getitem__, len(wanted))
        found[contrast.name] = tested(
            contrast,
            rows,
            np.array(wanted),
            permutations,
            seed,
            alpha=alpha,
            min_share=min_share,
            enhance=enhance,
            average=averaged(contrast, values.__getitem__, len(wanted), alpha, min_share),
        )
    save(out / paths.test_result(model, "edges"), found, {})


def test_networks(
    out: Path,
    model: str,
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    *,
    permutations: int,
    seed: int,
    alpha: float = 0.05,
    measure: Literal["pearson", "partial"] = "pearson",
    min_share: float = 1.0,
) -> None:
    """Test the mean over the signed edges of each declared network, and these edges, and write the result.

    A person without one of the edges has no mean: another set of edges would be another quantity. The edges
    of all networks are a family of their own, which is read where the means say that there is something.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model.
    networks
        Edges of each network, as pairs of regions, each with a sign (1 or -1) or without (1).
    permutations
        Number of permutations.
    seed
        Of the permutation set; it is that of the edges.
    alpha
        Intervals of effect sizes have coverage 1 - alpha.
    measure
        Whether an edge is a Pearson or a partial correlation.
    min_share
        Share of rows with a value from which a network is tested.
    """
    design = load_design(out / paths.model_folder(model), model)
    labels, matrices = matrices_of(out, files_of(out, design, paths.relmat_ending(measure)))
    members = {name: [signed(edge) for edge in edges] for name, edges in networks.items()}
    every = list(dict.fromkeys((a, b) for edges in members.values() for a, b, _ in edges))
    single = {run: between(z, labels, every) for run, z in matrices.items()}
    values = {
        run: np.array([united(z, labels, edges) for edges in members.values()]) for run, z in matrices.items()
    }
    names = np.array([[name, str(len(edges))] for name, edges in members.items()])
    found = {}
    for contrast in design.contrasts:
        name = contrast.name
        rows = rows_of(contrast, values.__getitem__, len(networks))
        average = averaged(contrast, values.__getitem__, len(networks), alpha, min_share)
        found[name] = tested(
            contrast, rows, names, permutations, seed, alpha=alpha, min_share=min_share, average=average
        )
        rows = rows_of(contrast, single.__getitem__, len(every))
        found[within(name)] = tested(contrast, rows, np.array(every), permutations, seed, min_share=min_share)
    listed = [(name, a, b, str(sign)) for name, edges in members.items() for a, b, sign in edges]
    save(out / paths.test_result(model, "networks"), found, {"members": np.array(listed)})


def signed(edge: Sequence[str | int]) -> tuple[str, str, int]:
    """An edge of a network with its sign, which is 1 unless it is declared."""
    return str(edge[0]), str(edge[1]), int(edge[2]) if len(edge) > 2 else 1


def united(z: Floats, labels: Sequence[str], edges: Sequence[tuple[str, str, int]]) -> float:
    """Mean over the edges of a network, those with the sign -1 turned round."""
    signs = np.array([sign for *_, sign in edges])
    return float((signs * between(z, labels, [(a, b) for a, b, _ in edges])).mean())


def within(contrast: str) -> str:
    """Name of the test of the single edges of all networks, beside that of their means."""
    return f"{contrast}.edges"


def between(z: Floats, labels: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Floats:
    """Elements of a matrix between pairs of regions."""
    place = {label: i for i, label in enumerate(labels)}
    first, second = ([place[pair[side]] for pair in pairs] for side in (0, 1))
    return np.asarray(z[first, second])


def _edge_enhancer(asked: EdgeEnhancement | None, pairs: Sequence[tuple[str, str]]) -> Enhancer | None:
    """What scores edges by those that they share a region with."""
    if asked is None:
        return None
    graph = shared_nodes(numbered(pairs))
    if asked.kind == "tfnbs":
        return Tfce(graph, asked.extent_power, asked.height_power)
    assert asked.threshold is not None
    return Clusters(graph, asked.threshold, asked.kind)


def test_seed(
    out: Path,
    model: str,
    label: str,
    regions: Sequence[Roi],
    *,
    fwhm_mm: float,
    folder: Path,
    permutations: int,
    seed: int,
    rois: Rois = DEFAULT,
    enhancement: Enhancement | None = None,
    min_share: float = 1.0,
    threads: int = 1,
) -> None:
    """Test the maps of one seed and write the result.

    Voxels count where every row has a value, or a share of them. The seed itself and one FWHM around it leave
    the family, and so do the seeds that were entered with it: what is near them is held constant, and says
    nothing.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model.
    label
        Of the seed's maps.
    regions
        The seed's region, and those that were entered with it.
    fwhm_mm
        Smoothing of the maps.
    folder
        Folder that the images of regions are relative to.
    permutations
        Number of permutations.
    seed
        Of the permutation set.
    rois
        How regions are placed: weighting and transforms.
    enhancement
        Of the maps; None for the largest voxel.
    min_share
        Share of rows with a value from which a voxel is tested.
    threads
        Blocks of voxels that are tested, and maps that are enhanced, at the same time; the result does not
        depend on it.

    Raises
    ------
    DesignError
        Runs of the model are on different grids.
    """
    design = load_design(out / paths.model_folder(model), model)
    maps = _maps(out, design, label)
    far = away(regions, maps.grid, maps.space, rois, folder, fwhm_mm)
    found = {}
    for contrast in design.contrasts:
        if contrast.sensitivity:  # of edges alone
            continue
        rows = rows_of(contrast, maps.load, far.size, np.float32)
        voxels = _voxels(rows, far, min_share)
        found[contrast.name] = tested(
            contrast,
            rows.of(voxels),
            voxels,
            permutations,
            seed,
            min_share=min_share,
            enhance=_enhancement(enhancement, maps.grid, voxels, threads),
            workers=threads,
        )
    save(out / paths.test_result(model, f"seed-{label}"), found, maps.extra)


def test_factor(
    out: Path,
    model: str,
    name: str,
    seeds: Mapping[str, Sequence[Roi]],
    *,
    fwhm_mm: float,
    folder: Path,
    permutations: int,
    seed: int,
    rois: Rois = DEFAULT,
    enhancement: Enhancement | None = None,
    threads: int = 1,
) -> None:
    """Test whether effects differ between seeds and write the result.

    A row holds orthonormal contrasts of a person's maps, so that what all seeds have in common drops out; of
    several time points, the contrasts of their contrasts. Beside a baseline, the same contrasts of the
    baselines of the voxel are held constant, all of them for each value.
    Voxels count where every row has a value of every seed; all seeds, and one FWHM around, leave the family.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model.
    name
        Of the comparison.
    seeds
        Label of each map, with its region and those that were entered with it.
    fwhm_mm, folder, permutations, seed, rois, enhancement, threads
        See `test_seed`.

    Raises
    ------
    DesignError
        Runs of the model are on different grids.
    """
    design = load_design(out / paths.model_folder(model), model)
    maps = [_maps(out, design, label) for label in seeds]
    first = maps[0]
    regions = [roi for each in seeds.values() for roi in each]
    far = away(regions, first.grid, first.space, rois, folder, fwhm_mm)
    weights = np.array(helmert(len(maps)), dtype=np.float32)
    found = {}
    for contrast in design.contrasts:
        if contrast.sensitivity:
            continue
        whole = [rows_of(contrast, one.load, far.size, np.float32) for one in maps]
        voxels = _voxels(_side_by_side(whole), far, 1.0)
        rows = _compared([one.of(voxels) for one in whole], weights)
        found[contrast.name] = tested(
            contrast,
            rows,
            voxels,
            permutations,
            seed,
            enhance=_enhancement(enhancement, first.grid, voxels, threads),
            workers=threads,
        )
    save(out / paths.test_result(model, f"factor-{name}"), found, first.extra)


def some_voxels(
    out: Path,
    design: Design,
    label: str,
    regions: Sequence[Roi],
    *,
    number: int,
    rng: np.random.Generator,
    fwhm_mm: float,
    folder: Path,
    rois: Rois = DEFAULT,
) -> dict[str, Floats]:
    """Fisher z of voxels of a seed's maps, drawn at random from those that the first run has, by run.

    Parameters
    ----------
    out
        Output folder.
    design
        A compiled model.
    label, regions, fwhm_mm, folder, rois
        See `test_seed`.
    number
        Of voxels, at most.
    rng
        Source of random numbers.

    Raises
    ------
    InputError
        A run has no map of the seed.
    DesignError
        Runs of the model are on different grids.
    """
    maps = _maps(out, design, label)
    far = away(regions, maps.grid, maps.space, rois, folder, fwhm_mm)
    inside = np.flatnonzero(far & np.isfinite(maps.load(next(iter(maps.files)))))
    drawn = rng.permutation(inside)[:number]
    return {run: maps.load(run)[drawn] for run in maps.files}


def _side_by_side(every: Sequence[Rows]) -> Rows:
    """All values of the rows of several seeds, to see where somebody lacks one."""
    parts = [one.values.reshape(-1, *one.values.shape[-2:]) for one in every]
    parts += [one.covariate[None] for one in every if one.covariate is not None]
    return Rows(np.concatenate(parts))


def _compared(every: Sequence[Rows], weights: Floats) -> Rows:
    """Contrasts between seeds of each value of a row, and of its baselines."""
    values = np.tensordot(weights, np.stack([one.values for one in every]), axes=1)
    own = [one.covariate for one in every if one.covariate is not None]
    covariate = np.tensordot(weights, np.stack(own), axes=1) if own else None
    return Rows(values.reshape(-1, *values.shape[-2:]), covariate)


@dataclass(frozen=True, eq=False)
class _Maps:
    """Maps of one seed by run, on one grid."""

    out: Path
    files: Mapping[str, str]
    grid: images.Grid
    space: str

    def load(self, run: str) -> Floats:
        """Fisher z of all voxels of a run."""
        return images.read_volume(self.out / self.files[run])[1].ravel(order="F")

    @property
    def extra(self) -> dict[str, NDArray[Any]]:
        """Where the voxels are, for the results."""
        return {"shape": np.array(self.grid.shape), "affine": self.grid.affine}


def _maps(out: Path, design: Design, label: str) -> _Maps:
    files = files_of(out, design, f"_seed-{label}_stat-fisherz_statmap.nii.gz")
    return _Maps(out, files, common_grid(f"model {design.model}", out, files), space_of(files))


def _voxels(rows: Rows, far: NDArray[np.bool_], min_share: float) -> NDArray[np.int64]:
    """Voxels to be tested, away from the seed."""
    there = rows.there
    voxels = np.flatnonzero(far & (there.mean(axis=0) >= min_share))
    # Somebody lacks the seed: one voxel that cannot be tested stands for the empty map.
    return voxels if voxels.size else np.flatnonzero(~there.all(axis=0))[:1]


def _enhancement(
    asked: Enhancement | None, grid: images.Grid, voxels: NDArray[np.int64], threads: int
) -> Enhancer | None:
    """What enhances the maps of some voxels of a grid."""
    if asked is None:
        return None
    inside = np.zeros(int(np.prod(grid.shape)), dtype=bool)
    inside[voxels] = True
    graph = lattice(inside.reshape(grid.shape, order="F"), asked.neighbours)
    if asked.kind == "tfce":
        return Tfce(graph, asked.extent_power, asked.height_power, threads)
    assert asked.threshold is not None
    return Clusters(graph, asked.threshold, asked.kind, threads)
