"""Stage test: a compiled design and the runs' z values become statistics and permutation maxima."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.stats import skew

from conn import bids, effects, images, inference, paths
from conn.config.model import Enhancement, Rois
from conn.correlation import fisher_z
from conn.design import Design, DesignContrast, load_design
from conn.enhancement import Enhancer
from conn.errors import DesignError, InputError
from conn.files import atomic, read_json
from conn.graph import lattice
from conn.inference import TestResult
from conn.permutation import PermutationSet, permutation_set
from conn.rois import on_grid
from conn.rois.placement import Placed
from conn.rois.registry import Roi
from conn.suprathreshold import Clusters
from conn.tables import MISSING, read_tsv, to_number
from conn.tfce import Tfce

Floats = NDArray[np.floating[Any]]

DEFAULT = Rois()
"""Regions placed as a configuration without `rois` would have it."""

OWN = ("features", "n", "complete", "skewness")
"""Fields of `Tested` that are not results of another module."""


@dataclass(frozen=True, eq=False)
class Tested:
    """One contrast over the features of a seed's map or over edges.

    Attributes
    ----------
    result
        Statistics and maxima.
    size
        Effect sizes with their type.
    features
        Edges: names of shape (n_features, 2). Maps: flat voxel indices of shape (n_features,).
    n
        Number of rows with a value, of shape (n_features,).
    complete
        All distinct rearrangements were used.
    skewness
        Median over features of the absolute skewness of residuals; sign flips assume it to be 0.
    """

    result: TestResult
    size: effects.EffectSize
    features: NDArray[Any]
    n: NDArray[np.int64]
    complete: bool
    skewness: float


def test_edges(
    out: Path,
    model: str,
    edges: Literal["all"] | Sequence[tuple[str, str]],
    *,
    permutations: int,
    seed: int,
    alpha: float = 0.05,
    measure: Literal["pearson", "partial"] = "pearson",
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
    """
    design = load_design(out / paths.model_folder(model), model)
    files = _files(out, design, f"_stat-{paths.EDGE_MEASURES[measure]}_relmat.tsv")
    labels, matrices = _matrices(out, files)
    wanted = list(combinations(labels, 2)) if edges == "all" else [tuple(pair) for pair in edges]
    place_of = {label: i for i, label in enumerate(labels)}
    index = np.array([[place_of[a], place_of[b]] for a, b in wanted]).reshape(-1, 2)
    values = {run: z[index[:, 0], index[:, 1]] for run, z in matrices.items()}
    tested = {}
    for contrast in design.contrasts:
        data = _rows(contrast, values.__getitem__, len(wanted))
        tested[contrast.name] = _test(contrast, data, np.array(wanted), permutations, seed, alpha)
    save(out / paths.test_result(model, "edges"), tested, {})


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
    threads: int = 1,
) -> None:
    """Test the maps of one seed and write the result.

    Voxels count where every row has a value. The seed itself and one FWHM around it leave the family, and so
    do the seeds that were entered with it: what is near them is held constant, and says nothing.

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
    threads
        Maps that are enhanced at the same time; the result does not depend on it.

    Raises
    ------
    DesignError
        Runs of the model are on different grids.
    """
    design = load_design(out / paths.model_folder(model), model)
    files = _files(out, design, f"_seed-{label}_stat-fisherz_statmap.nii.gz")
    grid, space = _common_grid(out, files), _space(files)
    far = np.all(
        [_far_from(on_grid.place(roi, grid, space, rois, folder), grid, fwhm_mm) for roi in regions], axis=0
    )

    def load(run: str) -> Floats:
        return images.read_volume(out / files[run])[1].ravel(order="F")

    tested = {}
    for contrast in design.contrasts:
        data = _rows(contrast, load, far.size, np.float32)
        voxels = np.flatnonzero(far & np.isfinite(data).all(axis=0))
        if voxels.size == 0:
            # Somebody lacks the seed: one voxel that cannot be tested stands for the empty map.
            voxels = np.flatnonzero(~np.isfinite(data).all(axis=0))[:1]
        enhance = _enhancement(enhancement, grid, voxels, threads)
        tested[contrast.name] = _test(contrast, data[:, voxels], voxels, permutations, seed, enhance=enhance)
    save(
        out / paths.test_result(model, f"seed-{label}"),
        tested,
        {"shape": np.array(grid.shape), "affine": grid.affine},
    )


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


def _files(out: Path, design: Design, ending: str) -> dict[str, str]:
    """The one file of every run of a design that ends in `ending`."""
    collected: Mapping[str, Mapping[str, str]] = read_json(out / paths.COLLECTED)
    runs = sorted({run for c in design.contrasts for weights in c.run_weights for run in weights})
    found = {}
    for run in runs:
        names = [name for name in collected.get(run, {}) if name.endswith(ending)]
        if len(names) != 1:
            raise InputError(f"model {design.model}: run {run} has no file ending in {ending}; run again")
        found[run] = names[0]
    return found


