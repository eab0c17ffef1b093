"""A trial with known truth, written as a BIDS data set and fMRIPrep-layout derivatives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.files import write_json, write_text
from conn.simulate.anatomy import load_anatomy
from conn.simulate.jobs import ASSIGNMENT, PERSON, SCAN, RunJob, make_runs, stream
from conn.simulate.latent import (
    Latent,
    PlantedEdge,
    build_latent,
    check_reach,
    draw_person,
    scan_loadings,
)
from conn.simulate.layout import run_files, write_description, write_tissues
from conn.simulate.motion import HIGH, Motion
from conn.simulate.regions import Scene, Sphere, build_scene
from conn.simulate.signal import Signal
from conn.tables import write_tsv

Array = NDArray[np.float64]

ABOUT = (
    "Simulated data with a known truth (truth.json). Nobody was scanned, and no image went through fMRIPrep."
)


@dataclass(frozen=True)
class Score:
    """A clinical score at every session.

    Attributes
    ----------
    name
        Start of its columns, as in `MADRS_ses-pre`.
    baseline_mean, baseline_sd
        At the first session.
    change
        Mean and standard deviation of the change by arm, the same for all later sessions.
    minimum, maximum
        Range of the scale.
    """

    name: str = "MADRS"
    baseline_mean: float = 31.0
    baseline_sd: float = 4.0
    change: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {"drug": (-14.0, 7.0), "placebo": (-8.0, 7.0)}
    )
    minimum: int = 0
    maximum: int = 60


@dataclass(frozen=True)
class TruthModel:
    """A model of the analysis that a true value is wanted for.

    Attributes
    ----------
    name
        Name of the model in the configuration.
    contrast
        ``change`` (paired), ``interaction`` (first arm minus second) or ``slope`` (change of connectivity
        on change of score).
    arms
        Arms whose people are in the model; empty for all.
    """

    name: str
    contrast: str
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class CohortSpec:
    """A simulated trial.

    Attributes
    ----------
    rois
        Regions with a signal of their own: label, centre in mm, radius in mm. Spheres with one label are
        one region.
    edges
        Planted edges; the truth.
    n_subjects, arms
        People, dealt evenly to the arms in random order.
    sessions
        Labels; the first is the baseline.
    volumes, tr, voxel_mm
        Length of a run, repetition time in s, voxel size in mm.
    seed
        Everything random starts from it.
    score, signal, motion
        Clinical score; strength of signals; head motion of an ordinary run.
    models
        Models that `truth.json` gives values for. Empty: one of each contrast, for any model.
    missing_last
        People without a scan and score at the last session (the last people of the list).
    high_motion
        People whose last scan moves too much (from the second person on).
    truncated
        People whose first image is cut short (from the third person on).
    task, space, res
        Entities of the file names. `res` None: "2" on the 2 mm grid, else absent.
    margin_mm
        How far a region's signal reaches beyond the region.
    name
        Name of the data set.
    """

    rois: tuple[Sphere, ...]
    edges: tuple[PlantedEdge, ...] = ()
    n_subjects: int = 24
    arms: tuple[str, ...] = ("drug", "placebo")
    sessions: tuple[str, ...] = ("pre", "post")
    volumes: int = 150
    tr: float = 2.0
    voxel_mm: float = 3.0
    seed: int = 0
    score: Score = field(default_factory=Score)
    signal: Signal = field(default_factory=Signal)
    motion: Motion = field(default_factory=Motion)
    models: tuple[TruthModel, ...] = ()
    missing_last: int = 0
    high_motion: int = 0
    truncated: int = 0
    task: str = "rest"
    space: str = "MNI152NLin2009cAsym"
    res: str | None = None
    margin_mm: float = 1.5
    name: str = "Simulated treatment trial"

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.n_subjects < 1 or not self.arms or not self.sessions:
            raise ConfigError("a cohort needs at least one subject, one arm and one session")
        if self.volumes < 20:
            raise ConfigError(f"volumes {self.volumes} is below 20; too short for a band of frequencies")
        unknown = {arm for edge in self.edges for arm in edge.delta_z} - set(self.arms)
        if unknown:
            raise ConfigError(f"planted edge: arm {sorted(unknown)[0]!r} is none of {', '.join(self.arms)}")
        if max(self.missing_last, self.high_motion + 1, self.truncated + 2) > max(self.n_subjects, 2):
            raise ConfigError(f"more faulty scans asked for than {self.n_subjects} subjects have")


@dataclass(frozen=True)
class Person:
    """One participant; `scores` has one value per session, None when there is no scan."""

    number: int
    label: str
    arm: str
    age: int
    sex: str
    site: str
    scores: tuple[int | None, ...]


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
        Fisher z that each scan should show at the planted edges.
    """

    scene: Scene
    latent: Latent
    people: tuple[Person, ...]
    targets: Array


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
    check_reach(latent, spec.edges, expected.spread)
    people = draw_people(spec)
    targets = np.stack([_targets(spec, person, expected.mean) for person in people])
    return Prepared(scene, latent, people, targets)


