"""True values of edges in a contrast, where a truth file of a simulation states them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from conn.config.model import GroupByTime, Moderator, Paired, ParallelArms, Regression
from conn.report.context import Context
from conn.report.contract import ContrastResult
from conn.report.truth_study import TruthStudy, ends
from conn.tables import MISSING

Edge = frozenset[str]
Truth = Mapping[str, Any]

_DIGITS = 9
"""So that 0 is 0."""


def true_effects(context: Context, contrast: ContrastResult) -> dict[Edge, float]:
    """True value in a contrast of every edge that the truth file speaks of.

    They were planted as correlations: a contrast of partial ones has none.

    Parameters
    ----------
    context, contrast
        What the report is about, and a contrast in it.

    Returns
    -------
    dict
        In the unit of the estimate, by the edge's regions; empty where the contrast asks something that the
        truth does not answer.
    """
    if context.outputs.truth is None or context.is_partial(contrast):
        return {}
    study = TruthStudy.of(context.outputs)
    found = {}
    for entry in context.planted:
        sign = _sign(context, study, contrast, entry)
        if sign:
            found[frozenset(ends(entry))] = sign * float(entry.get("delta_z", np.nan))
    return found | _of_scans(context, contrast)


def _sign(context: Context, study: TruthStudy, contrast: ContrastResult, entry: Truth) -> int:
    """1 or -1 where a contrast estimates an entry, by its model's name or by what it asks; else 0."""
    if entry.get("model") is not None:
        return int((entry["model"], entry.get("contrast")) == (contrast.model, contrast.name))
    model: Any = context.model_of(contrast)
    asks = _ASKS.get((model.design, contrast.base))
    held = (*model.covariates, *model.strata)
    if asks is None or not study.harmless(held, *ends(entry)) or not study.spans(model.before, model.after):
        return 0
    kind, sign = asks(study, model, entry)
    return sign if kind == entry.get("contrast") else 0


def _change(study: TruthStudy, model: Paired, entry: Truth) -> tuple[str, int]:
    return "change", int(study.people(model.subset, entry.get("arms", ())))


def _by_arm(study: TruthStudy, model: GroupByTime | ParallelArms, entry: Truth) -> tuple[str, int]:
    arms = entry.get("arms", ())
    name = model.arm if isinstance(model, ParallelArms) else model.group
    # Chance dealt people to the simulated arms, so what is adjusted for baseline is the same effect.
    sign = study.sign(name, model.levels, arms)
    return "interaction", sign if study.people(model.subset, arms) else 0


def _slope(study: TruthStudy, model: Regression, entry: Truth) -> tuple[str, int]:
    score = str(study.truth.get("score"))
    if any(study.is_arm(name) for name in (*model.covariates, *model.strata)):
        return "slope", 0  # The stated slope is that over all people, differences between arms included.
    asked = study.reference(model.predictor, score, str(model.before), str(model.after)) == "change"
    return "slope", int(asked and study.people(model.subset, entry.get("arms", ())))


_ASKS: Mapping[tuple[str, str], Callable[[TruthStudy, Any, Truth], tuple[str, int]]] = MappingProxyType(
    {
        ("paired", "change"): _change,
        ("group_by_time", "interaction"): _by_arm,
        ("parallel_arms", "change"): _by_arm,
        ("parallel_arms", "adjusted"): _by_arm,
        ("regression", "slope"): _slope,
    }
)
"""What contrasts ask, by design and name: a kind of entry, and its sign."""


# ----------------------------------------------------------------------------------- truth scan by scan


def _of_scans(context: Context, contrast: ContrastResult) -> dict[Edge, float]:
    """Values of a rehearsal, which states the mean z of every scan: the contrast, fitted to them."""
    if contrast.is_f or isinstance(context.model_of(contrast), Moderator):
        return {}
    entries = context.planted_in_scans
    values = {frozenset(ends(one)): _fitted(context, contrast, one["scans"]) for one in entries}
    return {edge: value for edge, value in values.items() if np.isfinite(value)}


def _fitted(context: Context, contrast: ContrastResult, scans: Mapping[str, Mapping[str, float]]) -> float:
    """The estimate of a contrast, were its scans without noise and its people alike; NaN if there is none."""
    runs = context.outputs.runs
    keys = zip(runs["subject"], runs["session"].replace(MISSING, ""), strict=True)
    by_run = {
        run: scans.get(str(subject), {}).get(str(session), np.nan)
        for run, (subject, session) in zip(runs["run"], keys, strict=True)
    }

    def rows(several: tuple[dict[str, float], ...]) -> np.ndarray:
        return np.array([sum(w * by_run.get(run, np.nan) for run, w in one.items()) for one in several])

    before = rows(contrast.rows.covariate_weights)
    if before.size and np.ptp(before) > 0:
        # How far a baseline is adjusted for depends on noise, which these values do not have.
        return float("nan")
    z = rows(contrast.rows.run_weights)
    if not np.isfinite(z).all():
        return float("nan")
    fitted = np.linalg.lstsq(contrast.rows.matrix, z, rcond=None)[0]
    return round(float(contrast.rows.contrast @ fitted), _DIGITS)
