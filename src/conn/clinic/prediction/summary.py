"""What a prediction found, as JSON-ready values and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conn.clinic.prediction.analysis import LeftOutSites, Plan, Prediction
from conn.clinic.prediction.chance import Chance
from conn.clinic.prediction.curves import calibration_bins, roc
from conn.clinic.prediction.external import External
from conn.clinic.prediction.interval import Interval
from conn.clinic.prediction.people import Floats
from conn.clinic.prediction.recipe import Kind
from conn.clinic.prediction.scores import SCORES
from conn.points import at

CHANCE = {"auc": 0.5, "r2": 0.0}
"""What the first score is when nothing can be predicted."""

TITLES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "r2": "R²",
    "mae": "mean absolute error",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
WIDE = 0.3
"""Width of an AUC interval from which the sentences say that the study is too small."""


@dataclass(frozen=True)
class Asked:
    """What was asked, and of whom.

    Attributes
    ----------
    name, outcome, event, kind, at, features, n_features, clinical, removed, harmonised, strata, reduced
        Settings, with names of clinical predictors and removed covariates.
    train, test
        Data sets, when told apart.
    baseline_missing
        Scale whose score after treatment is predicted without the one before; empty otherwise.
    excluded
        Data set, subject and reason.
    filled, n_values
        Missing values that were filled inside folds, of so many.
    n_tested
        People of `test`.
    model
        File name of the model.
    """

    name: str
    outcome: str
    event: str
    kind: Kind
    at: str
    features: str
    n_features: int
    clinical: tuple[str, ...]
    removed: tuple[str, ...]
    harmonised: str | None
    strata: tuple[str, ...]
    reduced: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    baseline_missing: str
    excluded: tuple[tuple[str, str, str], ...]
    filled: int
    n_values: int
    n_tested: int
    model: str


def summary(asked: Asked, found: Prediction, outcome: Floats, plan: Plan) -> dict[str, Any]:
    """Everything but single predictions and the model, as JSON-ready values; missing is None.

    Parameters
    ----------
    asked
        What was asked.
    found
        What was found.
    outcome
        ndarray of shape (n,).
    plan
        How it was judged.
    """
    classes = asked.kind == "classifier"
    mean = found.found.predicted.mean(axis=0)
    record: dict[str, Any] = {
        **asdict(asked),
        "excluded": [{"dataset": d, "subject": s, "reason": reason} for d, s, reason in asked.excluded],
        "plan": asdict(plan),
        "n": int(outcome.size),
        "n_event": int(outcome.sum()) if classes else None,
        "outcome_mean": float(outcome.mean()),
        "outcome_sd": float(outcome.std(ddof=1)),
        "tested_score": SCORES[asked.kind][0],
        "scores": {name: asdict(one) for name, one in found.scores.items()},
        "apparent": found.apparent,
        "clinical_scores": _intervals(found.clinical_scores),
        "total": _chance(found.total),
        "increment": _chance(found.increment),
        "learning_curve": [asdict(point) for point in found.learning],
        "calibration": _arrays(calibration_bins(mean, outcome)),
        "roc": _arrays(roc(found.found, outcome)) if classes else None,
        "left_out": _sites(found.sites),
        "external": _external(found.outside),
        "external_clinical": _external(found.clinical_outside),
        "penalty": found.fitted.penalty,
    }
    return dict(_plain(record))


def _intervals(scores: Mapping[str, Interval] | None) -> dict[str, Any] | None:
    return None if scores is None else {name: asdict(one) for name, one in scores.items()}


def _chance(test: Chance | None) -> dict[str, Any] | None:
    if test is None:
        return None
    low, high = np.quantile(test.permuted, [0.025, 0.975])
    return {
        "p": test.p,
        "observed": test.observed,
        "permutations": int(test.permuted.size),
        "permuted_mean": float(test.permuted.mean()),
        "permuted_low": float(low),
        "permuted_high": float(high),
    }


def _sites(sites: LeftOutSites | None) -> dict[str, Any] | None:
    if sites is None:
        return None
    rows = zip(sites.names, sites.n, sites.scores, strict=True)
    return {"mean": sites.mean, "groups": [{"name": name, "n": n, "score": one} for name, n, one in rows]}


def _external(external: External | None) -> dict[str, Any] | None:
    return None if external is None else {name: asdict(one) for name, one in external.scores.items()}


def _arrays(result: Any) -> dict[str, Any]:
    return {key: value.tolist() for key, value in vars(result).items()}


def _plain(value: Any) -> Any:
    """NaN and infinity, which JSON lacks, as None."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


# In words -------------------------------------------------------------------------------------------


def sentences(record: Mapping[str, Any]) -> list[str]:
    """What was found, and what it does not say.

    Parameters
    ----------
    record
        What `summary` made.
    """
    parts = (_question, _honest, _size, _tests, _clinical, _calibrated, _elsewhere, _people)
    return [sentence for part in parts for sentence in part(record)]


