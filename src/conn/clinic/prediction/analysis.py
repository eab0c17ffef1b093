"""The whole analysis: honest score, comparator, tests, other sites, other people, and the final model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction import folds
from conn.clinic.prediction.chance import Chance, chance
from conn.clinic.prediction.crossfit import Crossfit, crossfit, folds_of
from conn.clinic.prediction.curves import LearningPoint, learning_curve
from conn.clinic.prediction.external import External, external
from conn.clinic.prediction.interval import Interval, interval
from conn.clinic.prediction.people import Floats, People
from conn.clinic.prediction.pipeline import Fitted, fit
from conn.clinic.prediction.recipe import Recipe
from conn.clinic.prediction.scores import SCORES, score

FINAL = 999_999
"""Stands for no fold in the seed of the final model."""


@dataclass(frozen=True)
class Plan:
    """How prediction is judged.

    Attributes
    ----------
    n_folds, repeats
        Of cross-validation.
    permutations
        Of each test; 0 for none.
    tested_repeats
        Repeats that the statistic of a test averages, the same observed and permuted.
    learning
        Shares of the training part for the learning curve.
    seed
        Of everything random.
    alpha
        Intervals cover 1 - alpha.
    """

    n_folds: int = 5
    repeats: int = 10
    permutations: int = 500
    tested_repeats: int = 1
    learning: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0)
    seed: int = 0
    alpha: float = 0.05


@dataclass(frozen=True, eq=False)
class LeftOutSites:
    """Every site predicted by a model of the others.

    Attributes
    ----------
    names
        Sites.
    n
        People of each.
    scores
        First score of each site; NaN where it does not exist.
    predicted
        ndarray of shape (n_people,).
    mean
        Mean of `scores`.
    """

    names: tuple[str, ...]
    n: tuple[int, ...]
    scores: tuple[float, ...]
    predicted: Floats
    mean: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """Everything that is known about a prediction.

    Attributes
    ----------
    found
        Out-of-fold predictions with imaging.
    scores
        By name: honest score with interval.
    apparent
        By name: score in the people that the final model was fitted to, which is circular.
    clinical_found, clinical_scores
        The same folds with clinical values alone; None without clinical values.
    total, increment
        Tests; None when not asked for, the latter also without clinical values.
    learning
        Learning curve.
    sites
        Leave one site out; None without sites.
    fitted
        Final model, of everybody.
    outside, clinical_outside
        Tests in other people; None without.
    """

    found: Crossfit
    scores: dict[str, Interval]
    apparent: dict[str, float]
    clinical_found: Crossfit | None
    clinical_scores: dict[str, Interval] | None
    total: Chance | None
    increment: Chance | None
    learning: tuple[LearningPoint, ...]
    sites: LeftOutSites | None
    fitted: Fitted
    outside: External | None
    clinical_outside: External | None


def predict(
    people: People,
    outcome: Floats,
    recipe: Recipe,
    plan: Plan,
    *,
    strata: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    others: tuple[People, Floats] | None = None,
    workers: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Prediction:
    """Run everything.

    Parameters
    ----------
    people
        Raw values of people.
    outcome
        ndarray of shape (n,) without missing values; classes are 0 and 1.
    recipe
        What happens inside a fold.
    plan
        How it is judged.
    strata
        array of shape (n,): folds are balanced over them, and permutations stay within them.
    groups
        array of shape (n,): sites or trials, each left out in turn.
    others
        People and outcomes that the final model is tested in.
    workers
        Processes for the permutations.
    progress
        Called with what comes next.

    Raises
    ------
    DesignError
        Too few people for the folds, or nothing to predict from or to.
    """
    folds.check(outcome, recipe.kind, plan.n_folds, recipe.inner_folds)
    fold = folds_of(outcome, recipe, plan.n_folds, plan.repeats, plan.seed, strata)
    progress("cross-validation, with folds within folds for the interval")
    found = crossfit(people, outcome, recipe, fold, plan.seed, inner=True)
    fitted = fit(people, outcome, recipe, (plan.seed, FINAL))
    known = people.clinical.shape[1] > 0
    alone = people.without_imaging()
    clinical = crossfit(alone, outcome, recipe, fold, plan.seed, inner=True) if known else None

    def test(imaging_only: bool) -> Chance:
        what = "imaging against clinical values" if imaging_only else "everything against the outcome"
        progress(f"{plan.permutations} permutations of {what}")
        return chance(
            people,
            outcome,
            recipe,
            fold[: plan.tested_repeats],
            n_permutations=plan.permutations,
            seed=plan.seed,
            imaging_only=imaging_only,
            strata=strata,
            workers=workers,
        )

    total = test(imaging_only=False) if plan.permutations else None
    increment = test(imaging_only=True) if plan.permutations and known else None
    progress("learning curve, sites, other people")
    return Prediction(
        found,
        _scores(found, outcome, recipe, plan),
        _apparent(fitted, people, outcome),
        clinical,
        None if clinical is None else _scores(clinical, outcome, recipe, plan),
        total,
        increment,
        learning_curve(people, outcome, recipe, fold[:_LEARNING_REPEATS], plan.learning, plan.seed),
        None if groups is None else left_out_sites(people, outcome, recipe, groups, plan.seed),
        fitted,
        None if others is None else external(fitted, *others, plan.seed, plan.alpha),
        _clinical_outside(alone, outcome, recipe, plan, others) if known else None,
    )


_LEARNING_REPEATS = 5


def _scores(found: Crossfit, outcome: Floats, recipe: Recipe, plan: Plan) -> dict[str, Interval]:
    names = SCORES[recipe.kind]
    return {name: interval(name, found, outcome, recipe.kind, plan.alpha) for name in names}


def _apparent(fitted: Fitted, people: People, outcome: Floats) -> dict[str, float]:
    values, centre = fitted.predict(people), np.full(people.n, fitted.centre)
    return {name: score(name, values, centre, outcome, fitted.kind) for name in SCORES[fitted.kind]}


def _clinical_outside(
    alone: People, outcome: Floats, recipe: Recipe, plan: Plan, others: tuple[People, Floats] | None
) -> External | None:
    if others is None:
        return None
    fitted = fit(alone, outcome, recipe, (plan.seed, FINAL))
    return external(fitted, others[0].without_imaging(), others[1], plan.seed, plan.alpha)


def left_out_sites(
    people: People, outcome: Floats, recipe: Recipe, groups: NDArray[Any], seed: int
) -> LeftOutSites:
    """Predict every site from the others.

    Parameters
    ----------
    people, outcome, recipe
        See `predict`.
    groups
        array of shape (n,): at least two sites.
    seed
        Of the folds that choose the penalty.

    Raises
    ------
    DesignError
        Without a site, the others cannot be trained on.
    """
    folds.check_sites(outcome, recipe.kind, recipe.inner_folds, groups)
    names, fold = folds.by_site(groups)
    found = crossfit(people, outcome, recipe, fold[None], seed)
    first = SCORES[recipe.kind][0]
    one = [_site_score(first, found, outcome, fold == number, recipe) for number in range(len(names))]
    sizes = tuple(int((fold == number).sum()) for number in range(len(names)))
    there = [value for value in one if not np.isnan(value)]
    mean = float(np.mean(there)) if there else float("nan")
    return LeftOutSites(names, sizes, tuple(one), found.predicted[0], mean)


def _site_score(
    name: str, found: Crossfit, outcome: Floats, rows: NDArray[np.bool_], recipe: Recipe
) -> float:
    return score(name, found.predicted[0, rows], found.centre[0, rows], outcome[rows], recipe.kind)
