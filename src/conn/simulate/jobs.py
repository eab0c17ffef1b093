"""Making runs, one by one or in several processes, with the same bytes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conn.simulate.layout import RunFiles, truncate, write_bold, write_confounds, write_mask, write_sidecar
from conn.simulate.motion import Motion
from conn.simulate.regions import Scene
from conn.simulate.scan import Tally, compcor, compose, confounds, volumes_of
from conn.simulate.signal import Signal

POPULATION, PERSON, SCAN, VOXELS, ASSIGNMENT, MOTION = range(1, 7)
"""First words of the seeds after the user's: what a stream of random numbers is for."""


@dataclass(frozen=True)
class RunJob:
    """One run to make.

    Attributes
    ----------
    entropy
        Seed of the run: user's seed, person, scan.
    loadings : ndarray of shape (n_nodes, n_sources)
        See `conn.simulate.latent.scan_loadings`.
    volumes, tr
        Length and repetition time in s.
    lowest_mm
        Lower end of the field of view.
    folder, files
        Where it goes.
    task
        TaskName of the sidecar.
    parameters : ndarray of shape (n_volumes, 6), or None
        How the head moves, where that was decided before; None: drawn from `motion`.
    truncated, confounds
        Faults to plant: an image cut short; no confounds table.
    """

    entropy: tuple[int, int, int]
    loadings: NDArray[np.float64]
    volumes: int
    tr: float
    signal: Signal
    motion: Motion
    lowest_mm: float
    folder: Path
    files: RunFiles
    task: str
    parameters: NDArray[np.float64] | None = None
    truncated: bool = False
    confounds: bool = True


def stream(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """A generator of its own for each purpose, person and scan.

    Numbers are counted from 1 in the seed, since trailing zeros of a SeedSequence make no difference.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, purpose, *(n + 1 for n in numbers)]))


def make_runs(scene: Scene, jobs: Sequence[RunJob], workers: int) -> None:
    """Write all runs. The bytes do not depend on the number of workers.

    Parameters
    ----------
    scene
        Tissue, regions and networks.
    jobs
        Runs.
    workers
        Processes; 1 works in this one. Each uses one thread.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            make_run(scene, job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        for done in [pool.submit(make_run, scene, job) for job in jobs]:
            done.result()


def make_run(scene: Scene, job: RunJob) -> None:
    """Write image, mask, confounds and sidecars of one run."""
    with threadpool_limits(1):
        _make(scene, job)


def _make(scene: Scene, job: RunJob) -> None:
    seed, person, scan = job.entropy
    run = compose(
        stream(seed, SCAN, person, scan, 1),
        scene,
        job.loadings,
        volumes=job.volumes,
        tr=job.tr,
        signal=job.signal,
        motion=job.motion,
        lowest_mm=job.lowest_mm,
        parameters=job.parameters,
    )
    tally = Tally()
    chunks = volumes_of(stream(seed, VOXELS, person, scan), scene, run, job.signal, tally)
    bold = job.folder / job.files.bold
    write_bold(bold, scene.anatomy, job.volumes, job.tr, chunks)
    write_sidecar(
        bold,
        {
            "RepetitionTime": job.tr,
            "SkullStripped": False,
            "SliceTimingCorrected": False,
            "TaskName": job.task,
        },
    )
    mask = job.folder / job.files.mask
    write_mask(mask, scene.anatomy, scene.anatomy.brain & run.seen)
    write_sidecar(mask, {"Type": "Brain"})
    if job.confounds:
        found = compcor(tally, job.tr)
        table = confounds(run, tally, job.tr, found.columns)
        write_confounds(job.folder / job.files.confounds, table, found.metadata)
    if job.truncated:
        truncate(bold)