@dataclass(frozen=True)
class ExpectedChange:
    """Change of the score in the population, all arms together and by arm (mean, SD)."""

    mean: float
    spread: float
    by_arm: Mapping[str, tuple[float, float]]


def expected_change(spec: CohortSpec) -> ExpectedChange:
    """Moments of the change of score after rounding and clipping, by a large draw with its own seed."""
    size = 200_000
    by_arm = {}
    for number, arm in enumerate(spec.arms):
        drawn = draw_scores(stream(0, ASSIGNMENT, number), spec.score, arm, 2, size)
        change = (drawn[:, 1] - drawn[:, 0]).astype(float)
        by_arm[arm] = (float(change.mean()), float(change.std()))
    means = np.array([mean for mean, _ in by_arm.values()])
    variances = np.array([sd**2 for _, sd in by_arm.values()])
    shares = arm_shares(spec, spec.arms)
    overall = float(shares @ means)
    return ExpectedChange(overall, float(np.sqrt(shares @ (variances + (means - overall) ** 2))), by_arm)


def arm_shares(spec: CohortSpec, arms: tuple[str, ...]) -> Array:
    """Share of each arm among the people of some arms; ndarray of shape (n_arms,)."""
    dealt = [spec.arms[i % len(spec.arms)] for i in range(spec.n_subjects)]
    counts = np.array([dealt.count(arm) for arm in arms], dtype=float)
    shares: Array = counts / counts.sum() if counts.sum() else np.full(len(arms), 1.0 / len(arms))
    return shares


def draw_scores(
    rng: np.random.Generator, score: Score, arm: str, sessions: int, size: int
) -> NDArray[np.int64]:
    """Whole-number scores.

    Parameters
    ----------
    rng
        Source of random numbers.
    score
        The scale.
    arm
        Decides the change.
    sessions, size
        Number of sessions and people.

    Returns
    -------
    ndarray of shape (size, sessions), int64
    """
    mean, sd = score.change.get(arm, (0.0, 0.0))
    first = score.baseline_mean + score.baseline_sd * rng.standard_normal((size, 1))
    change = mean + sd * rng.standard_normal((size, sessions - 1))
    values = np.rint(np.hstack([first, np.rint(first) + change]))
    clipped: NDArray[np.int64] = np.clip(values, score.minimum, score.maximum).astype(np.int64)
    return clipped


def draw_people(spec: CohortSpec) -> tuple[Person, ...]:
    """Participants of a trial; arms are dealt evenly in random order."""
    dealt = [spec.arms[i % len(spec.arms)] for i in range(spec.n_subjects)]
    order = stream(spec.seed, ASSIGNMENT).permutation(spec.n_subjects)
    width = max(2, len(str(spec.n_subjects)))
    return tuple(_draw_person(spec, i, f"{i + 1:0{width}d}", dealt[order[i]]) for i in range(spec.n_subjects))


def _draw_person(spec: CohortSpec, number: int, label: str, arm: str) -> Person:
    rng = stream(spec.seed, PERSON, number, 0)
    age, sex, site = int(rng.integers(21, 60)), str(rng.choice(["F", "M"])), str(rng.choice(["A", "B"]))
    drawn = draw_scores(rng, spec.score, arm, len(spec.sessions), 1)[0]
    missing = number >= spec.n_subjects - spec.missing_last
    scores: list[int | None] = [int(value) for value in drawn]
    if missing:
        scores[-1] = None
    return Person(number, label, arm, age, sex, site, tuple(scores))


