"""What a correct analysis should find on average."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn.errors import ConfigError
from conn.files import write_json
from conn.simulate.clinical_truth import ClinicalTruth, clinical_record, derive_clinical
from conn.simulate.cohort import Prepared, prepare, write_cohort
from conn.simulate.edges import PlantedEdge
from conn.simulate.latent import ANALYSIS_BAND
from conn.simulate.people import ARM, UNRELATED, score_column
from conn.simulate.population import ExpectedChange, expected_change
from conn.simulate.spec import CohortSpec, TruthModel, arm_shares
from conn.tables import write_tsv

DESCRIPTION = (
    "Population values in Fisher z that a correct analysis finds on average; all other edges do not "
    "change. They hold for means of cleaned data in the regions simulated, when cleaning regresses "
    "out motion, white_matter and csf and keeps at least the band given."
)
CLINICAL = (
    " Edges of an artefact are given without it. In clinical, planted are values of true z and of scores "
    "that are not rounded; measured are values that an analysis finds on average, as the noise of a scan "
    "weakens what its z predicts."
)

CONTRASTS = ("change", "interaction", "slope")


@dataclass(frozen=True)
class TrueEffect:
    """Population value of one estimand.

    Attributes
    ----------
    roi_a, roi_b
        The edge.
    contrast, model, arms
        See `TruthModel`; `model` None for any model with that contrast.
    delta_z
        In Fisher z: mean change, difference of mean changes, or change per point of the score.
    cohort_delta_z
        The same from the true values of the people drawn who have all scans: what is left to measurement
        noise is the difference to this.
    sized
        The effect was made large enough for this model (`PlantedEdge.sized_for`).
    """

    roi_a: str
    roi_b: str
    contrast: str
    model: str | None
    arms: tuple[str, ...]
    delta_z: float
    cohort_delta_z: float
    sized: bool


@dataclass(frozen=True)
class Truth:
    """True effects, and the true z of every scan.

    `scans` has the columns subject, arm, session, roi_a, roi_b, z; `clinical` answers clinical questions.
    """

    effects: tuple[TrueEffect, ...]
    scans: pd.DataFrame
    clinical: tuple[ClinicalTruth, ...] = ()


def simulate_cohort(out: Path, spec: CohortSpec, workers: int | None = None) -> Truth:
    """Write a trial with known truth.

    Parameters
    ----------
    out
        Folder of the BIDS data set. `truth.json` and `truth_scans.tsv` go beside its tables, images to
        `derivatives/fmriprep`.
    spec
        The trial; `demo_spec()` is one.
    workers
        Processes, one thread each; None for one per processor. The bytes do not depend on it.

    Returns
    -------
    Truth

    Raises
    ------
    ConfigError
        The trial cannot be simulated as asked for.
    """
    prepared = prepare(spec)
    truth = derive_truth(spec, prepared)
    write_cohort(out, spec, prepared, workers)
    write_truth(out, spec, truth)
    return truth


def derive_truth(spec: CohortSpec, prepared: Prepared) -> Truth:
    """True values of all planted edges.

    They follow from the specification: the planted z is that of cleaned regional means, since noise in
    the regions is allowed for when loadings are made (`conn.simulate.latent.scan_loadings`). Only the
    moments of the score, which is rounded and clipped, are drawn.

    Raises
    ------
    ConfigError
        A model with an unknown contrast or arm, or an interaction without two arms.
    """
    expected = expected_change(spec)
    effects = [
        TrueEffect(
            edge.roi_a,
            edge.roi_b,
            model.contrast,
            model.name or None,
            model.arms or spec.arms,
            _population_value(spec, edge, model, expected),
            _cohort_value(spec, prepared, number, model),
            not edge.sized_for or model.name in edge.sized_for,
        )
        for model in _models(spec)
        for number, edge in enumerate(spec.edges)
    ]
    clinical = derive_clinical(spec, prepared.latent)
    return Truth(tuple(effects), _scans(spec, prepared), clinical)


def write_truth(out: Path, spec: CohortSpec, truth: Truth) -> None:
    """Write `truth.json` and `truth_scans.tsv`."""
    write_json(out / "truth.json", truth_record(spec, truth))
    write_tsv(out / "truth_scans.tsv", truth.scans)


def truth_record(spec: CohortSpec, truth: Truth) -> dict[str, Any]:
    """The content of `truth.json`."""
    edges = [
        {
            "roi_a": e.roi_a,
            "roi_b": e.roi_b,
            "contrast": e.contrast,
            "model": e.model,
            "arms": list(e.arms),
            "delta_z": round(e.delta_z, 6),
            "cohort_delta_z": None if np.isnan(e.cohort_delta_z) else round(e.cohort_delta_z, 6),
            "planted": abs(e.delta_z) > 1e-9,
            "sized": abs(e.delta_z) > 1e-9 and e.sized,
        }
        for e in truth.effects
    ]
    record: dict[str, Any] = {
        "description": DESCRIPTION + (CLINICAL if truth.clinical else ""),
        "band_hz": list(ANALYSIS_BAND),
        "edges": edges,
        "groups": {arm: spec.dealt(arm) for arm in spec.arms},
        "sessions": list(spec.sessions),
        "score": spec.score.name,
        "seed": spec.seed,
    }
    if spec.further_scores:
        record["further_scores"] = [score.name for score in spec.further_scores]
    if truth.clinical or not spec.models:
        record["tables"] = _tables(spec)
    if truth.clinical:
        record["clinical"] = clinical_record(truth.clinical)
    return record


def _tables(spec: CohortSpec) -> dict[str, Any]:
    """Which columns of the clinical tables a truth of no named model is about."""
    scores = {
        score.name: {
            "columns": {session: score_column(score.name, session) for session in spec.sessions},
            "higher_is_better": score.higher_is_better,
            "response_percent": score.response_percent,
        }
        for score in spec.scores
    }
    return {"arm": ARM, "scores": scores, "unrelated": list(UNRELATED)}


def _models(spec: CohortSpec) -> tuple[TruthModel, ...]:
    """The models asked for, or each contrast that makes sense."""
    if len(spec.sessions) < 2:
        return ()
    wanted = {"change": True, "interaction": len(spec.arms) == 2, "slope": any(e.slope for e in spec.edges)}
    models = spec.models or tuple(TruthModel("", name) for name, sensible in wanted.items() if sensible)
    for model in models:
        if model.contrast not in CONTRASTS:
            raise ConfigError(
                f"truth of model {model.name!r}: contrast {model.contrast!r} is none of {CONTRASTS}"
            )
        unknown = sorted(set(model.arms) - set(spec.arms))
        if unknown:
            raise ConfigError(f"truth of model {model.name!r}: arm {unknown[0]!r} is none of {spec.arms}")
        if model.contrast == "interaction" and len(model.arms or spec.arms) != 2:
            raise ConfigError(f"truth of model {model.name!r}: an interaction needs two arms")
    return models


def _population_value(
    spec: CohortSpec, edge: PlantedEdge, model: TruthModel, expected: ExpectedChange
) -> float:
    arms = model.arms or spec.arms
    score = np.array([expected.by_arm[arm] for arm in arms])
    change = np.array([edge.delta_z.get(arm, 0.0) for arm in arms]) + edge.slope * (
        score[:, 0] - expected.mean
    )
    shares = arm_shares(spec, arms)
    if model.contrast == "change":
        return float(shares @ change)
    if model.contrast == "interaction":
        return float(change[0] - change[1])
    within = shares @ score[:, 1] ** 2
    off = score[:, 0] - shares @ score[:, 0]
    between = shares @ off**2
    if within + between == 0:
        return 0.0
    return float((edge.slope * within + shares @ (off * (change - shares @ change))) / (within + between))


def _cohort_value(spec: CohortSpec, prepared: Prepared, number: int, model: TruthModel) -> float:
    arms = model.arms or spec.arms
    scored = model.contrast == "slope"
    people = [
        p
        for p in prepared.people
        if p.arm in arms
        and p.scanned[0]
        and p.scanned[-1]
        and not (scored and None in (p.scores[0], p.scores[-1]))
    ]
    rows = [p.number for p in people]
    change = prepared.neural[rows, -1, number] - prepared.neural[rows, 0, number]
    if model.contrast == "change":
        return float(change.mean()) if rows else np.nan
    if model.contrast == "interaction":
        first = np.array([p.arm == arms[0] for p in people], dtype=bool)
        return float(change[first].mean() - change[~first].mean()) if 0 < first.sum() < first.size else np.nan
    score = np.array([(p.scores[-1] or 0) - (p.scores[0] or 0) for p in people], dtype=float)
    if len(rows) < 3 or score.std() == 0:
        return np.nan
    return float(np.polyfit(score, change, 1)[0])


def _scans(spec: CohortSpec, prepared: Prepared) -> pd.DataFrame:
    rows = [
        (f"sub-{p.label}", p.arm, session, edge.roi_a, edge.roi_b, prepared.targets[p.number, s, e])
        for p in prepared.people
        for s, session in enumerate(spec.sessions)
        if p.scanned[s]
        for e, edge in enumerate(spec.edges)
    ]
    return pd.DataFrame(rows, columns=pd.Index(["subject", "arm", "session", "roi_a", "roi_b", "z"]))
