"""Predictions of people by models that never saw them: repeated folds, and folds within folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction.folds import stratified
from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.pipeline import fit
from conn.clinic.prediction.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Crossfit:
    """Out-of-fold predictions.

    Attributes
    ----------
    fold
        ndarray of shape (n_repeats, n): fold in which somebody was tested.
    predicted
        ndarray of shape (n_repeats, n): probability or outcome.
    centre
        ndarray of shape (n_repeats, n): mean outcome of the training part, what one knew without data.
    inner, inner_centre
        ndarrays of shape (n_repeats, n_folds, n): the same of models that were trained without that fold as
        well as without the person's own; NaN in the fold itself. None when not asked for.
    """

    fold: Ints
    predicted: Floats
    centre: Floats
    inner: Floats | None = None
    inner_centre: Floats | None = None

    @property
    def n_folds(self) -> int:
        """Folds of each repeat."""
        return int(self.fold.max()) + 1


def folds_of(
    outcome: Floats,
    recipe: Recipe,
    n_folds: int,
    repeats: int,
    seed: int,
    strata: NDArray[Any] | None = None,
) -> Ints:
    """Folds of all repeats, of shape (n_repeats, n); they depend on outcome, strata and seed alone."""
    rows = [stratified(outcome, recipe.kind, n_folds, (seed, repeat), strata) for repeat in range(repeats)]
    return np.stack(rows)


def crossfit(
    people: People, outcome: Floats, recipe: Recipe, fold: Ints, seed: int, *, inner: bool = False
) -> Crossfit:
    """Fit and predict in all folds of all repeats.

    Parameters
    ----------
    people
        Raw values.
    outcome
        ndarray of shape (n,).
    recipe
        What happens inside a fold.
    fold
        ndarray of shape (n_repeats, n).
    seed
        Of the folds that choose the penalty.
    inner
        Also leave out every pair of folds, for the interval.
    """
    predicted, centre = np.empty(fold.shape), np.empty(fold.shape)
    for repeat, own in enumerate(fold):
        for number in range(int(own.max()) + 1):
            tested = np.flatnonzero(own == number)
            model_seed = (seed, repeat, number)
            predicted[repeat, tested], centre[repeat, tested] = _left_out(
                people, outcome, recipe, tested, tested, model_seed
            )
    if not inner:
        return Crossfit(fold, predicted, centre)
    return Crossfit(fold, predicted, centre, *_pairs(people, outcome, recipe, fold, seed))


def _pairs(people: People, outcome: Floats, recipe: Recipe, fold: Ints, seed: int) -> tuple[Floats, Floats]:
    """Predictions of models without two folds; each model serves both of them."""
    n_folds = int(fold.max()) + 1
    predicted = np.full((fold.shape[0], n_folds, fold.shape[1]), np.nan)
    centre = predicted.copy()
    for repeat, own in enumerate(fold):
        for first in range(n_folds):
            for second in range(first + 1, n_folds):
                out = np.flatnonzero((own == first) | (own == second))
                model_seed = (seed, repeat, first, second)
                values, mean = _left_out(people, outcome, recipe, out, out, model_seed)
                for tested, other in ((first, second), (second, first)):
                    rows = own[out] == tested
                    predicted[repeat, other, out[rows]] = values[rows]
                    centre[repeat, other, out[rows]] = mean
    return predicted, centre


def _left_out(
    people: People, outcome: Floats, recipe: Recipe, out: Ints, tested: Ints, seed: tuple[int, ...]
) -> tuple[Floats, float]:
    """Predictions of `tested` by a model that was fitted to everybody but `out`."""
    training = np.setdiff1d(np.arange(people.n), out)
    fitted = fit(people.take(training), outcome[training], recipe, seed)
    return fitted.predict(people.take(tested)), fitted.centre
