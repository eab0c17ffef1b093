"""Ridge and logistic ridge regression for many penalties at once, in the space of people.

With more features than people the solution lies in the span of the people, so a matrix of people × people is
all that is solved. Both losses have the form sum(loss) + a'Ka / 2 with predictions Ka + b.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from conn.clinic.prediction.people import Floats
from conn.clinic.prediction.recipe import Kind

_TOLERANCE = 1e-5  # of a full Newton step, after which the error is of the order of its square
_MOST = 100
_SMALLEST_WEIGHT = 1e-12


def solve(kernels: Floats, outcome: Floats, kind: Kind) -> tuple[Floats, Floats]:
    """Dual coefficients and intercepts.

    Parameters
    ----------
    kernels
        ndarray of shape (n_penalties, n, n): inner products of people divided by the penalty.
    outcome
        ndarray of shape (n,); classes are 0 and 1.
    kind
        ``classifier`` or ``regression``.

    Returns
    -------
    ndarray of shape (n_penalties, n), ndarray of shape (n_penalties,)
    """
    if kind == "regression":
        return _weighted(kernels, np.ones(kernels.shape[:2]), np.broadcast_to(outcome, kernels.shape[:2]))
    return _logistic(kernels, outcome)


def _weighted(kernels: Floats, weights: Floats, weighted_target: Floats) -> tuple[Floats, Floats]:
    """Solve (K + W^-1) a + b = z with sum(a) = 0, given W and Wz; W may come near 0."""
    root = np.sqrt(weights)
    system = root[:, :, None] * kernels * root[:, None, :]
    n = system.shape[-1]
    system[:, np.arange(n), np.arange(n)] += 1.0
    right = np.stack([weighted_target / root, root], axis=-1)
    solved = root[:, :, None] * np.linalg.solve(system, right)
    intercept = solved[..., 0].sum(axis=1) / solved[..., 1].sum(axis=1)
    return solved[..., 0] - intercept[:, None] * solved[..., 1], intercept


def _logistic(kernels: Floats, outcome: Floats) -> tuple[Floats, Floats]:
    """Newton's method from the prevalence; a step that does not descend is halved."""
    share = outcome.mean()
    dual: Floats = np.zeros((kernels.shape[0], kernels.shape[1]))
    intercept = np.full(kernels.shape[0], np.log(share / (1 - share)))
    values: Floats = np.broadcast_to(intercept[:, None], dual.shape)
    objective = _objective(dual, values, intercept, outcome)
    for _ in range(_MOST):
        chance = expit(values)
        weights = np.maximum(chance * (1 - chance), _SMALLEST_WEIGHT)
        new, level = _weighted(kernels, weights, weights * values + outcome - chance)
        step = np.ones(dual.shape[0])
        for _ in range(30):
            tried = dual + step[:, None] * (new - dual)
            tried_level = intercept + step * (level - intercept)
            tried_values = (kernels @ tried[..., None])[..., 0] + tried_level[:, None]
            tried_objective = _objective(tried, tried_values, tried_level, outcome)
            worse = tried_objective > objective + 1e-10
            if not worse.any():
                break
            step[worse] /= 2
        moved = np.abs(tried_values - values).max()
        dual, intercept, values, objective = tried, tried_level, tried_values, tried_objective
        if moved < _TOLERANCE and step.min() == 1:
            break
    return dual, intercept


def _objective(dual: Floats, values: Floats, intercept: Floats, outcome: Floats) -> Floats:
    loss = np.logaddexp(0, values).sum(axis=1) - values @ outcome
    penalty: Floats = np.einsum("bi,bi->b", dual, values - intercept[:, None]) / 2
    return np.asarray(loss + penalty)
