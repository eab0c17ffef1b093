"""The pipeline: one function fits every step and the model to a training part, another predicts from it.

Whatever is learnt is learnt in `fit`, from the people it is given. Folds, permutations, learning curves and
the final model all call it; there is no other way to a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from conn.clinic.prediction import kernel, steps
from conn.clinic.prediction.folds import stratified
from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.recipe import Kind, Recipe
from conn.clinic.prediction.steps import Steps


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted pipeline.

    Attributes
    ----------
    kind
        ``classifier`` or ``regression``.
    steps
        What was learnt before the model.
    imaging, clinical
        ndarrays of shape (n_kept,) and (n_clinical,): coefficients of reduced features and of standardised
        clinical predictors.
    intercept
        Log odds, or outcome, of an average person.
    penalty
        The one that was chosen; NaN without imaging.
    centre
        Mean outcome of the training part: what one would predict who knew nothing else.
    """

    kind: Kind
    steps: Steps
    imaging: Floats
    clinical: Floats
    intercept: float
    penalty: float
    centre: float

    def score(self, people: People) -> Floats:
        """Log odds, or outcome in its units, of shape (n,)."""
        values = self.intercept + self.steps.clinical.apply(people.clinical) @ self.clinical
        if self.imaging.size:
            values = values + self.steps.imaging_of(people) @ self.imaging
        return np.asarray(values)

    def predict(self, people: People) -> Floats:
        """Probability of the event, or outcome in its units, of shape (n,)."""
        return np.asarray(expit(self.score(people))) if self.kind == "classifier" else self.score(people)

    def weights(self) -> Floats:
        """What one training SD of a feature adds to the score, of shape (n_features,)."""
        return self.steps.reduction.undo(self.imaging, self.steps.mean.size)


def fit(training: People, outcome: Floats, recipe: Recipe, seed: tuple[int, ...]) -> Fitted:
    """Fit everything to a training part.

    Parameters
    ----------
    training
        Its people, raw.
    outcome
        ndarray of shape (n,): theirs; classes are 0 and 1.
    recipe
        What to do.
    seed
        Integers that the folds depend on which choose the penalty.
    """
    penalty = tuned(training, outcome, recipe, seed) if training.imaging.shape[1] else float("nan")
    learnt = steps.learn(training, outcome, recipe)
    imaging, clinical = learnt.imaging_of(training), learnt.clinical.apply(training.clinical)
    kernels = _kernels(imaging, clinical, imaging, clinical, np.array([penalty]), recipe)
    dual, intercept = kernel.solve(kernels, outcome, recipe.kind)
    return Fitted(
        recipe.kind,
        learnt,
        imaging.T @ dual[0] / penalty,
        clinical.T @ dual[0] / recipe.clinical_penalty,
        float(intercept[0]),
        penalty,
        float(outcome.mean()),
    )


def tuned(training: People, outcome: Floats, recipe: Recipe, seed: tuple[int, ...]) -> float:
    """The penalty with the smallest loss in folds of the training part; of equal ones the largest.

    Every step is learnt anew in each of these folds.
    """
    penalties = np.sort(np.array(recipe.penalties))[::-1]
    if penalties.size == 1:
        return float(penalties[0])
    fold = stratified(outcome, recipe.kind, recipe.inner_folds, seed)
    loss = np.zeros(penalties.size)
    for number in range(recipe.inner_folds):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        loss += _losses(training, outcome, inside, outside, penalties, recipe)
    return float(penalties[np.argmin(loss)])


def _losses(
    people: People, outcome: Floats, inside: Ints, outside: Ints, penalties: Floats, recipe: Recipe
) -> Floats:
    """Loss on the rows `outside` of models fitted to the rows `inside`, one for each penalty."""
    training, tested = people.take(inside), people.take(outside)
    learnt = steps.learn(training, outcome[inside], recipe)
    a, c = learnt.imaging_of(training), learnt.clinical.apply(training.clinical)
    kernels = _kernels(a, c, a, c, penalties, recipe)
    dual, intercept = kernel.solve(kernels, outcome[inside], recipe.kind)
    b, d = learnt.imaging_of(tested), learnt.clinical.apply(tested.clinical)
    across = _kernels(b, d, a, c, penalties, recipe)
    values = (across @ dual[..., None])[..., 0] + intercept[:, None]
    truth = outcome[outside]
    if recipe.kind == "regression":
        return np.asarray(((truth - values) ** 2).sum(axis=1))
    return np.asarray((np.logaddexp(0, values) - values * truth).sum(axis=1))


def _kernels(
    imaging: Floats, clinical: Floats, others: Floats, their: Floats, penalties: Floats, recipe: Recipe
) -> Floats:
    """Inner products of people over the penalty of each block, of shape (n_penalties, n, n_others)."""
    fixed = clinical @ their.T / recipe.clinical_penalty
    if imaging.shape[1] == 0:
        return fixed[None]
    return np.asarray(imaging @ others.T / penalties[:, None, None] + fixed)
