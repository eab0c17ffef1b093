"""Benchmarks of the first level: from one run's files to Fisher-z maps of seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import data
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from worker import peak_mb

from conn import confounds, correlation, images, projection
from conn.config.model import Denoise
from conn.index import Run
from conn.rois import placement
from conn.rois.registry import Shape
from conn.stages import project

CLEANING = Denoise(strategy=data.STRATEGY)


def ours(folder: str, fwhm_mm: float, keep: bool = False, nilearn_operator: bool = False) -> dict[str, Any]:
    """Maps and ROI matrix of twelve seeds from the files of a run, as stages project and measure make them.

    With `nilearn_operator` the cleaning is nilearn's own matrix, and the largest difference in r from the
    maps that `nilearn` left in the folder is returned too. `parts` are seconds by part.
    """
    seeds = _seeds(folder, "first")
    operator = _nilearn_operator(folder) if nilearn_operator else None
    clock = Clock()
    with threadpool_limits(limits=1):
        made = project.plan(_run(folder), CLEANING, project.RunSettings())
        if operator is not None:
            made = replace(made, basis=operator)
        clock.part("headers, confounds, basis")
        grid, arrays = project.coefficients(_run(folder), made, fwhm_mm, timed=clock.part)
        members = _members(seeds, grid, arrays["voxels"], arrays["valid"])
        series = correlation.roi_coefficients(arrays["Y"], members)
        correlation.correlation_matrix(series)
        clock.part("regions, their series and matrix")
        maps = correlation.seed_maps(arrays.get("Ysmooth", arrays["Y"]), series)
        clock.part("seed maps")
    values: dict[str, Any] = {"seconds": clock.total, "df": int(made.basis.shape[1]), "parts": clock.parts}
    if keep:
        np.savez(Path(folder) / "kept.npz", voxels=arrays["voxels"], valid=arrays["valid"])
        np.save(Path(folder) / "Y.npy", arrays["Y"])
    if operator is not None:
        theirs = np.load(Path(folder) / f"nilearn_{fwhm_mm:g}.npy")
        values["difference"] = float(np.abs(np.tanh(maps.astype(np.float64)) - theirs).max())
    return values


class Clock:
    """Seconds by part, one after the other."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.last = perf_counter()

    def part(self, name: str) -> None:
        now = perf_counter()
        self.parts[name] = now - self.last
        self.last = now

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def _run(folder: str) -> Run:
    root = Path(folder)
    entities = {"sub": "01", "task": "rest", "space": "MNI152NLin2009cAsym"}
    bold, mask, table = (root / name for name in (data.BOLD, data.MASK, data.CONFOUNDS))
    return Run("one", "d", "01", None, entities, None, bold, mask, table, None)


def _seeds(folder: str, which: str) -> list[list[float]]:
    return json.loads((Path(folder) / data.SEEDS).read_text(encoding="utf-8"))[which]


