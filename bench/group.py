"""Benchmarks of group inference: permutations of the largest statistic over a map."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conn import inference
from conn.glm import make_kernel, make_model
from conn.permutation import permutation_set

WORKERS = 2


def load(folder: str) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    with np.load(Path(folder) / "design.npz") as design:
        return np.load(Path(folder) / "maps.npy"), design["arm"], design["covariates"]


def design(arm: NDArray[np.int64], covariates: NDArray[np.float64]) -> tuple[Any, Any]:
    matrix = np.column_stack([np.ones(len(arm)), arm, covariates])
    return matrix, np.eye(matrix.shape[1])[1]


def per_permutation(seconds: list[float], counts: list[int]) -> float:
    """Milliseconds of one permutation: what a longer call takes more than a shorter one.

    The first of the calls only starts threads and processes; it does not count.
    """
    return 1e3 * (seconds[-1] - seconds[-2]) / (counts[-1] - counts[-2])


def with_start(permutations: list[int]) -> list[int]:
    return [permutations[0], *permutations]


def ours(folder: str, permutations: list[int]) -> dict[str, Any]:
    """Freedman-Lane permutation of the residuals with the pooled t, two threads; GEMM peak beside it."""
    maps, arm, covariates = load(folder)
    matrix, contrast = design(arm, covariates)
    seconds, result = timed(maps, matrix, contrast, arm, permutations)
    each = per_permutation(seconds, permutations)
    np.save(Path(folder) / "t.npy", result.stat)
    rows = len(make_kernel(make_model(matrix, contrast), "labels").rows)
    return {
        "seconds": sum(seconds),
        "milliseconds": each,
        "gemm_share": 2e-9 * rows * maps.size / (each / 1e3) / _gemm_peak(),
    }


def timed(
    maps: NDArray[np.float32],
    matrix: NDArray[np.float64],
    contrast: NDArray[np.float64],
    arm: NDArray[np.int64],
    permutations: list[int],
    **options: Any,
) -> tuple[list[float], inference.TestResult]:
    """Seconds of calls with so many permutations, two threads, and the last result."""
    seconds = []
    with threadpool_limits(limits=1):
        for count in with_start(permutations):
            drawn = permutation_set(
                len(arm), "labels", matrix_effect=arm, n_permutations=count, seed=0, has_nuisance=True
            )
            start = perf_counter()
            result = inference.test(maps, matrix, contrast, drawn, workers=WORKERS, **options)
            seconds.append(perf_counter() - start)
    return seconds, result


def variant(
    folder: str,
    permutations: list[int],
    baseline: bool = False,
    groups: bool = False,
    rank: int = 0,
    arms: int = 2,
    gaps: float = 0.0,
    robust: bool = False,
) -> dict[str, Any]:
    """The same maps and permutations with a covariate of each voxel, a variance for each arm or row, F, gaps.

    More than two arms are of unequal sizes; an F then asks for any difference between them.
    """
    maps, arm, covariates = load(folder)
    if arms > 2:
        arm = np.minimum(np.arange(len(arm)) % (2 * arms - 1), arms - 1)
    matrix = np.column_stack([np.ones(len(arm)), *(arm == g for g in range(1, arms)), covariates])
    contrast = np.eye(matrix.shape[1])[1]
    if rank:
        contrast = np.eye(matrix.shape[1])[1 : 1 + rank]
    if gaps:
        maps = with_gaps(maps, gaps)
    options = {
        "covariate": np.load(Path(folder) / "baseline.npy") if baseline else None,
        "variance_groups": arm if groups else None,
        "cells": arm,
        "min_share": 0.5 if gaps else 1.0,
        **({"own_variances": True} if robust else {}),
    }
    seconds, _ = timed(maps, matrix, contrast, arm, permutations, **options)
    return {"seconds": sum(seconds), "milliseconds": per_permutation(seconds, permutations)}


def with_gaps(maps: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Some people without a value in the first half of the voxels."""
    maps = maps.copy()
    there = np.random.default_rng(4).random(maps.shape) >= share
    half = maps.shape[1] // 2
    maps[:, :half][~there[:, :half]] = np.nan
    return maps


def _gemm_peak() -> float:
    """Largest rate of float32 products in GFLOP/s, all BLAS threads."""
    one = np.ones((2048, 2048), dtype=np.float32)
    times = []
    for _ in range(5):
        start = perf_counter()
        one @ one
        times.append(perf_counter() - start)
    return 2 * 2.048**3 / min(times)


def nilearn(folder: str, permutations: list[int], n_jobs: int = 1) -> dict[str, Any]:
    """`permuted_ols` of the same maps and design, two-sided, with nilearn's defaults otherwise."""
    from nilearn.mass_univariate import permuted_ols

    maps, arm, covariates = load(folder)
    seconds = []
    for count in with_start(permutations):
        start = perf_counter()
        result = permuted_ols(
            arm[:, None].astype(float),
            maps,
            confounding_vars=covariates,
            n_perm=count,
            random_state=0,
            n_jobs=n_jobs,
        )
        seconds.append(perf_counter() - start)
    values = {"seconds": sum(seconds), "milliseconds": per_permutation(seconds, permutations)}
    kept = Path(folder) / "t.npy"
    if kept.exists():
        values["difference"] = float(np.abs(result["t"][0] - np.load(kept)).max())
    return values