def _matrices(out: Path, files: Mapping[str, str]) -> tuple[list[str], dict[str, Floats]]:
    labels: list[str] = []
    matrices: dict[str, Floats] = {}
    for run, name in files.items():
        table = read_tsv(out / name)
        own = [str(c) for c in table.columns[1:]]
        if labels and own != labels:
            raise InputError(f"{name}: has other regions than the other runs; delete it and run again")
        labels = own
        cells = table.iloc[:, 1:].to_numpy()
        matrices[run] = fisher_z(np.array([[to_number(c) for c in row] for row in cells]))
    return labels, matrices


def _common_grid(out: Path, files: Mapping[str, str]) -> images.Grid:
    grids = {name: images.read_header(out / name).grid for name in files.values()}
    first_name, first = next(iter(grids.items()))
    for name, grid in grids.items():
        if not grid.matches(first):
            raise DesignError(
                f"{name} has the grid {grid.shape}, {first_name} has {first.shape}: maps of one model need "
                "one grid. Choose one resolution with datasets.NAME.res, or test edges only (seeds: none)."
            )
    return first


def _space(files: Mapping[str, str]) -> str:
    """Template of the maps of a model, from the name of one of them."""
    name = bids.parse(Path(next(iter(files.values()))).name)
    return MISSING if name is None else name.entities.get("space", MISSING)


def _far_from(placed: Placed, grid: images.Grid, fwhm_mm: float) -> NDArray[np.bool_]:
    own = np.ones(int(np.prod(grid.shape)), dtype=bool)
    own[placed.inside] = False
    if own.all():
        return own
    distance = distance_transform_edt(own.reshape(grid.shape, order="F"), sampling=grid.voxel_mm)
    return np.asarray(distance > fwhm_mm).ravel(order="F")


def _rows(
    contrast: DesignContrast,
    load: Callable[[str], Floats],
    n_features: int,
    dtype: type[np.floating[Any]] = np.float64,
) -> Floats:
    """One row per subject: the weighted sum of z over the subject's runs; n/a anywhere stays n/a."""
    data = np.zeros((contrast.n, n_features), dtype=dtype)
    for row, weights in enumerate(contrast.run_weights):
        for run, weight in weights.items():
            data[row] += dtype(weight) * load(run)
    return data


def rearrangements(contrast: DesignContrast, permutations: int, seed: int) -> PermutationSet:
    """The permutation set of a contrast; the same for all its seeds and its edges."""
    return permutation_set(
        contrast.n,
        contrast.exchange,
        strata=contrast.strata,
        matrix_effect=contrast.tested,
        n_permutations=permutations,
        seed=seed,
        has_nuisance=contrast.has_nuisance,
    )


def _test(
    contrast: DesignContrast,
    data: Floats,
    features: NDArray[Any],
    permutations: int,
    seed: int,
    alpha: float | None = None,
    enhance: Enhancer | None = None,
) -> Tested:
    """Test one contrast; effect sizes have intervals of coverage 1 - alpha, or none."""
    sets = rearrangements(contrast, permutations, seed)
    result = inference.test(
        data, contrast.matrix, contrast.contrast, sets, contrast.variance_groups, enhance=enhance
    )
    size = effects.effect_size(
        contrast.effect_type,
        data,
        contrast.matrix,
        contrast.contrast,
        alpha=alpha or 0.05,
        intervals=alpha is not None,
    )
    n = np.isfinite(data).sum(axis=0)
    return Tested(result, size, features, n, sets.complete, _skewness(contrast, data[:, result.valid]))


def _skewness(contrast: DesignContrast, data: Floats) -> float:
    if data.shape[1] == 0:
        return float("nan")
    basis = np.linalg.qr(contrast.matrix)[0]
    residuals = data - basis @ (basis.T @ data)
    return float(np.median(np.abs(skew(residuals, axis=0, bias=False))))


def save(path: Path, tested: Mapping[str, Tested], extra: Mapping[str, NDArray[Any]]) -> None:
    """Write the tests of a model's contrasts as one archive, atomically."""
    arrays: dict[str, Any] = {"contrasts": np.array(list(tested)), **extra}
    for name, one in tested.items():
        arrays |= {f"{name}.{f.name}": np.asarray(getattr(one.result, f.name)) for f in fields(one.result)}
        arrays |= {f"{name}.size.{f.name}": np.asarray(getattr(one.size, f.name)) for f in fields(one.size)}
        arrays |= {f"{name}.{key}": np.asarray(getattr(one, key)) for key in OWN}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with atomic(path) as stream:
        stream.write(buffer.getvalue())


def load(path: Path) -> tuple[dict[str, Tested], dict[str, NDArray[Any]]]:
    """Read what `save` wrote: tests by contrast, and the extra arrays."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    tested = {}
    for name in arrays.pop("contrasts").tolist():
        result = {f.name: _plain(arrays.pop(f"{name}.{f.name}")) for f in fields(TestResult)}
        size = {f.name: _plain(arrays.pop(f"{name}.size.{f.name}")) for f in fields(effects.EffectSize)}
        own = {key: _plain(arrays.pop(f"{name}.{key}")) for key in OWN}
        tested[name] = Tested(TestResult(**result), effects.EffectSize(**size), **own)
    return tested, arrays


def _plain(value: NDArray[Any]) -> Any:
    return value.item() if value.ndim == 0 else value
