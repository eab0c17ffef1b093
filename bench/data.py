"""Simulated input of the benchmarks: one fMRIPrep run, maps of a group, an empty data set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from conn.confounds import FD, STRATEGIES

TR = 2.0
VOXEL_MM = 2.0
STRATEGY = "36P"
N_SEEDS = 12
RADIUS_MM = 5.0
SMOOTHNESS_VOXELS = 1.3
"""Standard deviation of the kernel of smooth maps: 6 mm of full width with voxels of 2 mm."""
BOLD = "sub-01_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
MASK = "sub-01_task-rest_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz"
CONFOUNDS = "sub-01_task-rest_desc-confounds_timeseries.tsv"
SEEDS = "seeds.json"


def run(
    folder: str, shape: list[int], mask_voxels: int, volumes: int, dtype: str = "int16", quick: bool = False
) -> dict[str, Any]:
    """Write image (gzip level 1 as fMRIPrep does), mask, confounds and two sets of seeds.

    `quick` compresses with isal, for lines that do not compare with the time of decompression.
    """
    Path(folder).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -VOXEL_MM * (np.array(shape) - 1) / 2
    position, inside = _ellipsoid(shape, mask_voxels)
    mask = nib.Nifti1Image(inside.reshape(shape).astype(np.uint8), affine)
    nib.save(mask, Path(folder) / MASK)
    nuisance = _confounds(Path(folder) / CONFOUNDS, volumes, rng)
    opened = (igzip.open if quick else gzip.open)(Path(folder) / BOLD, "wb", compresslevel=1)
    with opened as stream:
        _image(stream, np.dtype(dtype), (shape, affine), position, inside, nuisance, rng)
    _seeds(Path(folder) / SEEDS, shape, rng)
    return {"megabytes": (Path(folder) / BOLD).stat().st_size / 1e6}


def _ellipsoid(shape: list[int], mask_voxels: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Place of every voxel, relative to the size of a brain, and whether it is one of those in the middle."""
    position = (np.indices(shape).reshape(3, -1).T - (np.array(shape) - 1) / 2) / (0.37 * np.array(shape))
    inside = np.zeros(len(position), dtype=bool)
    inside[np.argsort((position**2).sum(axis=1), kind="stable")[:mask_voxels]] = True
    return position, inside


