"""How good predictions are. Scores of ranks and of classes are averaged within folds.

Pooling the predictions of different folds compares people by models that were fitted to different data, and
lets the mean outcome of a training part, which is lower where those left out are high, pass for (negative)
skill: pooled leave-one-out AUC on noise is below 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from conn.clinic.prediction.crossfit import Crossfit
from conn.clinic.prediction.people import Floats, Ints
from conn.clinic.prediction.recipe import Kind

_CLIP = 1e-9

SCORES: dict[Kind, tuple[str, ...]] = {
    "classifier": ("auc", "balanced_accuracy", "brier", "calibration_slope", "calibration_intercept"),
    "regression": ("r2", "mae", "calibration_slope", "calibration_intercept"),
}
"""Names of the scores of each kind; the first one is tested."""


@dataclass(frozen=True)
class Calibration:
    """Outcome regressed on prediction.

    Attributes
    ----------
    slope
        1 is ideal; below 1, predictions are too extreme. NaN where it does not exist.
    intercept
        Classifier: log odds that the outcome exceeds the prediction on the whole (slope fixed to 1).
        Regression: mean outcome minus mean prediction. 0 is ideal.
    """

    slope: float
    intercept: float


def auc(values: Floats, outcome: Floats) -> float:
    """Probability that somebody of class 1 has the larger value, ties by half; NaN with one class."""
    cases, controls = values[outcome == 1], values[outcome == 0]
    if cases.size == 0 or controls.size == 0:
        return float("nan")
    pairs = cases[:, None] - controls
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def balanced_accuracy(values: Floats, centre: Floats, outcome: Floats) -> float:
    """Mean of sensitivity and specificity, calling a case whose probability is above the training share."""
    called = (values > centre) + 0.5 * (values == centre)
    cases = outcome == 1
    if cases.all() or not cases.any():
        return float("nan")
    return float((called[cases].mean() + (1 - called[~cases]).mean()) / 2)


def brier(values: Floats, outcome: Floats) -> float:
    """Mean squared difference of probability and class."""
    return float(((values - outcome) ** 2).mean())


def r2(values: Floats, centre: Floats, outcome: Floats) -> float:
    """Share by which squared errors are smaller than those of the training mean; negative when larger."""
    return float(1 - ((outcome - values) ** 2).sum() / ((outcome - centre) ** 2).sum())


def mae(values: Floats, outcome: Floats) -> float:
    """Mean absolute error, in units of the outcome."""
    return float(np.abs(outcome - values).mean())


def calibration(values: Floats, outcome: Floats, kind: Kind) -> Calibration:
    """Slope and intercept of the outcome on predictions.

    Parameters
    ----------
    values
        ndarray of shape (n,): probabilities or predicted outcomes.
    outcome
        ndarray of shape (n,).
    kind
        ``classifier``: logistic regression on the log odds; ``regression``: least squares.

    References
    ----------
    Van Calster 2016, 10.1016/j.jclinepi.2015.12.005.
    """
    if kind == "regression":
        spread = values.var()
        slope = float(((values - values.mean()) * outcome).mean() / spread) if spread > 0 else float("nan")
        return Calibration(slope, float(outcome.mean() - values.mean()))
    odds = logit(np.clip(values, _CLIP, 1 - _CLIP))
    slope = logistic_line(odds, outcome)[1]
    return Calibration(slope, _offset(odds, outcome))


def logistic_line(x: Floats, outcome: Floats) -> tuple[float, float]:
    """Intercept and slope of an unpenalised logistic regression; NaN where classes are separated."""
    if np.ptp(x) <= 0:
        return float("nan"), float("nan")
    centre, scale = x.mean(), x.std()
    design = np.column_stack([np.ones(x.size), (x - centre) / scale])
    beta = np.zeros(2)
    for _ in range(50):
        chance = expit(design @ beta)
        information = design.T @ (design * (chance * (1 - chance))[:, None])
        if np.linalg.cond(information) > 1e12:
            return float("nan"), float("nan")
        step = np.linalg.solve(information, design.T @ (outcome - chance))
        beta = beta + step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-300))
        if np.abs(step).max() < 1e-10:
            slope = beta[1] / scale
            return float(beta[0] - slope * centre), float(slope)
    return float("nan"), float("nan")


def _offset(odds: Floats, outcome: Floats) -> float:
    """Intercept of a logistic regression whose slope is fixed to 1, by bisection."""
    share = outcome.mean()
    if share in (0.0, 1.0):
        return float("nan")
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        if expit(odds + middle).mean() < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def score(name: str, values: Floats, centre: Floats, outcome: Floats, kind: Kind) -> float:
    """One score of one set of predictions by one model.

    Parameters
    ----------
    name
        One of `SCORES`.
    values, centre, outcome
        ndarrays of shape (n,): predictions, mean outcome of the training part, truth.
    kind
        ``classifier`` or ``regression``.
    """
    if name == "auc":
        return auc(values, outcome)
    if name == "balanced_accuracy":
        return balanced_accuracy(values, centre, outcome)
    if name == "brier":
        return brier(values, outcome)
    if name == "r2":
        return r2(values, centre, outcome)
    if name == "mae":
        return mae(values, outcome)
    found = calibration(values, outcome, kind)
    return found.slope if name == "calibration_slope" else found.intercept


CALIBRATION = ("calibration_slope", "calibration_intercept")
"""Scores without an interval: the slope of one model says little about the next one's."""

