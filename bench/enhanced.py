"""Benchmarks of threshold-free cluster enhancement: of maps, and of permutations from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import group
import numpy as np
from numpy.typing import NDArray

from conn.graph import lattice
from conn.tfce import Tfce

CORES = group.WORKERS
NEIGHBOURS = 26


def _mask(folder: str) -> NDArray[np.bool_]:
    return np.load(Path(folder) / "mask.npy")


def _volumes(folder: str, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps as volumes of shape (nx, ny, nz, n_maps), the first axis fastest, 0 outside the mask."""
    mask = _mask(folder)
    volumes = np.zeros((len(maps), mask.size), dtype=np.float32)
    volumes[:, mask.ravel(order="F")] = maps
    return volumes.T.reshape((*mask.shape, len(maps)), order="F")


def _timed(function: Callable[[Any], Any], given: Any, count: int) -> tuple[dict[str, Any], Any]:
    """Milliseconds of one map in a second call: the first one compiles, or starts processes."""
    function(given)
    start = perf_counter()
    made = function(given)
    seconds = perf_counter() - start
    return {"seconds": seconds, "milliseconds": 1e3 * seconds / count}, made


def ours(folder: str, maps: int) -> dict[str, Any]:
    """The largest absolute score of each map, two threads."""
    given = np.load(Path(folder) / "maps.npy")[:maps]
    tfce = Tfce(lattice(_mask(folder), NEIGHBOURS), threads=CORES)
    values, made = _timed(tfce.maxima, given, maps)
    np.save(Path(folder) / "scores.npy", made)
    return values


def package(folder: str, maps: int) -> dict[str, Any]:
    """Scores of the package `tfce` from PyPI, which is in C and exact too, two threads."""
    import tfce

    def scores(volumes: NDArray[np.float32]) -> NDArray[np.float32]:
        return tfce.tfce(volumes, connectivity=NEIGHBOURS, E=0.5, H=2.0, n_jobs=CORES)

    given = _volumes(folder, np.load(Path(folder) / "maps.npy")[:maps])
    values, made = _timed(scores, given, maps)
    return {**values, **_difference(folder, np.abs(made).max(axis=(0, 1, 2)))}


def nilearn(folder: str, maps: int) -> dict[str, Any]:
    """nilearn's scores, each map in one of two processes, as `permuted_ols` shares out permutations.

    Its sums over steps are multiplied by the step, which nilearn leaves to do, before they are compared.
    """
    import joblib

    given = _volumes(folder, np.load(Path(folder) / "maps.npy")[:maps])

    def largest(volumes: NDArray[np.float32]) -> NDArray[np.float64]:
        tasks = (joblib.delayed(nilearn_maximum)(volumes[..., i : i + 1]) for i in range(maps))
        return np.array(joblib.Parallel(n_jobs=CORES)(tasks))

    values, made = _timed(largest, given, maps)
    steps = np.abs(given).max(axis=(0, 1, 2)) / 100
    return {**values, **_difference(folder, made * steps)}


def nilearn_maximum(volume: NDArray[np.float32]) -> float:
    """Largest absolute score of one map, of shape (nx, ny, nz, 1); 100 steps, as is its default."""
    from nilearn.mass_univariate._utils import calculate_tfce
    from scipy.ndimage import generate_binary_structure

    return float(np.abs(calculate_tfce(volume, generate_binary_structure(3, 3))).max())


def _difference(folder: str, maxima: NDArray[Any]) -> dict[str, float]:
    """Largest relative difference from the maxima that ours left in the folder."""
    kept = Path(folder) / "scores.npy"
    if not kept.exists():
        return {}
    own = np.load(kept)
    n = min(len(own), len(maxima))
    return {"difference": float(np.abs(maxima[:n] / own[:n] - 1).max())}


# ------------------------------------------------------------------------------------------- end to end


def ours_permuted(folder: str, permutations: list[int]) -> dict[str, Any]:
    """Freedman-Lane permutation, statistic and enhancement, two threads."""
    maps, arm, covariates = group.load(folder)
    matrix, contrast = group.design(arm, covariates)
    tfce = Tfce(lattice(_mask(folder), NEIGHBOURS), threads=CORES)
    seconds, _ = group.timed(maps, matrix, contrast, arm, permutations, enhance=tfce)
    return {"seconds": sum(seconds), "milliseconds": group.per_permutation(seconds, permutations)}


def nilearn_permuted(folder: str, permutations: list[int]) -> dict[str, Any]:
    """`permuted_ols` with `tfce=True` in two processes; it joins voxels by their 6 faces."""
    import nibabel as nib
    from nilearn.maskers import NiftiMasker
    from nilearn.mass_univariate import permuted_ols

    maps, arm, covariates = group.load(folder)
    mask = _mask(folder)
    masker = NiftiMasker(nib.Nifti1Image(mask.astype(np.uint8), np.eye(4))).fit()
    # nilearn numbers voxels with the last axis fastest.
    number = np.zeros(mask.size, dtype=np.int64)
    number[mask.ravel(order="F")] = np.arange(maps.shape[1])
    maps = maps[:, number.reshape(mask.shape, order="F")[mask]]
    seconds = []
    for count in group.with_start(permutations):
        start = perf_counter()
        permuted_ols(
            arm[:, None].astype(float),
            maps,
            confounding_vars=covariates,
            n_perm=count,
            random_state=0,
            n_jobs=CORES,
            masker=masker,
            tfce=True,
        )
        seconds.append(perf_counter() - start)
    return {"seconds": sum(seconds), "milliseconds": group.per_permutation(seconds, permutations)}
