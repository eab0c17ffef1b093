"""What a reader looks at: ROC with its spread over folds, calibration by bins, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve

from conn.clinic.prediction.crossfit import Crossfit
from conn.clinic.prediction.folds import FEWEST, stratified
from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.pipeline import fit
from conn.clinic.prediction.recipe import Recipe
from conn.clinic.prediction.scores import SCORES, of_folds, parts

FALSE_POSITIVE = np.linspace(0, 1, 51)
N_BINS = 5


@dataclass(frozen=True, eq=False)
class Roc:
    """ROC averaged over folds.

    Attributes
    ----------
    false_positive
        ndarray of shape (n_points,).
    mean, low, high
        ndarrays of shape (n_points,): share of true positives; mean over all folds, and the band between the
        10th and 90th percentile of repeats (each the mean of its folds).
    """

    false_positive: Floats
    mean: Floats
    low: Floats
    high: Floats


def roc(found: Crossfit, outcome: Floats) -> Roc:
    """ROC of each fold, averaged at the same share of false positives.

    Parameters
    ----------
    found
        Out-of-fold predictions.
    outcome
        ndarray of shape (n,) of 0 and 1.
    """
    repeats = []
    for values, fold in zip(found.predicted, found.fold, strict=True):
        both = [rows for rows in parts(fold) if 0 < outcome[rows].sum() < rows.size]
        if both:
            repeats.append(np.mean([_roc(values[rows], outcome[rows]) for rows in both], axis=0))
    every = np.stack(repeats)
    low, high = np.percentile(every, [10, 90], axis=0)
    return Roc(FALSE_POSITIVE, every.mean(axis=0), low, high)


def _roc(values: Floats, outcome: Floats) -> Floats:
    """Largest share of true positives at each of `FALSE_POSITIVE`."""
    false, true, _ = roc_curve(outcome, values, drop_intermediate=False)
    return np.asarray(true[np.searchsorted(false, FALSE_POSITIVE + 1e-12, side="right") - 1])


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Mean prediction and mean outcome of people with similar predictions.

    Attributes
    ----------
    predicted, observed
        ndarrays of shape (n_bins,).
    n
        ndarray of shape (n_bins,): people.
    """

    predicted: Floats
    observed: Floats
    n: Ints


def calibration_bins(values: Floats, outcome: Floats, n_bins: int = N_BINS) -> CalibrationBins:
    """Bins of about equal size by mean out-of-fold prediction.

    Parameters
    ----------
    values
        ndarray of shape (n,): prediction of each person, averaged over repeats.
    outcome
        ndarray of shape (n,).
    n_bins
        At most so many.
    """
    groups = np.array_split(np.argsort(values, kind="stable"), min(n_bins, max(1, values.size // 5)))
    return CalibrationBins(
        np.array([values[rows].mean() for rows in groups]),
        np.array([outcome[rows].mean() for rows in groups]),
        np.array([rows.size for rows in groups], dtype=np.int64),
    )


@dataclass(frozen=True)
class LearningPoint:
    """Score with smaller training parts.

    Attributes
    ----------
    share
        Of the training part.
    n
        Mean number of people trained on.
    score
        Mean over repeats.
    sd
        SD over repeats.
    """

    share: float
    n: float
    score: float
    sd: float


def learning_curve(
    people: People, outcome: Floats, recipe: Recipe, fold: Ints, shares: Sequence[float], seed: int
) -> tuple[LearningPoint, ...]:
    """Train on shares of each training part, test on the same folds.

    Parameters
    ----------
    people, outcome, recipe
        See `crossfit`.
    fold
        ndarray of shape (n_repeats, n).
    shares
        In (0, 1]. A share that leaves a class too small for the inner folds is passed over.
    seed
        Of the choice of people.
    """
    name = SCORES[recipe.kind][0]
    points = []
    for number, share in enumerate(shares):
        found, sizes = [], []
        for repeat, own in enumerate(fold):
            values, centre = np.full(own.size, np.nan), np.full(own.size, np.nan)
            for rows in parts(own):
                part = int(own[rows[0]])
                training = np.setdiff1d(np.arange(own.size), rows)
                kept = training[_share(outcome[training], recipe, share, (seed, repeat, part, number))]
                if not _enough(outcome[kept], recipe):
                    break
                fitted = fit(people.take(kept), outcome[kept], recipe, (seed, repeat, part))
                values[rows], centre[rows] = fitted.predict(people.take(rows)), fitted.centre
                sizes.append(kept.size)
            if not np.isnan(values).any():
                found.append(of_folds(name, values, centre, outcome, own, recipe.kind))
        if len(found) == len(fold):
            points.append(
                LearningPoint(share, float(np.mean(sizes)), float(np.mean(found)), float(np.std(found)))
            )
    return tuple(points)


def _share(outcome: Floats, recipe: Recipe, share: float, seed: tuple[int, ...]) -> Ints:
    """A stratified choice of rows: a tenth of them are dealt together, and as many tenths are taken."""
    tenth = stratified(outcome, recipe.kind, 20, seed)
    return np.flatnonzero(tenth < round(20 * share))


def _enough(outcome: Floats, recipe: Recipe) -> bool:
    if recipe.kind == "classifier":
        return min(int(outcome.sum()), int((1 - outcome).sum())) >= FEWEST
    return outcome.size >= 2 * recipe.inner_folds
