"""Who is tested with whom: stratified folds, and folds that are sites."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.clinic.prediction.people import Floats, Ints
from conn.clinic.prediction.recipe import Kind
from conn.errors import DesignError


def levels(outcome: Floats, kind: Kind, n_bins: int) -> Ints:
    """What folds are stratified by: the class, or which part of the sorted outcome somebody is in.

    Parameters
    ----------
    outcome
        ndarray of shape (n,).
    kind
        ``classifier`` or ``regression``.
    n_bins
        Parts of about equal size that a continuous outcome is cut into.

    Returns
    -------
    ndarray of shape (n,)
    """
    if kind == "classifier":
        return outcome.astype(np.int64)
    ranks = np.argsort(np.argsort(outcome, kind="stable"), kind="stable")
    return np.asarray(ranks * n_bins // outcome.size, dtype=np.int64)


def stratified(
    outcome: Floats,
    kind: Kind,
    n_folds: int,
    seed: tuple[int, ...],
    strata: NDArray[Any] | None = None,
) -> Ints:
    """Deal people to folds at random, evenly within each level of the outcome (and stratum).

    Parameters
    ----------
    outcome
        ndarray of shape (n,); classes are 0 and 1.
    kind
        ``classifier`` or ``regression``.
    n_folds
        How many.
    seed
        Integers that the shuffling depends on.
    strata
        array of shape (n,), such as sites.

    Returns
    -------
    ndarray of shape (n,)
        Fold of each person. Sizes differ by one at most, over all and within a level.
    """
    rng = np.random.default_rng(seed)
    level = levels(outcome, kind, max(1, outcome.size // (2 * n_folds)))
    group = np.zeros(outcome.size, dtype=np.int64)
    if strata is not None:
        group = np.unique(strata, return_inverse=True)[1].reshape(-1)
    order = rng.permutation(outcome.size)
    # Sorted by level and then by stratum, people are dealt like cards. The dealing goes on over levels, so
    # that no fold gets the odd one of each. Which fold comes first is drawn too.
    order = order[np.lexsort((group[order], level[order]))]
    fold = np.empty(outcome.size, dtype=np.int64)
    fold[order] = rng.permutation(n_folds)[np.arange(outcome.size) % n_folds]
    return fold


FEWEST = 3
"""People of a class that a training part must keep."""

MOST_FOLDS = 10
"""Numbers of folds that an error proposes go up to this one."""


def enough(n_folds: int, least: int) -> int:
    """Number of people from which on `least` are left without any two folds, however many more there are.

    Folds differ by one in size, so that one person more can make both of the two that are left out larger.

    Parameters
    ----------
    n_folds
        At least 3.
    least
        People who have to be left.
    """
    too_few = [n for n in range((least + 2) * n_folds + 1) if n - 2 * -(-n // n_folds) < least]
    return max(too_few, default=-1) + 1


def enough_of_class(n_folds: int) -> int:
    """People of the smaller class from which on folds can be made.

    `FEWEST` are left without any two folds, and some fold has two of them: the error of an AUC is estimated
    in folds with two of each class, and those with one count for the AUC alone.
    """
    return max(enough(n_folds, FEWEST), n_folds + 1)


def check(outcome: Floats, kind: Kind, n_folds: int, inner_folds: int) -> None:
    """Refuse folds in which something could not be estimated.

    Parameters
    ----------
    outcome
        ndarray of shape (n,).
    kind
        ``classifier`` or ``regression``.
    n_folds
        At least 3, because the interval leaves out two at a time.
    inner_folds
        At least 2.

    Raises
    ------
    DesignError
        Too few people, of a class or altogether, for the folds; the outcome is constant.
    """
    if n_folds < 3 or inner_folds < 2:
        raise DesignError(f"folds is {n_folds}, at least 3; inner_folds is {inner_folds}, at least 2")
    if np.unique(outcome).size < 2:
        raise DesignError(f"all {outcome.size} people have the same outcome; there is nothing to predict")
    if kind == "classifier":
        _check_class(min(int(outcome.sum()), int((1 - outcome).sum())), n_folds)
        return
    needed = enough(n_folds, 2 * inner_folds)
    if outcome.size < needed:
        raise DesignError(
            f"{outcome.size} people; {n_folds} folds with {inner_folds} inner folds need {needed}, so that "
            f"{2 * inner_folds} are left to train on without two folds. Change folds or lower inner_folds."
        )


def _check_class(fewest: int, n_folds: int) -> None:
    needed = enough_of_class(n_folds)
    if fewest >= needed:
        return
    possible = [n for n in range(3, MOST_FOLDS + 1) if enough_of_class(n) <= fewest]
    advice = "Predict the score itself; no number of folds is enough for so few."
    if possible:
        advice = f"Set folds to {min(possible, key=lambda n: abs(n - n_folds))}, or predict the score itself."
    raise DesignError(
        f"the smaller class has {fewest} people; {n_folds} folds need {needed}, so that {FEWEST} are left "
        f"when two folds are left out and some fold has two. {advice}"
    )


def check_training(outcome: Floats, kind: Kind, inner_folds: int) -> None:
    """Refuse a training part in which a penalty could not be chosen.

    Parameters
    ----------
    outcome
        ndarray of shape (n,): theirs.
    kind
        ``classifier`` or ``regression``.
    inner_folds
        Folds that choose the penalty.

    Raises
    ------
    DesignError
        Too few people, or all of one outcome.
    """
    if outcome.size < 2 * inner_folds:
        raise DesignError(
            f"{outcome.size} people are left to train on; {inner_folds} inner folds need {2 * inner_folds}. "
            "Change folds or lower inner_folds."
        )
    if np.unique(outcome).size < 2:
        raise DesignError(f"all {outcome.size} people have the same outcome; there is nothing to predict")
    if kind == "classifier" and min(int(outcome.sum()), int((1 - outcome).sum())) < FEWEST:
        raise DesignError(f"a class has fewer than {FEWEST} people to train on")


def by_site(site: NDArray[Any]) -> tuple[tuple[str, ...], Ints]:
    """Each site is a fold: its name, and the fold of each person."""
    names, fold = np.unique(site, return_inverse=True)
    return tuple(str(name) for name in names), np.asarray(fold.reshape(-1), dtype=np.int64)


def check_sites(outcome: Floats, kind: Kind, inner_folds: int, groups: NDArray[Any]) -> None:
    """Refuse groups of which one cannot be left out.

    Parameters
    ----------
    outcome
        ndarray of shape (n,).
    kind, inner_folds
        See `check_training`.
    groups
        array of shape (n,): sites.

    Raises
    ------
    DesignError
        One group, or one without which the others cannot be trained on.
    """
    names, fold = by_site(groups)
    if len(names) < 2:
        raise DesignError(f"leave one out: everybody is of {names[0]}; it needs two groups")
    for number, name in enumerate(names):
        try:
            check_training(outcome[fold != number], kind, inner_folds)
        except DesignError as error:
            raise DesignError(f"leave one out: without {name}, {error}") from None
