"""Dress rehearsals: simulated derivatives in the layout of a real data set whose images are not there."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from conn.bids import acquisition, bare_label, build, parse
from conn.errors import InputError
from conn.files import read_json, write_json, write_text
from conn.index import sidecar
from conn.simulate.anatomy import load_anatomy
from conn.simulate.cohort import lowest_slice
from conn.simulate.demo import DEMO_ROIS
from conn.simulate.edges import PlantedEdge
from conn.simulate.jobs import PERSON, SCAN, RunJob, make_runs, stream
from conn.simulate.latent import Latent, build_latent, check_reach, draw_person, scan_loadings
from conn.simulate.layout import RunFiles, func_folder, run_files, write_description
from conn.simulate.motion import HIGH, Motion
from conn.simulate.regions import Sphere, build_scene
from conn.simulate.rehearsal_effects import ColumnEffect, Scan, shifts
from conn.simulate.signal import Signal

LISTING = "FILES.txt.gz"
"""Paths of a data set, one per line, beside its tables."""

STATED_VOLUMES = {"ds003007": 100, "ds002748": 100, "ds005917": 192}
"""Volumes per run that READMEs of OpenNeuro sets state (ds005917: 8 minutes at 2.5 s); sidecars do not."""

_COPIED = (".tsv", ".json")


@dataclass(frozen=True)
class Rehearsal:
    """What was written.

    Attributes
    ----------
    runs
        Names of the raw images without suffix, as in ``sub-01_ses-pre_task-rest``.
    unlisted
        Runs of the data set that the listing of its derivatives does not have; nothing is written for them.
    volumes, tr, voxel_mm
        Length of a run, repetition time in s (of the first run), voxel size.
    derivatives
        The folder.
    """

    runs: tuple[str, ...]
    unlisted: tuple[str, ...]
    volumes: int
    tr: float
    voxel_mm: float
    derivatives: Path


@dataclass(frozen=True)
class _RealRun:
    """A run of the real data set: its name, its entities, and its number among all of them."""

    name: str
    entities: Mapping[str, str]
    person: int
    scan: int

    @property
    def scan_of(self) -> Scan:
        """Subject and session."""
        return self.entities["sub"], self.entities.get("ses", "")


def rehearse(
    out: Path,
    bids_skeleton: Path,
    derivatives_skeleton: Path | None = None,
    *,
    task: str = "rest",
    space: str = "MNI152NLin2009cAsym",
    voxel_mm: float = 3.0,
    volumes: int | None = None,
    tr: float | None = None,
    runs: Collection[str] | None = None,
    subjects: Collection[str] | None = None,
    seed: int = 0,
    rois: Sequence[Sphere] = DEMO_ROIS,
    edges: Sequence[PlantedEdge] = (),
    effects: Sequence[ColumnEffect] = (),
    signal: Signal | None = None,
    motion: Motion | None = None,
    high_motion: Collection[str] = (),
    truncated: Collection[str] = (),
    without_confounds: Collection[str] = (),
    workers: int | None = None,
) -> Rehearsal:
    """Write a data set that looks like a real one, with simulated images.

    Tables and JSON files are copied byte for byte; README and other texts are not. Every functional run that
    the listing names gets derivatives. Nothing differs between sessions or people on average unless `edges`
    or `effects` say so.

    Parameters
    ----------
    out
        Folder of the new BIDS data set; derivatives go to `derivatives/fmriprep` inside it.
    bids_skeleton
        Folder with tables, JSON files and `FILES.txt.gz`.
    derivatives_skeleton
        Folder with the `FILES.txt.gz` of real derivatives: their names are used. None: the names of fMRIPrep.
    task, space
        Which runs, and which template.
    voxel_mm
        Voxel size; 5 is enough for a rehearsal and fast.
    volumes
        Length of a run. None: what the README of a known data set states.
    tr
        Repetition time in s. None: that of the sidecars.
    runs
        Names of runs to make (``sub-01_ses-pre_task-rest``). None: all. A run has the same bytes either way.
    subjects
        Labels of subjects to make, with or without ``sub-``. None, or none named: all.
    seed
        Everything random starts from it.
    rois
        Regions with a signal of their own.
    edges
        Planted edges; the keys of their `delta_z` are session labels here, and `slope`, `persistence` and
        `fd_slope` have no meaning.
    effects
        What columns of the tables do to these edges.
    signal, motion
        Strengths.
    high_motion, truncated, without_confounds
        Names of runs with a fault: too much motion, an image cut short, no confounds table.
    workers
        Processes; None for one per processor.

    Returns
    -------
    Rehearsal

    Raises
    ------
    InputError
        No listing, no run in it, a run asked for that is not there, unknown volumes or repetition time,
        derivatives without preprocessed images in that space, a column of an effect that is not there.
    ConfigError
        Effects that cannot be reached.
    """
    real = _real_runs(bids_skeleton, task)
    _refuse_unknown([*(runs or ()), *high_motion, *truncated, *without_confounds], real, bids_skeleton)
    people = _chosen(subjects, real, bids_skeleton)
    wanted = [r for r in real if (runs is None or r.name in runs) and r.entities["sub"] in people]
    names = _names(derivatives_skeleton, wanted, space, "2" if voxel_mm == 2 else None)
    made = [run for run in wanted if run.name in names]
    if not made:
        raise InputError(f"{bids_skeleton / LISTING}: no run is left to make; check runs and subjects")
    volumes = volumes or _stated_volumes(bids_skeleton)
    times = {run.name: tr or _repetition_time(bids_skeleton, run) for run in made}
    shift, records = shifts(bids_skeleton, [run.scan_of for run in real], edges, effects)
    signal = signal or Signal()
    scene = build_scene(load_anatomy(voxel_mm), rois, 0.5 * voxel_mm)
    latent = build_latent(scene, rois, edges, signal, volumes, times[made[0].name])
    check_reach(latent, _furthest(edges, shift), 0.0)
    _copy_tables(bids_skeleton, out)
    expected = [_expected_z(edges, run, shift[run.scan]) for run in made]
    derivatives = _describe(out, bids_skeleton, _planted(edges, made, expected), records)
    for run in made:
        (out / names[run.name].bold.parent).mkdir(parents=True, exist_ok=True)
    jobs = [
        RunJob(
            entropy=(seed, run.person, run.scan),
            loadings=_loadings(latent, edges, seed, run, shift[run.scan]),
            volumes=volumes,
            tr=times[run.name],
            signal=signal,
            motion=HIGH if run.name in high_motion else motion or Motion(),
            lowest_mm=lowest_slice(seed, run.person),
            folder=derivatives,
            files=names[run.name],
            task=task,
            truncated=run.name in truncated,
            confounds=run.name not in without_confounds,
        )
        for run in made
    ]
    make_runs(scene, jobs, workers or os.cpu_count() or 1)
    unlisted = tuple(run.name for run in wanted if run.name not in names)
    done = tuple(run.name for run in made)
    return Rehearsal(done, unlisted, volumes, times[made[0].name], voxel_mm, derivatives)


def listed_paths(skeleton: Path) -> tuple[str, ...]:
    """Paths in the `FILES.txt.gz` of a skeleton.

    Raises
    ------
    InputError
        It is not there.
    """
    path = skeleton / LISTING
    if not path.is_file():
        raise InputError(f"{path}: not there; a rehearsal needs the list of all paths of the data set")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return tuple(line.strip() for line in stream if line.strip())


def _real_runs(skeleton: Path, task: str) -> list[_RealRun]:
    """Functional runs of a task, echoes of one run taken together, in order of their paths."""
    found: dict[str, Mapping[str, str]] = {}
    tasks = set()
    for path in sorted(listed_paths(skeleton)):
        name = parse(PurePosixPath(path).name)
        if name is None or name.suffix != "bold" or name.extension not in (".nii.gz", ".nii"):
            continue
        if PurePosixPath(path).parts[0] != f"sub-{name.entities.get('sub')}":
            continue
        tasks.add(name.entities.get("task", ""))
        if name.entities.get("task") == task:
            entities = {key: value for key, value in name.entities.items() if key not in ("echo", "part")}
            found[build(entities, "", "").rstrip("_")] = entities
    if not found:
        raise InputError(
            f"{skeleton / LISTING}: no BOLD image of task {task!r}; "
            f"tasks there: {', '.join(sorted(tasks)) or 'none'}"
        )
    people = list(dict.fromkeys(entities["sub"] for entities in found.values()))
    return [
        _RealRun(name, entities, people.index(entities["sub"]), number)
        for number, (name, entities) in enumerate(found.items())
    ]


def _refuse_unknown(names: Sequence[str], real: Sequence[_RealRun], skeleton: Path) -> None:
    unknown = sorted(set(names) - {run.name for run in real})
    if unknown:
        raise InputError(f"{skeleton / LISTING}: no run {unknown[0]!r}; the first there is {real[0].name!r}")


def _chosen(subjects: Collection[str] | None, real: Sequence[_RealRun], skeleton: Path) -> set[str]:
    """Labels of the subjects to make."""
    there = {run.entities["sub"] for run in real}
    asked = {bare_label(label) for label in subjects or ()}
    if asked - there:
        raise InputError(
            f"{skeleton / LISTING}: subject {sorted(asked - there)[0]!r} has no BOLD image there"
        )
    return asked or there


def _names(
    skeleton: Path | None, runs: Sequence[_RealRun], space: str, res: str | None
) -> dict[str, RunFiles]:
    """File names of the derivatives of each run."""
    if skeleton is None:
        return {run.name: run_files(run.entities, space, res) for run in runs}
    listed: dict[tuple[str, str], list[PurePosixPath]] = {}
    for text in sorted(listed_paths(skeleton)):
        path = PurePosixPath(text)
        name = parse(path.name)
        kind = None if name is None else _kind(name.entities, name.suffix, name.extension, space)
        if name is not None and kind is not None:
            source = build(acquisition(name.entities), "", "").rstrip("_")
            listed.setdefault((source, kind), []).append(path)
    names = {
        run.name: RunFiles(*(listed[run.name, kind][0] for kind in ("bold", "mask", "confounds")))
        for run in runs
        if all((run.name, kind) in listed for kind in ("bold", "mask", "confounds"))
    }
    if not names:
        raise InputError(
            f"{skeleton / LISTING}: no run has a preprocessed image in {space}, mask and confounds table. "
            "Derivatives of level minimal have none: leave them out, and the names of fMRIPrep are used."
        )
    return names


def _kind(entities: Mapping[str, str], suffix: str, extension: str, space: str) -> str | None:
    """What a file is to us."""
    known = {
        ("preproc", "bold", ".nii.gz"): "bold",
        ("brain", "mask", ".nii.gz"): "mask",
        ("confounds", "timeseries", ".tsv"): "confounds",
        ("confounds", "regressors", ".tsv"): "confounds",
    }
    kind = known.get((entities.get("desc", ""), suffix, extension))
    return kind if kind == "confounds" or entities.get("space") == space else None


def _stated_volumes(skeleton: Path) -> int:
    path = skeleton / "dataset_description.json"
    description = read_json(path) if path.is_file() else {}
    identifier = str(description.get("DatasetDOI", ""))
    for name, volumes in STATED_VOLUMES.items():
        if name in identifier:
            return volumes
    raise InputError(f"{skeleton}: how many volumes a run has is not known; say how many (volumes)")


def _repetition_time(skeleton: Path, run: _RealRun) -> float:
    """Repetition time by BIDS inheritance."""
    folder = skeleton / func_folder(run.entities)
    found = sidecar(folder / build(run.entities, "bold", ".nii.gz"), (skeleton,)).get("RepetitionTime")
    if not isinstance(found, int | float) or not found > 0:
        raise InputError(f"{skeleton}: {run.name} has no RepetitionTime in its sidecars; say what it is (tr)")
    return float(found)


def _copy_tables(skeleton: Path, out: Path) -> None:
    for source in sorted(skeleton.rglob("*")):
        if source.suffix in _COPIED and source.is_file():
            target = out / source.relative_to(skeleton)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _planted(
    edges: Sequence[PlantedEdge], runs: Sequence[_RealRun], expected: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    """Entries of `truth.json`: each edge with its mean z in every scan, by subject and session."""
    return [
        {
            "roi_a": edge.roi_a,
            "roi_b": edge.roi_b,
            "baseline_z": edge.baseline_z,
            "delta_z": dict(edge.delta_z),
            "scans": _by_scan(runs, [float(z[number]) for z in expected]),
        }
        for number, edge in enumerate(edges)
    ]


def _by_scan(runs: Sequence[_RealRun], values: Sequence[float]) -> dict[str, dict[str, float]]:
    """A value of each scan by subject and session."""
    found: dict[str, dict[str, float]] = {}
    for run, value in zip(runs, values, strict=True):
        subject, session = run.scan_of
        found.setdefault(subject, {})[session] = round(value, 6)
    return found


def _describe(
    out: Path, skeleton: Path, planted: list[dict[str, Any]], effects: list[dict[str, Any]]
) -> Path:
    """Say in the data set itself what it is; the derivatives folder."""
    derivatives = out / "derivatives" / "fmriprep"
    about = (
        f"Dress rehearsal: images and confounds are simulated. Only the layout and the tables are those of "
        f"{skeleton.name}; no result says anything about its participants."
    )
    write_text(out / "README", about + "\n")
    write_description(derivatives, f"Dress rehearsal of {skeleton.name}", about, "../..")
    record: dict[str, Any] = {"description": about, "edges": [], "groups": {}}
    if planted:
        record["planted"] = {"edges": planted, "columns": effects}
    write_json(out / "truth.json", record)
    return derivatives


def _furthest(edges: Sequence[PlantedEdge], shift: np.ndarray) -> list[PlantedEdge]:
    """Edges whose `delta_z` has the largest changes that sessions and columns make together."""
    furthest = []
    for edge, column in zip(edges, shift.T, strict=True):
        ends = (0.0, float(column.min(initial=0.0)), float(column.max(initial=0.0)))
        sums = [delta + end for delta in (0.0, *edge.delta_z.values()) for end in ends]
        furthest.append(replace(edge, delta_z={str(number): value for number, value in enumerate(sums)}))
    return furthest


def _loadings(
    latent: Latent, edges: Sequence[PlantedEdge], seed: int, run: _RealRun, shift: np.ndarray
) -> np.ndarray:
    """Loadings of one run; the true z of planted edges depends on the session and on columns."""
    own = stream(seed, PERSON, run.person, 1).standard_normal(len(edges))
    rng = stream(seed, SCAN, run.person, run.scan, 0)
    each = rng.standard_normal(len(edges))
    deviations = [edge.person_sd * own[e] + edge.change_sd * each[e] for e, edge in enumerate(edges)]
    person = draw_person(stream(seed, PERSON, run.person, 2), latent)
    return scan_loadings(rng, latent, person, _expected_z(edges, run, shift) + np.array(deviations))


def _expected_z(edges: Sequence[PlantedEdge], run: _RealRun, shift: np.ndarray) -> np.ndarray:
    """Mean z of the planted edges in a scan: at baseline, by its session, and by columns."""
    session = run.entities.get("ses", "")
    means: np.ndarray = shift + [edge.baseline_z + edge.delta_z.get(session, 0.0) for edge in edges]
    return means
