"""Paths of a mediation model for every feature: estimates, standard errors, and what confounding does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.clinic.mediation.moments import Gram, Variable, columns_of, gram
from conn.clinic.mediation.trial import Trial
from conn.errors import DesignError

Floats = NDArray[np.float64]

BLOCK = 1024
"""Features at a time."""


@dataclass(frozen=True, eq=False)
class Coefficient:
    """A regression coefficient of every feature; ndarrays of shape (n_features,), NaN where there is none.

    `df` counts residual degrees of freedom.
    """

    estimate: Floats
    se: Floats
    df: int

    def interval(self, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Limits by the t distribution with coverage 1 - alpha."""
        half = special.stdtrit(self.df, 1 - alpha / 2) * self.se
        return self.estimate - half, self.estimate + half

    @property
    def p(self) -> Floats:
        """Two-sided, by the t distribution."""
        return np.asarray(2 * special.stdtr(self.df, -np.abs(self.estimate / self.se)))


@dataclass(frozen=True, eq=False)
class Paths:
    """Estimates of both directions of a mediation model.

    Attributes
    ----------
    a
        Arm on the mediator (M1 ~ arm + M0).
    b, c_prime
        Mediator, and arm, on the outcome (Y1 ~ M1 + arm + M0 + Y0): b and the direct effect c′.
    c
        Arm on the outcome without the mediator (Y1 ~ arm + M0 + Y0): the total effect.
    reverse_a, reverse_b
        The same with roles exchanged: arm on the outcome (Y1 ~ arm + Y0), and outcome on the mediator
        (M1 ~ Y1 + arm + M0 + Y0).
    rho_zero
        Correlation of the errors of the two equations at which the effect through the mediator is 0. It is
        the partial correlation of mediator and outcome given all else.
    interaction
        Difference of b between the arms (Y1 ~ M1 + arm + arm × M1 + M0 + Y0), or None.
    b_middle
        b halfway between the arms in that model, or None.
    """

    a: Coefficient
    b: Coefficient
    c: Coefficient
    c_prime: Coefficient
    reverse_a: Coefficient
    reverse_b: Coefficient
    rho_zero: Floats
    interaction: Coefficient | None = None
    b_middle: Coefficient | None = None

    @property
    def ab(self) -> Floats:
        """Effect through the mediator."""
        return np.asarray(self.a.estimate * self.b.estimate)

    @property
    def reverse_ab(self) -> Floats:
        """Effect on the mediator through the outcome."""
        return np.asarray(self.reverse_a.estimate * self.reverse_b.estimate)

    @property
    def proportion(self) -> Floats:
        """Share of the total effect that goes through the mediator, ab / c."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.ab / self.c.estimate)


def estimate(
    trial: Trial, mediator: ArrayLike, own: ArrayLike | None = None, *, interaction: bool = False
) -> Paths:
    """Least-squares estimates of all paths, feature by feature.

    Parameters
    ----------
    trial
        Arms, outcome and covariates of n people.
    mediator
        array of shape (n, n_features): connectivity after treatment, in Fisher z.
    own
        array of shape (n, n_features): connectivity before. In a crossover see `conn.clinic.mediation.trial`.
    interaction
        Fit the model in which b differs between arms, too.

    Returns
    -------
    Paths
        NaN for a feature with a missing value, or without variance beside the other columns.

    Raises
    ------
    DesignError
        Arrays of other shapes.

    References
    ----------
    Baron and Kenny 1986, 10.1037/0022-3514.51.6.1173; Imai, Keele and Yamamoto 2010, 10.1214/10-STS321 (the
    model with interaction and `rho_zero`).
    """
    m, o = checked(trial, mediator, own)
    parts = []
    for start in range(0, max(m.shape[1], 1), BLOCK):
        block = slice(start, start + BLOCK)
        parts.append(_block(trial, m[:, block], None if o is None else o[:, block], interaction))
    names = parts[0].keys()
    whole = {name: _joined([part[name] for part in parts]) for name in names}
    b = whole["b"]
    t = b.estimate / b.se
    return Paths(**whole, rho_zero=t / np.sqrt(np.square(t) + b.df))


def checked(trial: Trial, mediator: ArrayLike, own: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """The two arrays, if they fit the trial and each other."""
    m = np.asarray(mediator)
    o = None if own is None else np.asarray(own)
    if m.ndim != 2 or m.shape[0] != trial.n or (o is not None and o.shape != m.shape):
        shapes = f"{m.shape} and {None if o is None else o.shape}"
        raise DesignError(
            f"mediator and its values before have shapes {shapes}; both must be ({trial.n}, n_features)"
        )
    return m, o


def _joined(parts: list[Coefficient]) -> Coefficient:
    estimates, errors = (np.concatenate([getattr(x, name) for x in parts]) for name in ("estimate", "se"))
    return Coefficient(estimates, errors, parts[0].df)


def _block(trial: Trial, mediator: Floats, own: Floats | None, interaction: bool) -> dict[str, Coefficient]:
    columns = columns_of(trial, mediator, own, product=interaction)
    n, k = trial.n, trial.shared.shape[1]
    sums = gram(columns, np.ones((1, n)))

    def coefficient(fitted: Gram, predictor: Variable, outcome: Variable, n_predictors: int) -> Coefficient:
        df = n - k - n_predictors
        unit = columns.scale[outcome] / columns.scale[predictor]
        left = np.maximum(fitted[outcome, outcome], 0.0) / df
        with np.errstate(invalid="ignore"):
            se = np.sqrt(-fitted[predictor, predictor] * left) * unit
        value = fitted[predictor, outcome] * unit
        value, se = (np.where(columns.valid, x[0], np.nan) for x in np.broadcast_arrays(value, se))
        return Coefficient(value, se, df)

    steps = fitted_models(sums, trial.adjusted)
    n_own, n_before = int("own" in sums), int("outcome_before" in sums)
    n_both = n_own + (n_before if trial.adjusted else 0)
    n_reverse = n_before + (n_own if trial.adjusted else 0)
    n_first, n_second = (n_own, n_before) if trial.adjusted else (0, 0)
    found = {
        "a": coefficient(steps.mediator, "arm", "mediator", 1 + n_first),
        "b": coefficient(steps.outcome.sweep("mediator"), "mediator", "outcome", 2 + n_both),
        "c_prime": coefficient(steps.outcome.sweep("mediator"), "arm", "outcome", 2 + n_both),
        "c": coefficient(steps.total, "arm", "outcome", 1 + (n_both if trial.adjusted else 0)),
        "reverse_a": coefficient(steps.reverse_mediator, "arm", "outcome", 1 + n_second),
        "reverse_b": coefficient(steps.reverse.sweep("outcome"), "outcome", "mediator", 2 + n_reverse),
    }
    if interaction:
        both = steps.outcome.sweep("mediator", "product")
        found["b_middle"] = coefficient(both, "mediator", "outcome", 3 + n_both)
        found["interaction"] = coefficient(both, "product", "outcome", 3 + n_both)
    return found


@dataclass(frozen=True, eq=False)
class Steps:
    """Sums of products with the predictors of each equation swept in.

    `outcome` and `reverse` still lack the mediator (or the outcome in its place); `total` is the outcome's
    equation without it.
    """

    mediator: Gram
    outcome: Gram
    total: Gram
    reverse_mediator: Gram
    reverse: Gram


def fitted_models(sums: Gram, adjusted: bool) -> Steps:
    """Sweep the predictors of each equation in; see `Trial.adjusted`.

    Parameters
    ----------
    sums
        From `conn.clinic.mediation.moments.gram`.
    adjusted
        Whether values before treatment belong to all equations.
    """
    if not adjusted:
        first = sums.sweep("arm")
        return Steps(first, first.sweep("own"), first, first, first.sweep("outcome_before"))
    first = sums.sweep("arm", "own")
    both = first.sweep("outcome_before")
    return Steps(first, both, both, sums.sweep("arm", "outcome_before"), both)


def confounded(paths: Paths, rho: ArrayLike) -> Floats:
    """The effect through the mediator if the errors of the two equations correlate.

    An unmeasured cause of mediator and outcome makes their errors correlate by rho, and b a biased estimate.

    Parameters
    ----------
    paths
        Estimates.
    rho
        array of shape (n_rho,), within ±1.

    Returns
    -------
    ndarray of shape (n_rho, n_features)

    References
    ----------
    Imai, Keele and Yamamoto 2010, 10.1214/10-STS321 (sensitivity analysis of the linear model).
    """
    r = np.asarray(rho, dtype=np.float64)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        size = paths.ab * np.sqrt(1 - np.square(paths.rho_zero)) / paths.rho_zero
        odds = paths.rho_zero / np.sqrt(1 - np.square(paths.rho_zero)) - r / np.sqrt(1 - np.square(r))
        return np.asarray(size * odds)
