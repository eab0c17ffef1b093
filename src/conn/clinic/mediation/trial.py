"""What all features of a mediation analysis share: arms, outcome, covariates, and who may stand for whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.errors import DesignError

Floats = NDArray[np.float64]

FEWEST = 3
"""People in each arm, or in each order of a crossover."""

LEFT = 1e-8
"""Share of a column's sum of squares below which the others leave nothing of it."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Rows of a trial, one per person.

    Attributes
    ----------
    shared
        ndarray of shape (n, k): intercept and covariates, nuisance of every equation.
    arm
        ndarray of shape (n,): 1 for the treated arm and 0 for the control; or the order of a crossover, 1 and
        -1, where rows are differences of periods.
    outcome
        ndarray of shape (n,): scale after treatment.
    outcome_before
        ndarray of shape (n,): scale before treatment; None when there is none.
    strata
        int ndarray of shape (n,): arm by stratum. People are resampled within them.
    blocks
        int ndarray of shape (n,): strata within which arms may be exchanged.
    adjusted
        True: values before treatment are covariates of both equations, as in arms that were compared once.
        False: rows are differences within people, and the value before (their sum) enters only the equation
        of which the other is the outcome.
    """

    shared: Floats
    arm: Floats
    outcome: Floats
    outcome_before: Floats | None
    strata: NDArray[np.int64]
    blocks: NDArray[np.int64]
    adjusted: bool = True

    @property
    def n(self) -> int:
        """Number of people."""
        return int(self.arm.size)

    def outcome_df(self, own: bool, interaction: bool = False) -> int:
        """Residual degrees of freedom of the outcome's equation, with a baseline of the feature or not."""
        before = self.adjusted and self.outcome_before is not None
        return int(self.n - self.shared.shape[1] - 2 - own - before - interaction)

    def columns(self, *names: str) -> Floats:
        """Shared columns and those of some names, of shape (n, k + len(names)); what is None is left out."""
        found = [getattr(self, name) for name in names]
        return np.column_stack([self.shared, *(column for column in found if column is not None)])


def make_trial(
    arm: ArrayLike,
    outcome: ArrayLike,
    outcome_before: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    strata: ArrayLike | None = None,
) -> Trial:
    """Two arms, each person with values before and after treatment.

    Parameters
    ----------
    arm
        array of shape (n,): 1 for the treated arm, 0 for the control.
    outcome, outcome_before
        arrays of shape (n,): the scale after and before treatment.
    covariates
        array of shape (n, q). They are centred here.
    strata
        array of shape (n,), any labels: arms are exchanged within them, and they enter as covariates.

    Returns
    -------
    Trial

    Raises
    ------
    DesignError
        Values that are missing, an arm with fewer than 3 people, columns that depend on each other, or fewer
        people than the outcome's equation needs.
    """
    group = np.asarray(arm, dtype=np.float64)
    n = group.size
    blocks = _codes(np.zeros(n) if strata is None else np.asarray(strata))
    if not set(np.unique(group)) == {0.0, 1.0}:
        raise DesignError(
            f"arm has the values {np.unique(group).tolist()}; it must be 1 and 0, and both occur"
        )
    smallest = int(np.bincount(group.astype(np.int64)).min())
    if smallest < FEWEST:
        raise DesignError(f"an arm has {smallest} people; mediation needs at least {FEWEST} in each arm")
    trial = Trial(
        _shared(np.ones(n), _centred(covariates, n), blocks),
        group,
        np.asarray(outcome, dtype=np.float64),
        None if outcome_before is None else np.asarray(outcome_before, dtype=np.float64),
        _codes(blocks * 2 + group.astype(np.int64)),
        blocks,
    )
    return _checked(trial)