WITHIN_FOLDS = ("auc", "balanced_accuracy")
"""Scores that are worked out in each fold and averaged; the others need everybody of a repeat."""


def of_folds(name: str, values: Floats, centre: Floats, outcome: Floats, fold: Ints, kind: Kind) -> float:
    """A score of one repeat; folds without both classes are passed over where a score needs both."""
    if name not in WITHIN_FOLDS:
        return score(name, values, centre, outcome, kind)
    found = [score(name, values[rows], centre[rows], outcome[rows], kind) for rows in parts(fold)]
    there = [value for value in found if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")


def parts(fold: Ints) -> Iterator[Ints]:
    """Rows of each fold."""
    return (np.flatnonzero(fold == number) for number in np.unique(fold))


def cross_validated(name: str, found: Crossfit, outcome: Floats, kind: Kind) -> float:
    """A score, averaged over repeats; calibration is that of all predictions together."""
    if name in CALIBRATION:
        truth = np.broadcast_to(outcome, found.predicted.shape).ravel()
        return score(name, found.predicted.ravel(), found.centre.ravel(), truth, kind)
    every = [
        of_folds(name, values, centre, outcome, fold, kind)
        for values, centre, fold in zip(found.predicted, found.centre, found.fold, strict=True)
    ]
    there = [value for value in every if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")


Losses = Callable[[Floats, Floats, Floats], Floats]


def mean_losses(name: str, found: Crossfit, outcome: Floats, kind: Kind) -> Losses:
    """One value of each person whose mean is the score, or to first order moves as the score does.

    Parameters
    ----------
    name
        A score that is a mean over people, or a ratio of means.
    found
        Predictions, at which a score that is no mean is linearised.
    outcome
        ndarray of shape (n,).
    kind
        ``classifier`` or ``regression``.

    Returns
    -------
    callable
        From predictions, training means and outcomes, each of shape (m,), to values of shape (m,).
    """
    if name == "brier":
        return lambda values, _, truth: np.asarray((values - truth) ** 2)
    if name == "mae":
        return lambda values, _, truth: np.abs(values - truth)
    if name == "r2":
        level = cross_validated(name, found, outcome, kind)
        base = float(((outcome - found.centre) ** 2).mean())
        return lambda values, centre, truth: np.asarray(
            level + ((1 - level) * (truth - centre) ** 2 - (truth - values) ** 2) / base
        )
    if name == "balanced_accuracy":
        share = float(outcome.mean())
        return lambda values, centre, truth: np.where(
            truth == 1,
            ((values > centre) + 0.5 * (values == centre)) / (2 * share),
            ((values < centre) + 0.5 * (values == centre)) / (2 * (1 - share)),
        )
    raise ValueError(f"{name} is no mean over people")