def _question(record: Mapping[str, Any]) -> Iterator[str]:
    people = f"{record['n']} people" + (f" of {', '.join(record['train'])}" if record["train"] else "")
    if record["n_event"] is not None:
        people += f", {record['n_event']} of them {record['event']}"
    what = {"edges": "edges", "networks": "networks", "seeds": "cubes of seed maps"}[record["features"]]
    yield (
        f"Could the scan{at(record['at'])} have told {record['outcome']}? {people}; "
        f"{record['n_features']:,} {what} as features."
    )


def _honest(record: Mapping[str, Any]) -> Iterator[str]:
    name = record["tested_score"]
    found, apparent = record["scores"][name], record["apparent"][name]
    plan = record["plan"]
    yield (
        f"In people whom the model had not seen, the {TITLES[name]} was {_range(found, plan)}; "
        f"{CHANCE[name]:g} is chance ({plan['n_folds']} folds, {plan['repeats']} times). In the people whom "
        f"it was fitted to it is {_number(apparent)}: that is circular, and says nothing about others."
    )


def _range(found: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    level = f"{100 * (1 - plan['alpha']):g} %"
    if found["low"] is None:
        return f"{_number(found['estimate'])} (no interval)"
    return (
        f"{_number(found['estimate'])} ({level} interval {_number(found['low'])} to {_number(found['high'])})"
    )


def _number(value: float | None) -> str:
    if value is None:
        return "n/a"
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _size(record: Mapping[str, Any]) -> Iterator[str]:
    name = record["tested_score"]
    found = record["scores"][name]
    if found["low"] is None:
        return
    width = found["high"] - found["low"]
    events, smaller, who = record["n_event"], record["n"], "people"
    if events is not None:
        smaller, who = min(events, record["n"] - events), "people in the smaller class"
    if found["low"] <= CHANCE[name] <= found["high"]:
        yield (
            f"The interval is {_number(width)} wide and holds chance: with {smaller} {who}, this study "
            "cannot tell a useful prediction from none."
        )
    elif width > WIDE:
        yield (
            f"The interval is {_number(width)} wide: {smaller} {who} are too few to say how good the "
            "prediction is."
        )


def _tests(record: Mapping[str, Any]) -> Iterator[str]:
    total, increment = record["total"], record["increment"]
    if total is not None:
        yield (
            f"Against chance: p = {_p(total['p'])} ({total['permutations']} permutations of "
            f"outcomes, everything fitted again in each; permuted scores {_number(total['permuted_low'])} to "
            f"{_number(total['permuted_high'])})."
        )
    if increment is not None:
        yield (
            f"Imaging added to clinical values: p = {_p(increment['p'])} ({increment['permutations']} "
            "permutations of what clinical values do not say about scans, with outcome and clinical values "
            "fixed)."
        )


def _p(p: float) -> str:
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def _clinical(record: Mapping[str, Any]) -> Iterator[str]:
    name = record["tested_score"]
    if record["clinical_scores"] is not None:
        found = record["clinical_scores"][name]
        yield (
            f"Clinical values alone ({', '.join(record['clinical'])}), in the same folds: "
            f"{TITLES[name]} {_range(found, record['plan'])}."
        )
    if record["baseline_missing"]:
        yield (
            f"The baseline of {record['baseline_missing']} is not among the predictors. A score after "
            "treatment depends on it, so that features related to severity alone can predict the score."
        )


def _calibrated(record: Mapping[str, Any]) -> Iterator[str]:
    slope = record["scores"]["calibration_slope"]["estimate"]
    if slope is None:
        yield "The calibration slope does not exist: predictions hardly differ, or separate the classes."
        return
    if slope <= 0:
        yield f"Calibration slope {_number(slope)}: where more was predicted, less was found."
        return
    means = "too extreme" if slope < 1 else "too cautious"
    yield f"Calibration slope {_number(slope)}; below 1 predictions are too extreme. Here they are {means}."


def _elsewhere(record: Mapping[str, Any]) -> Iterator[str]:
    name = record["tested_score"]
    left = record["left_out"]
    if left is not None:
        each = ", ".join(f"{one['name']} {_number(one['score'])} (n = {one['n']})" for one in left["groups"])
        mean = _number(left["mean"])
        yield f"Each group predicted by a model of the others, {TITLES[name]}: {each}; mean {mean}."
    external = record["external"]
    if external is None:
        yield "The model was not tested in another study."
        return
    yield (
        f"The finished model in {', '.join(record['test'])} ({record['n_tested']} people): {TITLES[name]} "
        f"{_range(external[name], record['plan'])}."
    )


def _people(record: Mapping[str, Any]) -> Iterator[str]:
    reasons = [one["reason"] for one in record["excluded"]]
    if reasons:
        kinds = [f"{one.replace('_', ' ')} {reasons.count(one)}" for one in dict.fromkeys(reasons)]
        yield f"Not in it: {', '.join(kinds)}."
    if record["filled"]:
        share = 100 * record["filled"] / record["n_values"]
        yield f"{share:.1f} % of values were missing and stood at the mean of the training part."
