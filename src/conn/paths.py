"""Every path below the output folder, in one place.

All are relative to the output folder, which is the working directory of the workflow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from conn import bids
from conn.errors import ConfigError

CONFIG = Path("config.yaml")
RUNS = Path("runs.tsv")
EXCLUSIONS = Path("exclusions.tsv")
COHORT = Path("cohort.tsv")
ROIS = Path("rois.tsv")
ROI_CHANGE = Path("roi_change.tsv")
ROI_PAIRS = Path("roi_pairs.tsv")
ROI_LABELS = Path("roi_labels.tsv")
LOCK = Path("lock.json")
CHECK_NULL = Path("check_null.tsv")
CHECK_POWER = Path("check_power.tsv")
METHODS = Path("methods.md")
REPORT = Path("report.html")
FIGURES = Path("figures")
GROUP = Path("group")
CACHE = Path("cache")
LOGS = Path("logs")
PROJECTIONS = CACHE / "project"
COLLECTED = CACHE / "collected.json"
COHORT_NOTES = CACHE / "cohort.json"
ERRORS = LOGS / "errors"


PEARSON = "pearsoncorrelation"
PARTIAL = "partialcorrelation"
XDF = "xdfvariance"
"""Kinds of ROI × ROI matrices, as the `stat` entity names them."""

EDGE_MEASURES = {"pearson": PEARSON, "partial": PARTIAL}
"""The matrix that the edges of a model are taken from, by its `edge_measure`."""

OWN_OUTPUT = re.compile(
    r"(?P<source>sub-.+?)_(?:seed-[A-Za-z0-9]+_stat-fisherz_statmap\.(?:nii\.gz|json)|stat-fisherz_statmap\.json"
    rf"|seg-rois_stat-(?:mean_timeseries|(?:{PEARSON}|{PARTIAL}|{XDF})_relmat)\.(?:tsv|json)"
    r"|seg-rois_stat-coverage\.tsv)"
)
"""Names of the files that stage measure writes; `source` is the name of the run."""


def project_folder(run: str) -> Path:
    """Folder of a run's retained coefficients."""
    return PROJECTIONS / run


def project_receipt(run: str) -> Path:
    """Receipt of stage project."""
    return project_folder(run) / "receipt.json"


def projection_mark(run: str) -> Path:
    """Empty file that says that the arrays of stage project are there; `conn clean` removes it with them."""
    return project_folder(run) / "kept"


def measure_receipt(run: str) -> Path:
    """Receipt of stage measure."""
    return CACHE / "measure" / f"{run}.json"


def func_folder(entities: Mapping[str, str]) -> Path:
    """Folder of a run's outputs."""
    folder = Path(f"sub-{entities['sub']}")
    if "ses" in entities:
        folder /= f"ses-{entities['ses']}"
    return folder / "func"


def _derivative(entities: Mapping[str, str], own: Mapping[str, str], suffix: str, extension: str) -> Path:
    kept = {key: value for key, value in entities.items() if key != "desc"}
    return func_folder(entities) / bids.build({**kept, **own}, suffix, extension)


def seed_map(entities: Mapping[str, str], seed: str) -> Path:
    """Fisher-z map of a seed in a run."""
    return _derivative(entities, {"seed": seed, "stat": "fisherz"}, "statmap", ".nii.gz")


def seed_map_sidecar(entities: Mapping[str, str], seed: str | None = None) -> Path:
    """Sidecar of all seed maps of a run, or of one that needs words of its own."""
    own = {"stat": "fisherz"} if seed is None else {"seed": seed, "stat": "fisherz"}
    return _derivative(entities, own, "statmap", ".json")


def timeseries(entities: Mapping[str, str], extension: str = ".tsv") -> Path:
    """Cleaned ROI series of a run."""
    return _derivative(entities, {"seg": "rois", "stat": "mean"}, "timeseries", extension)


def relmat(entities: Mapping[str, str], extension: str = ".tsv", stat: str = PEARSON) -> Path:
    """ROI × ROI matrix of a run: `PEARSON`, `PARTIAL` or `XDF`."""
    return _derivative(entities, {"seg": "rois", "stat": stat}, "relmat", extension)


def coverage(entities: Mapping[str, str]) -> Path:
    """Coverage table of a run."""
    return _derivative(entities, {"seg": "rois", "stat": "coverage"}, "", ".tsv")


def model_folder(model: str) -> Path:
    """Folder of a group model."""
    return GROUP / model


def relmat_ending(measure: str) -> str:
    """How the matrices that edges are taken from end, by `edge_measure`."""
    return f"_stat-{EDGE_MEASURES[measure]}_relmat.tsv"


def test_result(model: str, what: str) -> Path:
    """Result of a permutation test: `what` is ``seed-LABEL``, ``edges`` or ``networks``."""
    return CACHE / "test" / model / f"{what}.npz"


def design_json(model: str) -> Path:
    """The compiled design."""
    return model_folder(model) / f"model-{model}_design.json"


def design_tsv(model: str) -> Path:
    """The matrix of the compiled design."""
    return model_folder(model) / f"model-{model}_design.tsv"


def families(model: str) -> Path:
    """Size, permutations and critical value of each family of a model."""
    return model_folder(model) / f"model-{model}_families.json"


def edges(model: str) -> Path:
    """Edge table of a model."""
    return model_folder(model) / f"model-{model}_edges.tsv"


def networks(model: str) -> Path:
    """Table of the networks of a model."""
    return model_folder(model) / f"model-{model}_networks.tsv"


def clusters(model: str) -> Path:
    """Cluster table of a model."""
    return model_folder(model) / f"model-{model}_clusters.tsv"


def group_map(model: str, seed: str, contrast: str, stat: str) -> Path:
    """Group map of a seed."""
    name = f"model-{model}_seed-{seed}_contrast-{contrast}_stat-{stat}_statmap.nii.gz"
    return model_folder(model) / name


def confounding(model: str) -> Path:
    """What else differed where a model looks for an effect."""
    return model_folder(model) / f"model-{model}_confounding.tsv"


def adjustment(model: str) -> Path:
    """Effects of a model before and after what else differed is held constant; written last."""
    return model_folder(model) / f"model-{model}_adjustment.tsv"


def coupling(model: str) -> Path:
    """How change goes with baseline in the people of a model."""
    return model_folder(model) / f"model-{model}_coupling.tsv"


def analysis(kind: str, name: str, extension: str = ".json") -> Path:
    """Result of a clinical analysis: `kind` is its folder (``mediation``); the JSON is written last."""
    return Path(kind) / f"{name}{extension}"


def analysis_folder(section: str) -> str:
    """Folder of the results of a section of clinical analyses: ``association`` of ``associations``."""
    return section.removesuffix("s")


def analysis_map(kind: str, name: str, seed: str, stat: str) -> Path:
    """Map of a seed in a clinical analysis."""
    return Path(kind) / f"{name}_seed-{seed}_stat-{stat}_statmap.nii.gz"


def correct_receipt(model: str) -> Path:
    """Receipt of stage correct, written after all tables and maps of a model."""
    return CACHE / "correct" / f"{model}.json"


def inside(out: Path, path: Path) -> Path:
    """`out / path`, or ConfigError when that would lie outside the output folder."""
    root = os.path.abspath(out)  # noqa: PTH100 - resolve() would follow links of the user's own
    if os.path.commonpath([root, os.path.abspath(out / path)]) != root:  # noqa: PTH100
        raise ConfigError(f"{path.as_posix()} would lie outside the output folder")
    return out / path
