"""Sums of products of a feature's variables, for the data and for many weightings of people at once.

Ordinary least squares needs only sums of products. Those of a weighted sample (a bootstrap sample counts
people) are products of the weights with products of columns, so that samples and features are two axes of one
matrix product. Regressions follow from the sweep operator, element by element.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from conn.clinic.mediation.trial import LEFT, Trial
from conn.glm import residuals

Floats = NDArray[np.float64]
Variable = Literal["arm", "outcome_before", "outcome", "own", "mediator", "product"]

SINGULAR = 1e-10
"""Share of a variable's sum of squares below which what the others leave of it is rounding."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Variables of a block of features, free of the shared columns and scaled.

    Attributes
    ----------
    fixed
        Variables that all features share, each an ndarray of shape (n,).
    own
        Variables of each feature, each an ndarray of shape (n, n_features); 0 where not `valid`.
    shared
        ndarray of shape (n, k), orthonormal.
    scale
        What a unit of each variable is, a number or an ndarray of shape (n_features,).
    valid
        ndarray of shape (n_features,): every person has a value, and the shared columns leave some variance.
    """

    fixed: dict[Variable, Floats]
    own: dict[Variable, Floats]
    shared: Floats
    scale: dict[Variable, Floats]
    valid: NDArray[np.bool_]


def columns_of(trial: Trial, mediator: Floats, own: Floats | None, *, product: bool = False) -> Columns:
    """Prepare a block of features.

    Parameters
    ----------
    trial
        Of n people.
    mediator, own
        ndarrays of shape (n, n_features): connectivity after treatment and before (in a crossover: difference
        of periods and signed sum). None: no value before.
    product
        Add the product of the arm (minus its middle) with the mediator.
    """
    basis = np.linalg.qr(trial.shared)[0]
    fixed: dict[Variable, Floats] = {"arm": trial.arm, "outcome": trial.outcome}
    if trial.outcome_before is not None:
        fixed["outcome_before"] = trial.outcome_before
    features: dict[Variable, Floats] = {"mediator": np.asarray(mediator, dtype=np.float64)}
    if own is not None:
        features["own"] = np.asarray(own, dtype=np.float64)
    valid = np.all([np.isfinite(x).all(axis=0) for x in features.values()], axis=0)
    features = {name: np.where(valid, x, 0.0) for name, x in features.items()}
    if product:
        middle = (trial.arm.max() + trial.arm.min()) / 2
        features["product"] = (trial.arm - middle)[:, None] * features["mediator"]
    scale: dict[Variable, Floats] = {}
    for name, x in fixed.items():
        left = residuals(x[:, None], basis)[:, 0]
        scale[name] = np.asarray(np.linalg.norm(left))
        fixed[name] = left / scale[name]
    for name, x in features.items():
        left = residuals(x, basis)
        size = np.linalg.norm(left, axis=0)
        valid &= size > LEFT * np.linalg.norm(x, axis=0)
        scale[name] = np.where(valid, size, 1.0)
        features[name] = np.where(valid, left / scale[name], 0.0)
    return Columns(fixed, features, basis, scale, valid)


@dataclass(frozen=True, eq=False)
class Gram:
    """Sums of products, or what sweeping made of them.

    Attributes
    ----------
    of
        Arrays by pair of variables in alphabetical order, broadcast over (n_samples, n_features). After a
        variable was swept in, its pair with another holds the regression coefficient, and its pair with
        itself minus the element of the inverse.
    whole
        Sum of squares of each variable at the start.
    """

    of: dict[tuple[Variable, Variable], Floats]
    whole: dict[Variable, Floats]

    def __getitem__(self, pair: tuple[Variable, Variable]) -> Floats:
        return self.of[_ordered(*pair)]

    def __contains__(self, name: Variable) -> bool:
        return name in self.whole

    def sweep(self, *names: Variable) -> Gram:
        """Let variables predict the others, one after the other; those that are not there are passed over."""
        gram = self
        for name in names:
            if name in gram:
                gram = gram._swept(name)
        return gram

    def _swept(self, pivot: Variable) -> Gram:
        own = self[pivot, pivot]
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1.0 / np.where(own > SINGULAR * self.whole[pivot], own, np.nan)
        along = {name: self[pivot, name] * inverse for name in self.whole if name != pivot}
        new: dict[tuple[Variable, Variable], Floats] = {}
        for first, second in self.of:
            if first == second == pivot:
                new[first, second] = -inverse
            elif pivot in (first, second):
                new[first, second] = along[second if first == pivot else first]
            else:
                new[first, second] = self.of[first, second] - along[first] * self[pivot, second]
        return Gram(new, self.whole)


def _ordered(first: Variable, second: Variable) -> tuple[Variable, Variable]:
    return (first, second) if first <= second else (second, first)


def gram(columns: Columns, weights: Floats) -> Gram:
    """Weighted sums of products after the shared columns.

    Parameters
    ----------
    columns
        Of n people and a block of features.
    weights
        ndarray of shape (n_samples, n): how often each person counts. Shared columns that a sample does not
        determine count as not there.

    Returns
    -------
    Gram
        Arrays of shape (n_samples, n_features), or (n_samples, 1) for pairs that all features share.
    """
    project = _projector(columns.shared, weights)
    every = {name: x[:, None] for name, x in columns.fixed.items()} | columns.own
    k, n_samples = project.shape[1], len(weights)
    flat = project.reshape(n_samples * k, -1)
    along = {name: (flat @ x).reshape(n_samples, k, -1) for name, x in every.items()}
    of: dict[tuple[Variable, Variable], Floats] = {}
    for first, second in _pairs(every):
        products = _products(every[first], every[second], weights)
        of[first, second] = products - np.einsum("skf,skf->sf", *_broadcast(along[first], along[second]))
    return Gram(of, {name: of[name, name] for name in every})


def _pairs(names: Iterable[Variable]) -> list[tuple[Variable, Variable]]:
    ordered = sorted(names)
    return [(first, second) for i, first in enumerate(ordered) for second in ordered[i:]]


def _products(first: Floats, second: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ (first * second))


def _broadcast(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    one, other = np.broadcast_arrays(first, second)
    return one, other


def _projector(shared: Floats, weights: Floats) -> Floats:
    """Of shape (n_samples, k, n): products with a column give its part along the weighted shared columns."""
    inner = np.einsum("sn,nk,nl->skl", weights, shared, shared, optimize=True)
    values, vectors = np.linalg.eigh(inner)
    good = values > SINGULAR * np.maximum(values[:, -1:], 1e-300)
    root = np.where(good, 1 / np.sqrt(np.where(good, values, 1.0)), 0.0)
    return np.asarray(((vectors * root[:, None, :]).transpose(0, 2, 1) @ shared.T) * weights[:, None, :])
