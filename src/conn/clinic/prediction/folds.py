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


def check(outcome: Floats, kind: Kind, n_folds: int, inner_folds: int) -> None:
    """Refuse folds in which something could not be estimated.

    Raises
    ------
    DesignError
        A class has fewer people than needed for each part, or the outcome is constant.
    """
    if not n_folds >= 2 or not inner_folds >= 2:
        raise DesignError(f"folds is {n_folds} and inner_folds {inner_folds}; both must be at least 2")
    if np.unique(outcome).size < 2:
        raise DesignError(f"all {outcome.size} people have the same outcome; there is nothing to predict")
    if kind == "classifier":
        counts = [int((outcome == value).sum()) for value in (0, 1)]
        need = max(n_folds, inner_folds + 1)
        if min(counts) < need:
            raise DesignError(
                f"the smaller class has {min(counts)} people, the larger {max(counts)}; {n_folds} folds with "
                f"{inner_folds} folds inside need at least {need} of each. Lower folds and inner_folds, or "
                "predict the score itself."
            )
    elif outcome.size < 2 * n_folds:
        raise DesignError(f"{outcome.size} people are too few for {n_folds} folds; lower folds")


def by_site(site: NDArray[Any]) -> tuple[tuple[str, ...], Ints]:
    """Each site is a fold: its name, and the fold of each person."""
    names, fold = np.unique(site, return_inverse=True)
    return tuple(str(name) for name in names), np.asarray(fold.reshape(-1), dtype=np.int64)
