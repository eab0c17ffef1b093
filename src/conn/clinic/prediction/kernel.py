"""Ridge and logistic ridge regression for many penalties at once, in the space of people.

With more features than people the solution lies in the span of the people, so a matrix of people × people is
all that is solved. Both losses have the form sum(loss) + a'Ka / 2 with predictions Ka + b.
"""

from __future__ import annotations

import numpy as np

from conn.clinic.prediction.people import Floats
from conn.clinic.prediction.recipe import Kind
from conn.compiled import compiled

_TOLERANCE = 1e-5  # of a full Newton step, after which the error is of the order of its square
_MOST = 100
_HALVINGS = 30
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
    if kind == "classifier":
        duals, intercepts = _logistic(np.ascontiguousarray(kernels), outcome.astype(np.float64))
        return duals, intercepts
    n = kernels.shape[-1]
    right = np.broadcast_to(np.stack([outcome, np.ones(n)], axis=-1), (len(kernels), n, 2))
    solved = np.linalg.solve(kernels + np.eye(n), right)
    intercept = solved[..., 0].sum(axis=1) / solved[..., 1].sum(axis=1)
    return solved[..., 0] - intercept[:, None] * solved[..., 1], intercept


@compiled
def _logistic(kernels: Floats, outcome: Floats) -> tuple[Floats, Floats]:
    """Newton's method; each penalty starts where the one before it ended. Steps that climb are halved."""
    n_penalties, n = kernels.shape[0], kernels.shape[1]
    duals, intercepts = np.empty((n_penalties, n)), np.empty(n_penalties)
    share = outcome.mean()
    dual, intercept = np.zeros(n), np.log(share / (1 - share))
    for number in range(n_penalties):
        kernel = kernels[number]
        values = kernel @ dual + intercept
        objective = _objective(dual, values, intercept, outcome)
        for _ in range(_MOST):
            new, level = _newton(kernel, values, outcome)
            step = 1.0
            for _ in range(_HALVINGS):
                tried, tried_level = dual + step * (new - dual), intercept + step * (level - intercept)
                tried_values = kernel @ tried + tried_level
                tried_objective = _objective(tried, tried_values, tried_level, outcome)
                if tried_objective <= objective + 1e-10:
                    break
                step /= 2
            moved = np.abs(tried_values - values).max()
            dual, intercept, values, objective = tried, tried_level, tried_values, tried_objective
            if moved < _TOLERANCE and step == 1.0:
                break
        duals[number], intercepts[number] = dual, intercept
    return duals, intercepts


@compiled
def _newton(kernel: Floats, values: Floats, outcome: Floats) -> tuple[Floats, float]:
    """Where the quadratic that touches the objective at `values` is smallest; weights may come near 0."""
    n = values.size
    chance = 1 / (1 + np.exp(-values))
    weights = np.maximum(chance * (1 - chance), _SMALLEST_WEIGHT)
    root = np.sqrt(weights)
    system = np.empty((n, n))
    right = np.empty((n, 2))
    for i in range(n):
        for j in range(n):
            system[i, j] = root[i] * kernel[i, j] * root[j]
        system[i, i] += 1.0
        right[i, 0] = root[i] * values[i] + (outcome[i] - chance[i]) / root[i]
        right[i, 1] = root[i]
    solved = np.linalg.solve(system, right)
    first, second = root * solved[:, 0], root * solved[:, 1]
    level = first.sum() / second.sum()
    return first - level * second, level


@compiled
def _objective(dual: Floats, values: Floats, intercept: float, outcome: Floats) -> float:
    total = 0.0
    for i in range(values.size):
        total += max(values[i], 0.0) + np.log1p(np.exp(-abs(values[i]))) - values[i] * outcome[i]
        total += dual[i] * (values[i] - intercept) / 2
    return total