def make_crossover(
    order: ArrayLike,
    outcome: ArrayLike,
    outcome_sum: ArrayLike,
    covariates: ArrayLike | None = None,
    strata: ArrayLike | None = None,
) -> Trial:
    """People who had both treatments, as differences between the two periods.

    A difference of treatments is turned into one of periods, first minus second, by the sign of the order.
    The estimates do not change, and the effect of treatment becomes a difference between the two orders, so
    that orders can be exchanged under a common effect of period.

    Parameters
    ----------
    order
        array of shape (n,): 1 where the treatment came first, -1 where the control did.
    outcome
        array of shape (n,): scale under treatment minus scale under control.
    outcome_sum
        array of shape (n,): sum of the two; it enters the reverse model.
    covariates, strata
        See `make_trial`; what moves the difference between treatments.

    Returns
    -------
    Trial

    Raises
    ------
    DesignError
        As `make_trial`.

    References
    ----------
    Montoya and Hayes 2017, 10.1037/met0000086.
    """
    sign = np.asarray(order, dtype=np.float64)
    n = sign.size
    blocks = _codes(np.zeros(n) if strata is None else np.asarray(strata))
    if set(np.unique(sign)) != {-1.0, 1.0}:
        raise DesignError(
            f"order has the values {np.unique(sign).tolist()}; it must be 1 and -1, and both occur"
        )
    smallest = int(min((sign > 0).sum(), (sign < 0).sum()))
    if smallest < FEWEST:
        raise DesignError(f"an order has {smallest} people; mediation needs at least {FEWEST} in each order")
    total = np.asarray(outcome_sum, dtype=np.float64)
    dummies = _shared(np.ones(n), np.empty((n, 0)), blocks)
    trial = Trial(
        np.column_stack([dummies, _centred(covariates, n) * sign[:, None]]),
        sign,
        np.asarray(outcome, dtype=np.float64) * sign,
        (total - total.mean()) * sign,
        _codes(blocks * 2 + (sign > 0)),
        blocks,
        adjusted=False,
    )
    return _checked(trial)


def _codes(labels: NDArray[np.generic]) -> NDArray[np.int64]:
    return np.asarray(np.unique(labels, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def _centred(covariates: ArrayLike | None, n: int) -> Floats:
    if covariates is None:
        return np.empty((n, 0))
    columns = np.asarray(covariates, dtype=np.float64).reshape(n, -1)
    return np.asarray(columns - columns.mean(axis=0))


def _shared(intercept: Floats, covariates: Floats, blocks: NDArray[np.int64]) -> Floats:
    """Intercept, covariates, and a centred column for every stratum but the first."""
    dummies = (blocks[:, None] == np.arange(1, blocks.max() + 1)).astype(np.float64)
    return np.column_stack([intercept, covariates, dummies - dummies.mean(axis=0)])


def _checked(trial: Trial) -> Trial:
    columns = trial.columns("arm", "outcome_before", "outcome")
    if not np.isfinite(columns).all():
        rows = np.flatnonzero(~np.isfinite(columns).all(axis=1)).tolist()
        raise DesignError(f"arm, outcome or covariates are missing in rows {rows}; leave these people out")
    scaled = columns / np.where(norms := np.linalg.norm(columns, axis=0), norms, 1.0)
    rank = int(np.linalg.matrix_rank(scaled, tol=LEFT))
    if rank < columns.shape[1]:
        raise DesignError(
            f"arm, outcome, its baseline and covariates are {columns.shape[1]} columns of rank {rank}: one "
            "of them is a sum of others, or does not vary. Leave out covariates or strata"
        )
    if trial.n < columns.shape[1] + 3:
        raise DesignError(
            f"{trial.n} people for {columns.shape[1] + 1} columns of the outcome's equation; at least "
            f"{columns.shape[1] + 3} are needed. Leave out covariates or strata"
        )
    return trial


def crossover_rows(order: ArrayLike, treated: ArrayLike, control: ArrayLike) -> tuple[Floats, Floats]:
    """Connectivity of a crossover as `make_crossover` has it.

    Parameters
    ----------
    order
        array of shape (n,): 1 where the treatment came first, else -1.
    treated, control
        arrays of shape (n, n_features): under treatment and under control.

    Returns
    -------
    mediator, own : ndarrays of shape (n, n_features)
        Difference of the two periods, and the centred sum with the sign of the order.
    """
    sign = np.asarray(order, dtype=np.float64)[:, None]
    first, second = (np.asarray(x, dtype=np.float64) for x in (treated, control))
    total = first + second
    return (first - second) * sign, (total - total.mean(axis=0)) * sign