def _members(
    seeds: list[list[float]], grid: images.Grid, voxels: NDArray[np.int64], valid: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    column = np.full(int(np.prod(grid.shape)), -1, dtype=np.int64)
    column[voxels] = np.arange(voxels.size)
    spheres = [Shape((x, y, z), radius=data.RADIUS_MM) for x, y, z in seeds]
    placed = [
        placement.place(placement.Shapes((sphere,)), grid.shape, grid.affine, "centre") for sphere in spheres
    ]
    return [placement.cover(one, column, valid, 0.5).members for one in placed]


def new_seeds(folder: str) -> dict[str, Any]:
    """Maps of twelve other seeds from coefficients that were kept on disk."""
    seeds = _seeds(folder, "new")
    grid, _ = images.read_volume(Path(folder) / data.MASK)
    with np.load(Path(folder) / "kept.npz") as kept:
        voxels, valid = kept["voxels"], kept["valid"]
    start = perf_counter()
    with threadpool_limits(limits=1):
        Y = np.load(Path(folder) / "Y.npy")
        series = correlation.roi_coefficients(Y, _members(seeds, grid, voxels, valid))
        correlation.seed_maps(Y, series)
    return {"seconds": perf_counter() - start}


def decompress(folder: str) -> dict[str, Any]:
    """Only read the compressed image to its end."""
    from isal import igzip

    buffer = bytearray(1 << 20)
    start = perf_counter()
    with igzip.open(Path(folder) / data.BOLD, "rb") as stream:
        while stream.readinto(buffer):
            pass
    return {"seconds": perf_counter() - start}


# ------------------------------------------------------------------------------------------------ nilearn


def _nilearn_options() -> dict[str, Any]:
    return {
        "standardize": "zscore_sample",
        "standardize_confounds": True,
        "detrend": True,
        "high_pass": CLEANING.high_pass,
        "low_pass": CLEANING.low_pass,
        "t_r": data.TR,
    }


def _nilearn_confounds(folder: str) -> Any:
    import pandas as pd

    table = pd.read_csv(Path(folder) / data.CONFOUNDS, sep="\t", na_values="n/a")
    return table[list(confounds.STRATEGIES[data.STRATEGY].columns)]


def nilearn(folder: str, fwhm_mm: float, compare: bool = False) -> dict[str, Any]:
    """The same maps as nilearn's examples make them: spheres masker, brain masker, product, arctanh.

    With `compare` the maps are kept to be compared with.
    """
    from nilearn.maskers import NiftiMasker

    start = perf_counter()
    series = _nilearn_series(folder, "first")
    brain = NiftiMasker(
        mask_img=str(Path(folder) / data.MASK), smoothing_fwhm=fwhm_mm or None, **_nilearn_options()
    )
    voxels = brain.fit_transform(str(Path(folder) / data.BOLD), confounds=_nilearn_confounds(folder))
    r = _correlate(series, voxels)
    values = {"seconds": perf_counter() - start, "peak_mb": peak_mb()}
    if compare:
        np.save(Path(folder) / f"nilearn_{fwhm_mm:g}.npy", r[:, _first_axis_fastest(folder)])
    return values


def nilearn_in_float64(folder: str, fwhm_mm: float) -> dict[str, Any]:
    """Maps of nilearn that computes in float64 throughout, only to be compared with.

    Left to itself it does not, for an int16 image: it rounds the mean of a sphere to an integer (up to 0.03
    in r), smooths in float32 (5e-6) and cleans in float32 (1e-6). So it is given numbers that are float64.
    """
    import nibabel as nib
    from nilearn.maskers import NiftiMasker

    start = perf_counter()
    stored = nib.load(Path(folder) / data.BOLD)
    image = nib.Nifti1Image(stored.get_fdata(dtype=np.float64), stored.affine)
    image.header.set_zooms(stored.header.get_zooms())
    options = {"dtype": "float64", **_nilearn_options()}
    brain = NiftiMasker(mask_img=str(Path(folder) / data.MASK), smoothing_fwhm=fwhm_mm or None, **options)
    voxels = brain.fit_transform(image, confounds=_nilearn_confounds(folder))
    r = _correlate(_nilearn_series(folder, "first", dtype="float64"), voxels)
    np.save(Path(folder) / f"nilearn_{fwhm_mm:g}.npy", r[:, _first_axis_fastest(folder)])
    return {"seconds": perf_counter() - start}


def _nilearn_series(folder: str, which: str, **more: Any) -> NDArray[Any]:
    from nilearn.maskers import NiftiSpheresMasker

    spheres = NiftiSpheresMasker(
        [tuple(centre) for centre in _seeds(folder, which)],
        radius=data.RADIUS_MM,
        mask_img=str(Path(folder) / data.MASK),
        allow_overlap=True,
        **_nilearn_options(),
        **more,
    )
    return spheres.fit_transform(str(Path(folder) / data.BOLD), confounds=_nilearn_confounds(folder))


def _correlate(series: NDArray[Any], voxels: NDArray[Any]) -> NDArray[np.float64]:
    """Correlations, and Fisher's z of them for the time that it takes."""
    r = series.T @ voxels / (len(voxels) - 1)
    np.arctanh(np.clip(r, -correlation.CLIP, correlation.CLIP))
    return r.astype(np.float64)


def _first_axis_fastest(folder: str) -> NDArray[np.int64]:
    """Order that takes nilearn's voxels (last axis fastest) to ours."""
    inside = images.read_volume(Path(folder) / data.MASK)[1] > 0
    place = np.zeros(inside.shape, dtype=np.int64)
    place[inside] = np.arange(inside.sum())
    return place.ravel(order="F")[inside.ravel(order="F")]


def _nilearn_operator(folder: str) -> NDArray[np.float64]:
    """What nilearn's cleaning multiplies each voxel's series with, as the basis that `project` takes."""
    from nilearn.signal import clean

    options = {**_nilearn_options(), "standardize": None}
    volumes = images.read_header(Path(folder) / data.BOLD).volumes
    operator = clean(np.eye(volumes), confounds=_nilearn_confounds(folder), **options)
    return projection.operator_basis(operator)[1]
