"""Disk and memory that a study will take, from headers, masks and confounds alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conn import memory, paths, smoothing
from conn.index import Run
from conn.rois import registry
from conn.stages.project import Plan, brain
from conn.study import Study

DIGITS = 12.0
"""Bytes of a number in a table, measured."""

MAP_BYTES = 4.05
"""Bytes of a map per voxel of the brain, measured: Fisher z in float32 hardly compresses."""


@dataclass(frozen=True)
class Planned:
    """A run that will be computed.

    Attributes
    ----------
    run
        With absolute paths.
    plan
        Its header and basis.
    voxels
        Voxels in its mask.
    """

    run: Run
    plan: Plan
    voxels: int

    @property
    def k(self) -> int:
        """Degrees of freedom kept."""
        return int(self.plan.basis.shape[1])

    @property
    def volumes(self) -> int:
        """Number of volumes."""
        return self.plan.header.volumes

    @property
    def coefficients(self) -> float:
        """Bytes of one set of coefficients."""
        return 4.0 * self.k * self.voxels

    @property
    def grid(self) -> int:
        """Voxels of the image."""
        return int(np.prod(self.plan.header.grid.shape))


@dataclass(frozen=True)
class Disk:
    """Bytes that will be in the output folder.

    Attributes
    ----------
    unsmoothed, smoothed
        Kept projections.
    maps
        Seed maps of all runs.
    tables
        Matrices, series and coverage of all runs.
    """

    unsmoothed: float
    smoothed: float
    maps: float
    tables: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.unsmoothed + self.smoothed + self.maps + self.tables


def disk(study: Study, planned: Sequence[Planned]) -> Disk:
    """What stages project and measure will write.

    Parameters
    ----------
    study
        The study.
    planned
        Its runs, as far as they are not left out.
    """
    asked = study.config.connectivity
    n_rois = len(registry.regions(study.config.rois))
    matrices = 1 + (asked.partial is not None) + asked.xdf
    voxels = sum(one.voxels for one in planned)
    coefficients = sum(one.coefficients for one in planned)
    beside = sum(8.0 * one.k * one.volumes + 17.0 * one.voxels for one in planned)
    cells = sum(n_rois * (one.volumes + matrices * n_rois + 6) for one in planned)
    return Disk(
        coefficients + beside,
        coefficients if study.map_fwhm > 0 else 0.0,
        MAP_BYTES * len(study.maps) * voxels,
        DIGITS * cells,
    )


@dataclass(frozen=True)
class Memory:
    """Largest resident size of the jobs of each run, in 10^6 bytes."""

    project: tuple[float, ...]
    measure: tuple[float, ...]


def memory_of_jobs(study: Study, planned: Sequence[Planned]) -> Memory:
    """What the jobs of each run will need; see `conn.memory`.

    How far the smoothing kernel reaches beyond a mask is looked up for the largest run and taken in
    proportion for the others.

    Parameters
    ----------
    study
        The study.
    planned
        Its runs, at least one.
    """
    largest = max(planned, key=lambda one: one.coefficients)
    held, box = _held(study, largest)
    project, measure = [], []
    for one in planned:
        share = one.voxels / largest.voxels
        project.append(
            memory.project_mb(
                one.k,
                round(held * share),
                one.voxels,
                one.grid,
                one.volumes,
                one.plan.header.dtype.itemsize,
                box=round(box * share),
            )
        )
        smoothed = study.map_fwhm > 0
        measure.append(memory.measure_mb(one.k, one.voxels, one.grid, len(study.maps), smoothed=smoothed))
    return Memory(tuple(project), tuple(measure))


def _held(study: Study, one: Planned) -> tuple[int, int]:
    """Voxels that are read of a run, and those of the box that is smoothed."""
    if study.map_fwhm == 0:
        return one.voxels, 0
    grid, voxels = brain(one.run, one.plan.header)
    within = study.smooth_within_mask
    area = smoothing.support(voxels, grid.shape, study.map_fwhm, grid.voxel_mm, within_mask=within)
    return area.voxels.size, int(np.prod(area.shape))


def describe(study: Study, planned: Sequence[Planned]) -> list[str]:
    """Disk and memory in sentences, for `conn check`.

    Parameters
    ----------
    study
        The study.
    planned
        Its runs, as far as they are not left out.
    """
    if not planned:
        return ["nothing will be computed"]
    needed = disk(study, planned)
    there = sum(_sizes(study.out, [one.run.key for one in planned]))
    words = _disk_words(study, needed, there)
    return [*words, *_memory_words(memory_of_jobs(study, planned))]


def _disk_words(study: Study, needed: Disk, there: int) -> Iterator[str]:
    kinds = [f"{gigabytes(needed.unsmoothed)} unsmoothed"]
    if needed.smoothed:
        kinds.append(f"{gigabytes(needed.smoothed)} smoothed with {study.map_fwhm:g} mm")
    yield (
        f"disk: {gigabytes(needed.unsmoothed + needed.smoothed)} of projections in "
        f"{paths.PROJECTIONS.as_posix()} ({', '.join(kinds)}; conn clean gives it back)"
    )
    yield (
        f"  and about {gigabytes(needed.maps)} of seed maps, {gigabytes(needed.tables)} of matrices, series"
    )
    missing, free = needed.total - there, _free(study.out)
    if missing > free:
        yield (
            f"WILL NOT FIT: {gigabytes(missing)} more are needed and {gigabytes(free)} are free at "
            f"{study.config.out}. Set out to a folder on a larger disk, or ask for fewer maps "
            "(connectivity.seeds) or none that are smoothed (connectivity.fwhm_mm: 0)."
        )


def _memory_words(needed: Memory) -> Iterator[str]:
    yield (
        f"memory: up to {gigabytes(1e6 * max(needed.project))} for a job of stage project and "
        f"{gigabytes(1e6 * max(needed.measure))} for one of stage measure, times the jobs at once (--cores)"
    )
    for stage, sizes, first in (
        ("project", needed.project, memory.FIRST_PROJECT_MB),
        ("measure", needed.measure, memory.FIRST_MEASURE_MB),
    ):
        above = sum(size > first for size in sizes)
        if above:
            yield (
                f"{above} of {len(sizes)} jobs of stage {stage} need more than the {first} MB that they ask "
                "a cluster for at the first attempt. They are tried again with more; to save that, add "
                f"--set-resources {stage}:mem_mb={_rounded(max(sizes))}."
            )


def gigabytes(size: float) -> str:
    """Bytes in GB (10^9), with as many digits as say something."""
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e9:.4f} GB"


def _rounded(megabytes: float) -> int:
    return int(np.ceil(megabytes / 100) * 100)


def _sizes(out: Path, runs: Iterable[str]) -> Iterator[int]:
    """Sizes of the files that an earlier start has left of those that are announced."""
    folders = [paths.project_folder(run).as_posix() for run in runs]
    for pattern in (*(f"{folder}/*" for folder in folders), "sub-*/func/*", "sub-*/ses-*/func/*"):
        yield from (path.lstat().st_size for path in out.glob(pattern))


def _free(out: Path) -> int:
    """Free bytes where the output folder is, or will be."""
    there = next(folder for folder in (out, *out.parents) if folder.exists())
    return shutil.disk_usage(there).free
