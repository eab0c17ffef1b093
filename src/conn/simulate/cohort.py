"""A trial with known truth, written as a BIDS data set and fMRIPrep-layout derivatives."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conn.files import write_json, write_text
from conn.simulate.anatomy import load_anatomy
from conn.simulate.jobs import PERSON, SCAN, RunJob, make_runs, stream
from conn.simulate.latent import Latent, build_latent, check_reach, draw_person, scan_loadings
from conn.simulate.layout import run_files, write_description, write_tissues
from conn.simulate.motion import HIGH, expected_displacement, framewise_displacement
from conn.simulate.people import (
    Person,
    draw_people,
    person_z,
    scan_motion,
    too_restless,
    write_participants,
)
from conn.simulate.population import expected_change
from conn.simulate.regions import Scene, build_scene
from conn.simulate.signal import Signal
from conn.simulate.spec import CohortSpec

Array = NDArray[np.float64]

ABOUT = (
    "Simulated data with a known truth (truth.json). Nobody was scanned, and no image went through fMRIPrep."
)


@dataclass(frozen=True)
class Prepared:
    """A trial before its voxels are made.

    Attributes
    ----------
    scene, latent
        Space, and the population.
    people
        Participants.
    targets : ndarray of shape (n_subjects, n_sessions, n_edges)
        Fisher z that each scan should show at the planted edges, with artefacts of motion.
    neural : ndarray of shape (n_subjects, n_sessions, n_edges)
        The same without artefacts.
    motion : ndarray of shape (n_subjects, n_sessions, n_volumes, 6), or None
        How heads move where connectivity depends on it; None: drawn with each run.
    """

    scene: Scene
    latent: Latent
    people: tuple[Person, ...]
    targets: Array
    neural: Array
    motion: Array | None = None


def prepare(spec: CohortSpec, scene: Scene | None = None) -> Prepared:
    """Draw people, scores and the true connectivity of every scan.

    Parameters
    ----------
    spec
        The trial.
    scene
        From an earlier call with the same regions and voxels, to save time.

    Raises
    ------
    ConfigError
        Regions outside the brain, effects that cannot be reached.
    """
    scene = scene or build_scene(load_anatomy(spec.voxel_mm), spec.rois, spec.margin_mm)
    latent = build_latent(scene, spec.rois, spec.edges, spec.signal, spec.volumes, spec.tr)
    expected = expected_change(spec)
    check_reach(latent, spec.edges, expected.spread, restless_displacement(spec))
    people = draw_people(spec)
    neural = np.stack([person_z(spec, person, expected.mean) for person in people])
    if spec.restless is None:
        return Prepared(scene, latent, people, neural, neural)
    sessions = range(len(spec.sessions))
    motion = np.array([[scan_motion(spec, person, session) for session in sessions] for person in people])
    artefact = np.array([edge.fd_slope for edge in spec.edges])
    beyond = mean_displacement(motion) - expected_displacement(spec.motion)
    return Prepared(scene, latent, people, neural + artefact * beyond[:, :, None], neural, motion)


def mean_displacement(motion: Array) -> Array:
    """Mean framewise displacement in mm of scans.

    Parameters
    ----------
    motion
        ndarray of shape (..., n_volumes, 6).

    Returns
    -------
    ndarray of shape (...)
        The first volume, which has none, is left out.
    """
    runs = motion.reshape(-1, *motion.shape[-2:])
    means = np.array([framewise_displacement(run)[1:].mean() for run in runs])
    return means.reshape(motion.shape[:-2])


def restless_displacement(spec: CohortSpec) -> float:
    """How much more an arm moves than an ordinary scan does, mean framewise displacement in mm."""
    if spec.restless is None:
        return 0.0
    return expected_displacement(spec.restless.motion) - expected_displacement(spec.motion)


def loadings_of(spec: CohortSpec, prepared: Prepared, person: int, session: int) -> Array:
    """Loadings of one scan; ndarray of shape (n_nodes, n_sources)."""
    basis = draw_person(stream(spec.seed, PERSON, person, 2), prepared.latent)
    rng = stream(spec.seed, SCAN, person, session, 0)
    return scan_loadings(rng, prepared.latent, basis, prepared.targets[person, session])


def write_cohort(out: Path, spec: CohortSpec, prepared: Prepared, workers: int | None) -> None:
    """Write tables, sidecars and derivatives of a prepared trial.

    Parameters
    ----------
    out
        The BIDS data set; derivatives go to `derivatives/fmriprep` inside it.
    spec, prepared
        The trial.
    workers
        Processes; None for one per processor.
    """
    derivatives = out / "derivatives" / "fmriprep"
    write_description(out, spec.name, ABOUT)
    write_description(derivatives, f"{spec.name}: derivatives", ABOUT, "../..")
    write_text(
        out / "README",
        f"{spec.name}\n\n{ABOUT}\nRaw images do not exist; derivatives are in derivatives/fmriprep.\n",
    )
    write_participants(out, spec, prepared.people)
    jobs = [
        _job(derivatives, spec, prepared, person, session)
        for person in prepared.people
        for session, there in enumerate(person.scanned)
        if there
    ]
    for job in jobs:
        _raw_sidecar(out, spec, job)
    labels = [person.label for person in prepared.people]
    write_tissues(derivatives, prepared.scene.anatomy, labels, spec.space, _resolution(spec))
    make_runs(prepared.scene, jobs, workers or os.cpu_count() or 1)


def _resolution(spec: CohortSpec) -> str | None:
    return spec.res or ("2" if spec.voxel_mm == 2 else None)


def _job(derivatives: Path, spec: CohortSpec, prepared: Prepared, person: Person, session: int) -> RunJob:
    number = person.number
    entities = {"sub": person.label, "ses": spec.sessions[session], "task": spec.task}
    return RunJob(
        entropy=(spec.seed, number, session),
        loadings=loadings_of(spec, prepared, number, session),
        volumes=spec.volumes,
        tr=spec.tr,
        signal=scan_signal(spec, person, session),
        motion=HIGH if too_restless(spec, number, session) else spec.motion,
        parameters=None if prepared.motion is None else prepared.motion[number, session],
        lowest_mm=lowest_slice(spec.seed, number),
        folder=derivatives,
        files=run_files(entities, spec.space, _resolution(spec)),
        task=spec.task,
        truncated=session == 0 and 2 <= number < 2 + spec.truncated,
    )


def scan_signal(spec: CohortSpec, person: Person, session: int) -> Signal:
    """Strengths in one scan: the fluctuation of the whole brain may follow the arm."""
    gain = spec.global_gain.get(person.arm, 1.0) if session > 0 else 1.0
    return replace(spec.signal, global_signal=gain * spec.signal.global_signal)


def lowest_slice(seed: int, person: int) -> float:
    """Lower end of a person's field of view in mm: somewhere in the cerebellum."""
    return float(stream(seed, PERSON, person, 3).uniform(-66.0, -52.0))


def _raw_sidecar(out: Path, spec: CohortSpec, job: RunJob) -> None:
    name = job.files.confounds.name.replace("_desc-confounds_timeseries.tsv", "_bold.json")
    content = {"RepetitionTime": spec.tr, "TaskName": spec.task}
    write_json(out / job.files.confounds.parent / name, content)
