"""A simulated trial at the level of results, through the stages after the first level to its report."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import paths
from conn.config.load import dump
from conn.config.model import Config
from conn.files import write_json, write_text
from conn.report import build_report
from conn.report.contract import RUN_COLUMNS
from conn.simulate import CohortSpec, derive_truth, prepare, simulate_results
from conn.simulate.anatomy import load_anatomy
from conn.simulate.people import write_participants
from conn.simulate.regions import build_scene
from conn.simulate.truth import write_truth
from conn.stages.association import association
from conn.stages.cohort import cohort
from conn.stages.confounding import confounding
from conn.stages.correct import correct
from conn.stages.design import design
from conn.stages.mediation import Mediators, Resources, mediate
from conn.stages.prediction import prediction
from conn.stages.test import test_edges as edges_stage
from conn.tables import write_tsv

SPACE = "MNI152NLin2009cAsym"
ARMS = {"arm": "arm", "levels": ["drug", "placebo"]}
CLINICAL = {
    "baseline": "pre",
    "endpoint": "post",
    "scales": {
        "MADRS": {"columns": {"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}},
        "SHAPS": {"columns": {"pre": "SHAPS_ses-pre", "post": "SHAPS_ses-post"}},
    },
    "response": {"scale": "MADRS", "percent": 50},
    "variables": {
        "arm": {"column": "arm", "kind": "category"},
        "site": {"column": "site", "kind": "category"},
        "age": {"column": "age"},
    },
}

anatomy = lru_cache(load_anatomy)


def only(spec: CohortSpec, more: tuple[str, ...] = (), **changes: Any) -> CohortSpec:
    """A trial of no other regions than those of its edges and some more."""
    used = {label for edge in spec.edges for label in (edge.roi_a, edge.roi_b)} | set(more)
    return replace(spec, rois=tuple(roi for roi in spec.rois if roi[0] in used), **changes)


def configuration(regions: tuple[str, ...], permutations: int = 499, **asked: Any) -> Config:
    """A study of the simulated trial, in a folder that holds `data`, with regions by name."""
    settings = {
        "out": "results",
        "seed": 1,
        "datasets": {
            "trial": {"bids_dir": "data", "time_points": {"labels": {"pre": ["pre"], "post": ["post"]}}}
        },
        "clinical": CLINICAL,
        "rois": {"use": list(regions)},
        "connectivity": {"seeds": []},
        "inference": {"permutations": permutations},
        "report": {"truth": "data/truth.json"},
        **asked,
    }
    return Config.model_validate_json(json.dumps(settings))


def run(folder: Path, spec: CohortSpec, config: Config) -> Path:
    """Simulate people, analyse them, write the report; the output folder."""
    out = folder / config.out
    prepared = prepare(spec, build_scene(anatomy(spec.voxel_mm), spec.rois, spec.margin_mm))
    results = simulate_results(spec, prepared)
    write_participants(folder / "data", spec, prepared.people)
    write_truth(folder / "data", spec, derive_truth(spec, prepared))
    _write_first_level(out, results)
    write_text(out / paths.CONFIG, dump(config, folder, out))
    _analyse(out, config, results)
    build_report(out, config)
    return out


def _write_first_level(out: Path, results: Any) -> None:
    """Matrices and the table of runs."""
    runs, collected = [], {}
    for person, subject in enumerate(results.subjects):
        for session, point in enumerate(results.sessions):
            if not np.isfinite(results.mean_fd[person, session]):
                continue
            entities = {"sub": subject, "ses": point, "task": "rest", "space": SPACE}
            r = np.tanh(results.z[person, session])
            np.fill_diagonal(r, 1.0)
            table = pd.DataFrame(r, columns=list(results.labels))
            table.insert(0, "roi", results.labels)
            write_tsv(out / paths.relmat(entities), table, digits=15)
            shares = {"roi": results.labels, "coverage": 1.0, "tsnr": 50.0, "flag": None}
            write_tsv(out / paths.coverage(entities), pd.DataFrame(shares))
            key = f"sub{subject}ses{point}"
            files = (paths.relmat(entities), paths.coverage(entities))
            collected[key] = {path.as_posix(): "0" * 64 for path in files}
            name = f"sub-{subject}_ses-{point}_task-rest_space-{SPACE}_desc-preproc_bold.nii.gz"
            runs.append(
                {"run": key, "dataset": "trial", "subject": subject, "session": point, "time_point": point,
                 "task": "rest", "space": SPACE, "path": f"sub-{subject}/ses-{point}/func/{name}",
                 "volumes": 150, "tr": 2.0, "frames_kept": 150, "seconds_kept": 300.0, "df": 30,
                 "mean_fd": results.mean_fd[person, session], "included": "true", "reason": None,
                 "dvars": 1.0, "tsnr": 50.0, "global_sd": results.global_sd[person, session]}
            )  # fmt: skip
    columns = [*RUN_COLUMNS, "dvars", "tsnr", "global_sd"]
    write_tsv(out / paths.RUNS, pd.DataFrame(runs).reindex(columns=columns).astype(object))
    write_json(out / paths.COLLECTED, collected)
    write_json(out / "dataset_description.json", {"DatasetLinks": {"trial": "../data"}})
    names = ["dataset", "subject", "session", "run", "roi", "stage", "reason", "value", "limit"]
    write_tsv(out / paths.EXCLUSIONS, pd.DataFrame(columns=names))


def _analyse(out: Path, config: Config, results: Any) -> None:
    people = list(results.subjects)
    points = {point: (point,) for point in results.sessions}
    cohort(
        out,
        config.clinical,
        {"trial": "../data"},
        {"trial": points},
        {"trial": {"found": people, "only": people}},
    )
    inference, seed, runs = config.inference, config.seed, config.connectivity.combine_runs
    for name, model in config.models.items():
        design(out, name, model, config.clinical, inference, runs)
        edges_stage(out, name, model.edges, permutations=inference.permutations, seed=seed)
        correct(out, name, ("edges",), inference)
        confounding(out, name, model.edges, {}, permutations=inference.permutations, seed=seed)
    for name, asked in config.associations.items():
        numbers = {"permutations": inference.permutations, "seed": seed}
        association(out, name, asked, config.clinical, asked.edges, {}, combine_runs=runs, **numbers)
    for name, asked in config.mediation.items():
        mediators = Mediators(asked.edges)
        mediate(out, name, asked, config.clinical, inference, mediators, Resources(out), seed=seed)
    for name, asked in config.prediction.items():
        about = {"seed": seed, "alpha": inference.alpha}
        # No truth says what p of a prediction should be, and permutations fit all of it again.
        once = asked.model_copy(update={"permutations": 0})
        prediction(out, name, once, config.clinical, runs, {"": asked.edges}, **about)