def _confounds(path: Path, volumes: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A table of 36 confounds that drift, as head motion and tissue signals do."""
    columns = STRATEGIES[STRATEGY].columns
    values = np.cumsum(rng.normal(size=(volumes, len(columns))), axis=0)
    values += 3 * rng.normal(size=values.shape)
    displacement = ["n/a", *(f"{v:.4f}" for v in rng.gamma(2.0, 0.05, volumes - 1))]
    lines = ["\t".join((*columns, FD))]
    for row, fd in zip(values, displacement, strict=True):
        lines.append("\t".join([*(f"{v:.8f}" for v in row), fd]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return values


def _image(
    stream: Any,
    dtype: np.dtype[Any],
    grid: tuple[list[int], NDArray[np.float64]],
    position: NDArray[np.float64],
    inside: NDArray[np.bool_],
    nuisance: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Slow networks, confounds and noise in the brain, faint noise around it; volume by volume."""
    volumes = len(nuisance)
    image = nib.Nifti1Image(np.zeros((1, 1, 1, 1), dtype), grid[1])
    image.header.set_data_shape((*grid[0], volumes))
    image.header.set_data_dtype(dtype)
    image.header.set_zooms((VOXEL_MM,) * 3 + (TR,))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(1, 0)
    image.header["vox_offset"] = 352
    networks = np.sin(position @ rng.normal(size=(3, 4)) * 3 + rng.uniform(0, 6, 4)).astype(np.float32)
    seconds = TR * np.arange(volumes)
    courses = sum(
        np.sin(2 * np.pi * f * seconds[:, None] + rng.uniform(0, 6, 4)) for f in rng.uniform(0.01, 0.09, 6)
    )
    time = np.hstack([6 * courses, 2 * nuisance[:, :3] / nuisance[:, :3].std(axis=0)]).astype(np.float32)
    space = np.hstack([networks, position.astype(np.float32)]) * inside[:, None]
    mean = np.where(inside, 900 + 150 * networks[:, 0], 4).astype(np.float32)
    spread = np.where(inside, 18, 0.8).astype(np.float32)
    stream.write(image.header.binaryblock + bytes(4))
    for course in time:
        volume = mean + space @ course + spread * rng.standard_normal(len(mean), dtype=np.float32)
        volume = np.maximum(volume, 0)
        volume = (np.rint(volume) if dtype.kind == "i" else volume).astype(dtype)
        stream.write(volume.reshape(grid[0]).tobytes(order="F"))


def _seeds(path: Path, shape: list[int], rng: np.random.Generator) -> None:
    """Two sets of centres well inside the brain, in mm."""
    direction = rng.normal(size=(2 * N_SEEDS, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    extent = 0.37 * VOXEL_MM * np.array(shape)
    centres = direction * rng.uniform(0.1, 0.6, size=(len(direction), 1)) * extent
    rounded = np.round(centres, 1).tolist()
    path.write_text(json.dumps({"first": rounded[:N_SEEDS], "new": rounded[N_SEEDS:]}), encoding="utf-8")


def group(folder: str, rows: int, features: int) -> dict[str, Any]:
    """Maps of two groups with three covariates, as one float32 array, an effect in some voxels."""
    rng = np.random.default_rng(1)
    arm = np.arange(rows) % 2
    covariates = rng.normal(size=(rows, 3))
    maps = rng.standard_normal((rows, features), dtype=np.float32)
    maps += (covariates @ rng.normal(size=(3, features)) * 0.3).astype(np.float32)
    maps[:, : features // 50] += 0.5 * arm[:, None].astype(np.float32)
    np.savez(Path(folder) / "design.npz", arm=arm, covariates=covariates)
    np.save(Path(folder) / "maps.npy", maps)
    np.save(Path(folder) / "baseline.npy", rng.standard_normal((rows, features), dtype=np.float32))
    return {}


def volumes(folder: str, shape: list[int], mask_voxels: int, rows: int) -> dict[str, Any]:
    """Smooth maps of two groups with three covariates in the mask of `run`, no effect; each of variance 1.

    They serve as maps of a statistic and as data. Voxels are in the order of their flat indices, the first
    axis fastest.
    """
    rng = np.random.default_rng(2)
    mask = _ellipsoid(shape, mask_voxels)[1].reshape(shape)
    maps = np.empty((rows, mask_voxels), dtype=np.float32)
    for row in range(rows):
        smooth = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), SMOOTHNESS_VOXELS)
        within = smooth.ravel(order="F")[mask.ravel(order="F")]
        maps[row] = within / within.std()
    np.savez(Path(folder) / "design.npz", arm=np.arange(rows) % 2, covariates=rng.normal(size=(rows, 3)))
    np.save(Path(folder) / "maps.npy", maps)
    np.save(Path(folder) / "mask.npy", mask)
    return {}


STUDY = """\
out: results
datasets:
  trial:
    bids_dir: data
    time_points: {labels: {pre: [pre], post: [post]}}
clinical:
  baseline: pre
  endpoint: post
  scales: {MADRS: {columns: {pre: MADRS_pre, post: MADRS_post}}}
  response: {scale: MADRS}
  variables: {arm: {column: arm, kind: category}}
connectivity: {seeds: [sgACC, PAG]}
models:
  change: {design: paired, before: pre, after: post}
  trial: {design: group_by_time, before: pre, after: post, group: arm, levels: [drug, placebo]}
"""
SPACE = "space-MNI152NLin2009cAsym_res-2"
DERIVED = (
    f"{SPACE}_desc-preproc_bold.nii.gz",
    f"{SPACE}_desc-preproc_bold.json",
    f"{SPACE}_desc-brain_mask.nii.gz",
    f"{SPACE}_boldref.nii.gz",
    "desc-confounds_timeseries.tsv",
    "desc-confounds_timeseries.json",
)


def study(folder: str, subjects: int) -> dict[str, Any]:
    """A data set of empty files: every subject scanned before and after, with six derivatives a run."""
    root = Path(folder)
    rows = ["participant_id\tarm\tMADRS_pre\tMADRS_post"]
    for number in range(subjects):
        label = f"sub-{number:04d}"
        rows.append(f"{label}\t{('drug', 'placebo')[number % 2]}\t{25 + number % 9}\t{12 + number % 11}")
        for session in ("ses-pre", "ses-post"):
            raw = root / "data" / label / session / "func"
            done = root / "data" / "derivatives" / "fmriprep" / label / session / "func"
            raw.mkdir(parents=True)
            done.mkdir(parents=True)
            (raw / f"{label}_{session}_task-rest_bold.nii.gz").touch()
            for name in DERIVED:
                (done / f"{label}_{session}_task-rest_{name}").touch()
    (root / "data" / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "study.yaml").write_text(STUDY, encoding="utf-8")
    return {"runs": 2 * subjects}
