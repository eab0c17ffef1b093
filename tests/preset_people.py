"""People and first levels that fit the design presets, without images: tables and matrices alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from conn import paths, presets
from conn.config.load import to_yaml
from conn.files import write_json
from conn.rois import registry
from conn.study import Study, open_study
from conn.tables import write_tsv

N = 36
EFFECT = -0.6
"""Planted into the first edge of a preset's first model, in Fisher z: in the treated, or under the drug."""

SCALES = {"MADRS": 32, "HDRS": 24, "SHAPS": 38, "TEPS": 60, "pain": 60}
CATEGORIES = {
    "arm": ("active", "placebo"),
    "sequence": ("drugFirst", "placeboFirst"),
    "diagnosis": ("patient", "patient", "patient", "control", "control"),
    "anxious": ("anxious", "anxious", "anxious", "nonanxious"),
    "sex": ("female", "female", "male"),
}
SMALL: dict[str, dict[str, Any]] = {
    "associations": {"resamples": 0},
    "mediation": {"bootstrap": 1000},
    "prediction": {
        "permutations": 200,
        "repeats": 1,
        "folds": 4,
        "inner_folds": 3,
        "penalties": [1.0],
        "learning_curve": [],
    },
}


def study_of(folder: Path, name: str) -> Study:
    """A study with the design of a preset and all first levels; maps of seeds are left out.

    Parameters
    ----------
    folder
        Where it is written.
    name
        Of the preset.
    """
    first, last = ends(name)
    settings: dict[str, Any] = YAML(typ="safe", pure=True).load(presets.preset(name).text)
    for model in settings["models"].values():
        model["seeds"] = "none"
        model.pop("seed_factors", None)
    for section, few in SMALL.items():
        settings[section] = {one: {**asked, **few} for one, asked in settings.get(section, {}).items()}
    variables = {one: {"column": one, "kind": "category"} for one in CATEGORIES}
    columns = {point: f"{point}_score" for point in (first, last)}
    settings |= {
        "datasets": {"trial": {"bids_dir": "data"}},
        "clinical": {
            "baseline": first,
            "endpoint": last,
            "scales": {scale: {"columns": columns} for scale in SCALES},
            "response": {"scale": "MADRS", "percent": 50},
            "variables": {**variables, "age": {"column": "age"}},
        },
        "inference": {**settings.get("inference", {}), "permutations": 199},
    }
    (folder / "study.yaml").write_text(to_yaml(settings), encoding="utf-8")
    study = open_study(folder / "study.yaml")
    _write(study, (first, last))
    return study


def ends(name: str) -> tuple[str, str]:
    """First and last time point of a preset."""
    return ("placebo", "drug") if name == "cingulateCrossover" else ("pre", "post")


def planted(study: Study) -> tuple[str, str]:
    """The edge with an effect."""
    model = next(iter(study.config.models))
    return tuple(study.edges(model)[0])


def _write(study: Study, points: tuple[str, str]) -> None:
    out = study.out
    labels = [roi.label for roi in registry.regions(study.config.rois)]
    armed = any(hasattr(model, "arm") for model in study.config.models.values())
    rng = np.random.default_rng(3)
    cohort, runs, collected = [], [], {}
    (out / paths.COLLECTED).parent.mkdir(parents=True)
    for person in range(N):
        groups = {name: levels[(person * 7 // (1 + i)) % len(levels)] for i, (name, levels) in _numbered()}
        about = {**groups, "age": f"{25 + (person * 11) % 30}"}
        level = 0.2 * rng.standard_normal((len(labels),) * 2)
        scores = {scale: mean + rng.normal(0, 3) for scale, mean in SCALES.items()}
        later = {scale: score * rng.uniform(0.2, 0.9) for scale, score in scores.items()}
        for point in points:
            run, after = f"p{person:02d}{point}", point == points[1]
            treated = after and (not armed or groups["arm"] == "active")
            z = level + 0.1 * rng.standard_normal(level.shape)
            collected[run] = _matrices(out, run, labels, z, planted(study), EFFECT * treated, rng)
            numbers = _numbers(rng)
            identity = {"dataset": "trial", "subject": f"{person:02d}", "time_point": point}
            runs.append({"run": run, **identity, "session": point, **numbers, "included": True})
            row = {**identity, "runs": run, "n_runs": 1, **about, **numbers}
            for scale in SCALES:
                row |= _scored(scale, scores[scale], later[scale] if after else None)
            fell = later["MADRS"] <= 0.5 * scores["MADRS"]
            cohort.append(row | {"response": "responder" if fell else "nonresponder"})
    write_tsv(out / paths.COHORT, pd.DataFrame(cohort))
    write_tsv(out / paths.RUNS, pd.DataFrame(runs).assign(run_entity="1", task="rest", acq="n/a"))
    write_json(out / paths.COLLECTED, collected)


def _numbered() -> enumerate[tuple[str, tuple[str, ...]]]:
    return enumerate(CATEGORIES.items())


def _numbers(rng: np.random.Generator) -> dict[str, float]:
    return {
        "mean_fd": rng.uniform(0.1, 0.3),
        "dvars": rng.uniform(0.9, 1.1),
        "tsnr": rng.uniform(40, 60),
        "global_sd": rng.uniform(0.2, 0.4),
        "frames_kept": 180 - rng.integers(20),
        "df": 60 - rng.integers(10),
    }


def _scored(scale: str, before: float, after: float | None) -> dict[str, float | None]:
    now = before if after is None else after
    change = None if after is None else after - before
    percent = None if change is None else 100 * change / before
    return {scale: now, f"{scale}_change": change, f"{scale}_percent_change": percent}


def _matrices(
    out: Path,
    run: str,
    labels: list[str],
    z: np.ndarray,
    edge: tuple[str, str],
    effect: float,
    rng: np.random.Generator,
) -> dict[str, str]:
    """Write matrix and coverage of a scan; names with digests."""
    z = np.triu(z, 1)
    z = z + z.T
    a, b = (labels.index(label) for label in edge)
    z[[a, b], [b, a]] += effect
    r = np.tanh(z)
    np.fill_diagonal(r, 1.0)
    matrix, coverage = f"{run}{paths.relmat_ending('pearson')}", f"{run}_seg-rois_stat-coverage.tsv"
    frame = pd.DataFrame(r, columns=pd.Index(labels))
    frame.insert(0, "roi", labels)
    write_tsv(out / matrix, frame)
    covered = {
        "roi": labels,
        "coverage": 1 - 0.05 * rng.random(len(labels)),
        "tsnr": rng.normal(50, 3, len(labels)),
    }
    write_tsv(out / coverage, pd.DataFrame(covered))
    return {matrix: "", coverage: ""}
