"""A model made in one data set, tested in another: a fixed score in new people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from conn.clinic.prediction.bounded import auc_variance, limits
from conn.clinic.prediction.delong import delong
from conn.clinic.prediction.interval import BOUNDS
from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.pipeline import Fitted
from conn.clinic.prediction.scores import CALIBRATION, SCORES, score

N_BOOT = 1000


@dataclass(frozen=True)
class FixedScore:
    """A score of a fixed model in new people.

    Attributes
    ----------
    estimate, low, high
        Score and interval; NaN where it does not exist.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class External:
    """What a model predicts in new people.

    Attributes
    ----------
    predicted
        ndarray of shape (n,).
    scores
        By name. The interval of the AUC is DeLong's, or that of `bounded.limits` where his error is 0; those
        of others are bootstrap percentiles over people; calibration has none.
    """

    predicted: Floats
    scores: dict[str, FixedScore]


def external(fitted: Fitted, people: People, outcome: Floats, seed: int, alpha: float = 0.05) -> External:
    """Test a fitted model in people who had no part in it.

    Parameters
    ----------
    fitted
        The model.
    people, outcome
        New people and their outcomes, of shape (n,).
    seed
        Of the bootstrap.
    alpha
        Intervals cover 1 - alpha.
    """
    values = fitted.predict(people)
    centre = np.full(people.n, fitted.centre)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, people.n, size=(N_BOOT, people.n))
    found = {}
    for name in SCORES[fitted.kind]:
        own = draws[:0] if name in CALIBRATION else draws
        found[name] = _with_bootstrap(name, values, centre, outcome, own, fitted, alpha)
    if "auc" in found and min(outcome.sum(), (1 - outcome).sum()) >= 2:
        found["auc"] = _area(values, outcome, alpha)
    return External(values, found)


def _area(values: Floats, outcome: Floats, alpha: float) -> FixedScore:
    """AUC with DeLong's interval, or with one that has a width where nobody is out of order."""
    area = delong(values, outcome, alpha)
    if area.se > 0:
        return FixedScore(area.auc, area.low, area.high)
    m, n = int(outcome.sum()), int((1 - outcome).sum())
    z = float(norm.isf(alpha / 2))
    return FixedScore(area.auc, *limits(area.auc, lambda true: auc_variance(true, m, n), z))


def _with_bootstrap(
    name: str, values: Floats, centre: Floats, outcome: Floats, draws: Ints, fitted: Fitted, alpha: float
) -> FixedScore:
    estimate = _exists(name, values, centre, outcome, fitted)
    sampled = np.array([_exists(name, values[d], centre[d], outcome[d], fitted) for d in draws])
    there = sampled[np.isfinite(sampled)]
    if np.isnan(estimate) or there.size <= len(draws) / 2:
        return FixedScore(estimate, float("nan"), float("nan"))
    low, high = np.quantile(there, [alpha / 2, 1 - alpha / 2])
    least, most = BOUNDS.get(name, (-np.inf, np.inf))
    return FixedScore(estimate, max(least, float(low)), min(most, float(high)))


def _exists(name: str, values: Floats, centre: Floats, outcome: Floats, fitted: Fitted) -> float:
    """The score, NaN where one class or one value alone is left."""
    if np.ptp(outcome) == 0:
        return float("nan")
    return score(name, values, centre, outcome, fitted.kind)
