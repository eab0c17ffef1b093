"""Interval of a cross-validated score, from folds within folds.

Scores of different folds depend on each other, because their models share people; the usual standard error
does not know that and is too small. Here each fold in turn is held out, and the cross-validated score of the
others is compared with the score in the fold. Their squared difference is the error of cross-validation plus
the sampling error of one fold, and the latter is known.

With the few people of a trial that estimate is itself uncertain: in a quarter of samples it is below the
usual one. It is therefore averaged with what that becomes when errors of folds are correlated as the
shares of people in training and in testing say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from conn.clinic.prediction.bounded import accuracy_variance, fold_variance, limits
from conn.clinic.prediction.crossfit import Crossfit
from conn.clinic.prediction.people import Floats
from conn.clinic.prediction.recipe import Kind
from conn.clinic.prediction.scores import CALIBRATION, auc, cross_validated, mean_losses, parts

Scale = Literal["logit", "log", "one_minus_log"]


@dataclass(frozen=True)
class Interval:
    """A score with its interval.

    Attributes
    ----------
    estimate
        Cross-validated score, averaged over repeats.
    low, high
        Limits; NaN where the score does not exist.
    inflation
        Ratio of the variance of the score to the usual one, between 1 and the number of folds.
    usual_se
        Standard error if predictions of different people were independent.
    """

    estimate: float
    low: float
    high: float
    inflation: float
    usual_se: float


def interval(name: str, found: Crossfit, outcome: Floats, kind: Kind, alpha: float = 0.05) -> Interval:
    """Nested cross-validation interval.

    Parameters
    ----------
    name
        One of `scores.SCORES`. Calibration has no interval.
    found
        With predictions of folds within folds.
    outcome
        ndarray of shape (n,).
    kind
        ``classifier`` or ``regression``.
    alpha
        The interval covers 1 - alpha.

    References
    ----------
    Bates 2023, 10.1080/01621459.2023.2197686, algorithm 1. There the score is a mean over people. For the AUC
    the sampling variance in a fold is the unbiased one of a U statistic; other scores enter by influence.
    Nadeau 2003, 10.1023/A:1024068626366: the corrected resampled variance, which it is averaged with.
    Newcombe 2006, 10.1002/sim.2324: limits of AUC and balanced accuracy.
    """
    estimate = cross_validated(name, found, outcome, kind)
    nan = float("nan")
    if np.isnan(estimate) or found.inner is None or name in CALIBRATION:
        return Interval(estimate, nan, nan, nan, nan)
    pieces = _auc_pieces(found, outcome) if name == "auc" else _mean_pieces(name, found, outcome, kind)
    inflation = _inflation(pieces, found.n_folds)
    z = float(norm.isf(alpha / 2))
    if name in SCALES:
        low, high = _limits(SCALES[name], estimate, float(np.sqrt(inflation * pieces.usual)), z)
    else:
        usual = fold_variance(found.fold, outcome) if name == "auc" else accuracy_variance(outcome)
        low, high = limits(estimate, lambda true: inflation * usual(true), z)
    return Interval(estimate, low, high, inflation, float(np.sqrt(pieces.usual)))


def _inflation(pieces: _Pieces, k: int) -> float:
    """How much larger than the usual variance that of the score is, with k folds."""
    shared = 1 + k / (k - 1)
    if pieces.n_pairs == 0 or pieces.usual <= _NOTHING:
        return shared
    nested = (k - 1) / k * pieces.squared / pieces.n_pairs / pieces.usual
    return float((np.clip(nested, 1, k) + shared) / 2)


_NOTHING = 1e-12
"""A variance below it says that all folds were alike, and nothing about the ratio."""

SCALES: dict[str, Scale] = {"brier": "logit", "r2": "one_minus_log", "mae": "log"}
"""Scale on which limits are equally far from the score. A score that came out too good has too small a
standard error; on these scales the limit on the other side is the farther one. AUC and balanced accuracy have
limits of their own, see `conn.clinic.prediction.bounded`."""

BOUNDS = {
    "auc": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "brier": (0.0, 1.0),
    "r2": (-np.inf, 1.0),
    "mae": (0.0, np.inf),
}
"""Limits of scores."""


def _limits(scale: Scale, estimate: float, se: float, z: float) -> tuple[float, float]:
    if scale == "one_minus_log":
        low, high = _limits("log", 1 - estimate, se, z)
        return 1 - high, 1 - low
    if estimate <= 0 or (scale == "logit" and estimate >= 1):
        return max(0.0, estimate - z * se), min(1.0, estimate + z * se)
    if scale == "log":
        half = z * se / estimate
        return float(estimate * np.exp(-half)), float(estimate * np.exp(half))
    half = z * se / (estimate * (1 - estimate))
    return float(expit(logit(estimate) - half)), float(expit(logit(estimate) + half))


@dataclass(frozen=True)
class _Pieces:
    squared: float
    n_pairs: int
    usual: float


def _auc_pieces(found: Crossfit, outcome: Floats) -> _Pieces:
    squared, n_pairs, usual = 0.0, 0, []
    assert found.inner is not None
    for repeat, fold in enumerate(found.fold):
        values, held = found.predicted[repeat], list(parts(fold))
        variances = []
        for number, rows in enumerate(held):
            outside = auc(values[rows], outcome[rows])
            inner = found.inner[repeat, number]
            inside = [auc(inner[own], outcome[own]) for other, own in enumerate(held) if other != number]
            variance = u_variance(values[rows], outcome[rows])
            if not np.isnan([outside, variance, *inside]).any():
                squared += (float(np.mean(inside)) - outside) ** 2 - variance
                n_pairs += 1
            variances.append(variance)
        usual.append(_mean(variances) / len(held))
    return _Pieces(squared, n_pairs, max(_mean(usual), 0.0))


def _mean(values: list[float]) -> float:
    """Of those that exist; 0 where none does."""
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else 0.0


def u_variance(values: Floats, outcome: Floats) -> float:
    """Unbiased variance of an AUC; it can be negative in a small sample. NaN below two of each class.

    The square of the AUC minus an unbiased estimate of the square of its expectation, which is the mean
    product over pairs that share nobody.
    """
    cases, controls = values[outcome == 1], values[outcome == 0]
    m, n = cases.size, controls.size
    if min(m, n) < 2:
        return float("nan")
    pairs = cases[:, None] - controls
    won = (pairs > 0) + 0.5 * (pairs == 0)
    total, rows, columns = won.sum(), won.sum(axis=1), won.sum(axis=0)
    disjoint = total**2 - (rows**2).sum() - (columns**2).sum() + (won**2).sum()
    return float(won.mean() ** 2 - disjoint / (m * (m - 1) * n * (n - 1)))


def _mean_pieces(name: str, found: Crossfit, outcome: Floats, kind: Kind) -> _Pieces:
    losses = mean_losses(name, found, outcome, kind)
    assert found.inner is not None and found.inner_centre is not None
    squared, n_pairs, usual = 0.0, 0, []
    for repeat, fold in enumerate(found.fold):
        own = losses(found.predicted[repeat], found.centre[repeat], outcome)
        usual.append(own.var(ddof=1) / own.size)
        for number, rows in enumerate(parts(fold)):
            others = np.flatnonzero(fold != number)
            inside = losses(
                found.inner[repeat, number, others],
                found.inner_centre[repeat, number, others],
                outcome[others],
            )
            squared += float((inside.mean() - own[rows].mean()) ** 2 - own[rows].var(ddof=1) / rows.size)
            n_pairs += 1
    return _Pieces(squared, n_pairs, float(np.mean(usual)))
