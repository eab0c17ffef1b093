"""Better than chance, and better than clinical values alone: the whole pipeline again on permuted people."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction import exchange
from conn.clinic.prediction.crossfit import crossfit
from conn.clinic.prediction.people import Floats, Ints, People
from conn.clinic.prediction.recipe import Recipe
from conn.clinic.prediction.scores import SCORES, cross_validated
from conn.permutation import PermutationSet, permutation_set

_TIE = 1e-12


@dataclass(frozen=True, eq=False)
class Chance:
    """A permutation test of a cross-validated score.

    Attributes
    ----------
    observed
        The score that is compared, of `repeats` repeats.
    permuted
        ndarray of shape (n_permutations,).
    p
        (b + 1) / (n + 1), one-sided: at least as good.
    """

    observed: float
    permuted: Floats
    p: float


@dataclass(frozen=True, eq=False)
class _Task:
    moved: Callable[[Ints], People]
    outcome: Floats
    recipe: Recipe
    fold: Ints
    seed: int


def chance(
    people: People,
    outcome: Floats,
    recipe: Recipe,
    fold: Ints,
    *,
    n_permutations: int,
    seed: int,
    imaging_only: bool,
    strata: NDArray[Any] | None = None,
    workers: int = 1,
) -> Chance:
    """Test the first score of `SCORES`, with everything fitted again for every permutation.

    Folds are made from outcome and strata, and stay. People's values move against them, which is the same as
    permuting outcomes and making folds anew.

    Parameters
    ----------
    people, outcome, recipe
        See `crossfit`.
    fold
        ndarray of shape (n_repeats, n): repeats that make up the statistic, the same for every permutation.
    n_permutations
        How many.
    seed
        Of permutations and of the folds that choose the penalty.
    imaging_only
        Permute what clinical values do not say about scans, with outcome and clinical values fixed: does
        imaging add to them? Otherwise both are permuted against the outcome: is there anything?
    strata
        array of shape (n,): values move within them only.
    workers
        Processes. The result does not depend on their number.
    """
    orders = rearrangements(people.n, strata, n_permutations, seed).table
    moved = exchange.scans(people, strata).moved if imaging_only else people.exchanged
    task = _Task(moved, outcome, recipe, fold, seed)
    pieces = [piece for piece in np.array_split(orders, max(1, min(workers, len(orders)))) if len(piece)]
    if len(pieces) == 1:
        found = _scores(task, pieces[0])
    else:
        with ProcessPoolExecutor(len(pieces)) as pool:
            found = np.concatenate(list(pool.map(_scores, [task] * len(pieces), pieces)))
    # The identity comes first, and counts once.
    p = float((found >= found[0] - _TIE).sum() / found.size)
    return Chance(float(found[0]), found[1:], p)


def rearrangements(n: int, strata: NDArray[Any] | None, n_permutations: int, seed: int) -> PermutationSet:
    """Orders of n people, within strata."""
    return permutation_set(
        n,
        "labels",
        strata=strata,
        matrix_effect=np.arange(n),
        n_permutations=n_permutations,
        seed=seed,
        has_nuisance=False,
    )


def _scores(task: _Task, orders: Ints) -> Floats:
    name = SCORES[task.recipe.kind][0]
    scores = np.empty(len(orders))
    for number, order in enumerate(orders):
        found = crossfit(task.moved(order), task.outcome, task.recipe, task.fold, task.seed)
        scores[number] = cross_validated(name, found, task.outcome, task.recipe.kind)
    return scores