def _targets(spec: CohortSpec, person: Person, mean_change: float) -> Array:
    """Fisher z of one person at the planted edges; ndarray of shape (n_sessions, n_edges)."""
    rng = stream(spec.seed, PERSON, person.number, 1)
    own = rng.standard_normal(len(spec.edges))
    each = rng.standard_normal((len(spec.sessions), len(spec.edges)))
    z = np.empty((len(spec.sessions), len(spec.edges)))
    first = person.scores[0] or 0
    for e, edge in enumerate(spec.edges):
        z[:, e] = edge.baseline_z + edge.person_sd * own[e]
        for s, score in enumerate(person.scores[1:], start=1):
            moved = mean_change if score is None else score - first
            change = edge.delta_z.get(person.arm, 0.0) + edge.slope * (moved - mean_change)
            z[s, e] += change + edge.change_sd * each[s, e]
    return z


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
        for session, score in enumerate(person.scores)
        if score is not None
    ]
    for job in jobs:
        _raw_sidecar(out, spec, job)
    labels = [person.label for person in prepared.people]
    write_tissues(derivatives, prepared.scene.anatomy, labels, spec.space, _resolution(spec))
    make_runs(prepared.scene, jobs, workers or os.cpu_count() or 1)


def _resolution(spec: CohortSpec) -> str | None:
    return spec.res or ("2" if spec.voxel_mm == 2 else None)


def _job(derivatives: Path, spec: CohortSpec, prepared: Prepared, person: Person, session: int) -> RunJob:
    number, last = person.number, len(spec.sessions) - 1
    moving = session == last and 1 <= number <= spec.high_motion
    entities = {"sub": person.label, "ses": spec.sessions[session], "task": spec.task}
    return RunJob(
        entropy=(spec.seed, number, session),
        loadings=loadings_of(spec, prepared, number, session),
        volumes=spec.volumes,
        tr=spec.tr,
        signal=spec.signal,
        motion=HIGH if moving else spec.motion,
        lowest_mm=lowest_slice(spec.seed, number),
        folder=derivatives,
        files=run_files(entities, spec.space, _resolution(spec)),
        task=spec.task,
        truncated=session == 0 and 2 <= number < 2 + spec.truncated,
    )


def lowest_slice(seed: int, person: int) -> float:
    """Lower end of a person's field of view in mm: somewhere in the cerebellum."""
    return float(stream(seed, PERSON, person, 3).uniform(-66.0, -52.0))


def _raw_sidecar(out: Path, spec: CohortSpec, job: RunJob) -> None:
    name = job.files.confounds.name.replace("_desc-confounds_timeseries.tsv", "_bold.json")
    content = {"RepetitionTime": spec.tr, "TaskName": spec.task}
    write_json(out / job.files.confounds.parent / name, content)


def write_participants(out: Path, spec: CohortSpec, people: tuple[Person, ...]) -> None:
    """`participants.tsv` and `participants.json`, scores wide: one column per session."""
    rows = [
        {"participant_id": f"sub-{p.label}", "age": p.age, "sex": p.sex, "arm": p.arm, "site": p.site}
        | {
            f"{spec.score.name}_ses-{session}": "n/a" if score is None else str(score)
            for session, score in zip(spec.sessions, p.scores, strict=True)
        }
        for p in people
    ]
    write_tsv(out / "participants.tsv", pd.DataFrame(rows))
    about = {
        "age": {"Description": "Age", "Units": "year"},
        "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
        "arm": {"Description": "Arm of the simulated trial", "Levels": {arm: arm for arm in spec.arms}},
        "site": {"Description": "Simulated site", "Levels": {"A": "site A", "B": "site B"}},
    }
    scores = {
        f"{spec.score.name}_ses-{session}": {
            "Description": f"{spec.score.name}, simulated, session {session}"
        }
        for session in spec.sessions
    }
    write_json(out / "participants.json", about | scores)
