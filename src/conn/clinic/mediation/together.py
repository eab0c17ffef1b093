"""Several mediators in one model: what each carries given the others, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn import inference
from conn.clinic.mediation.bootstrap import Interval, draw, interval, widened
from conn.clinic.mediation.joint import Joint, exchanges, family, variance_groups
from conn.clinic.mediation.paths import Coefficient, checked
from conn.clinic.mediation.trial import LEFT, Trial
from conn.errors import DesignError
from conn.glm import fit, make_model

Floats = NDArray[np.float64]

BLOCK = 250
"""Bootstrap samples at a time."""


@dataclass(frozen=True, eq=False)
class Together:
    """Parallel mediators.

    Attributes
    ----------
    a, b
        Arm on each mediator (M1_j ~ arm + M0_j), and each mediator on the outcome given the other mediators
        (Y1 ~ all M1 + arm + all M0 + Y0); arrays of shape (n_mediators,).
    c_prime
        Direct effect, of shape (1,).
    specific
        Interval of each a·b.
    total
        Interval of their sum, of shape (1,).
    tests
        Both paths of each mediator by permutation; the family is the mediators.
    """

    a: Coefficient
    b: Coefficient
    c_prime: Coefficient
    specific: Interval
    total: Interval
    tests: Joint

    @property
    def ab(self) -> Floats:
        """Effect through each mediator, of shape (n_mediators,)."""
        return np.asarray(self.a.estimate * self.b.estimate)


def together(
    trial: Trial,
    mediators: ArrayLike,
    own: ArrayLike,
    *,
    draws: int = 5000,
    permutations: int = 5000,
    seed: int = 0,
    alpha: float = 0.05,
) -> Together:
    """Estimate and test several mediators in one outcome equation.

    Parameters
    ----------
    trial
        Arms of a trial (no crossover), of n people.
    mediators, own
        arrays of shape (n, n_mediators): connectivity after and before treatment.
    draws, permutations, seed, alpha
        See `conn.clinic.mediation.bootstrap.bootstrap` and `conn.clinic.mediation.joint.joint`.

    Returns
    -------
    Together

    Raises
    ------
    DesignError
        Missing values, mediators that are sums of others, or too few people for the columns.

    References
    ----------
    Preacher and Hayes 2008, 10.3758/BRM.40.3.879.
    """
    m, o = checked(trial, mediators, own)
    assert o is not None
    outcome = _outcome_matrix(trial, m, o)
    a, b, c_prime = _observed(trial, m, o, outcome)
    specific, total = _intervals(trial, m, o, outcome, draws, seed, alpha)
    tests = _tests(trial, m, o, outcome, permutations, seed, alpha)
    return Together(a, b, c_prime, specific, total, tests)


def _outcome_matrix(trial: Trial, m: Floats, o: Floats) -> Floats:
    """Columns of the outcome's equation: mediators, arm, then all else."""
    if not trial.adjusted:
        raise DesignError("several mediators together are for arms; a crossover tests them one by one")
    if not (np.isfinite(m).all() and np.isfinite(o).all()):
        gone = np.flatnonzero(~(np.isfinite(m) & np.isfinite(o)).all(axis=0)).tolist()
        raise DesignError(f"together: mediators {gone} are missing in somebody; leave them out")
    before = [] if trial.outcome_before is None else [trial.outcome_before]
    matrix = np.column_stack([m, trial.arm, trial.shared, *before, o])
    width = matrix.shape[1]
    refuse_many(trial, m.shape[1])
    if np.linalg.matrix_rank(matrix / np.linalg.norm(matrix, axis=0), tol=LEFT) < width:
        raise DesignError("together: one mediator (or its baseline) is a sum of other columns; name fewer")
    return matrix


def refuse_many(trial: Trial, n_mediators: int) -> None:
    """Refuse more mediators than people allow.

    Raises
    ------
    DesignError
        The outcome's equation has too many columns.
    """
    width = 2 * n_mediators + 1 + trial.shared.shape[1] + (trial.outcome_before is not None)
    if trial.n < width + 3:
        raise DesignError(
            f"together: {trial.n} people for {width} columns of the outcome's equation; at least {width + 3} "
            "are needed. Name fewer mediators"
        )


def _observed(
    trial: Trial, m: Floats, o: Floats, outcome: Floats
) -> tuple[Coefficient, Coefficient, Coefficient]:
    found = []
    for j in range(m.shape[1]):
        matrix = np.column_stack([trial.columns("arm"), o[:, j]])
        found.append(_coefficient(m[:, j], matrix, trial.shared.shape[1]))
    rest = [_coefficient(trial.outcome, outcome, j) for j in range(m.shape[1] + 1)]
    return _stacked(found), _stacked(rest[:-1]), rest[-1]


def _coefficient(y: Floats, matrix: Floats, which: int) -> Coefficient:
    model = make_model(matrix, np.eye(matrix.shape[1])[which])
    got = fit(y[:, None], model)
    return Coefficient(got.effect, got.se, int(model.df))


def _stacked(parts: list[Coefficient]) -> Coefficient:
    values, errors = (np.concatenate([getattr(part, name) for part in parts]) for name in ("estimate", "se"))
    return Coefficient(values, errors, parts[0].df)


def _intervals(
    trial: Trial, m: Floats, o: Floats, outcome: Floats, draws: int, seed: int, alpha: float
) -> tuple[Interval, Interval]:
    def effects(weights: Floats) -> Floats:
        parts = [weights[i : i + BLOCK] for i in range(0, len(weights), BLOCK)]
        return np.concatenate([_effects(trial, m, o, outcome, part) for part in parts])

    samples, left_out = effects(draw(trial.strata, draws, seed)), effects(1 - np.eye(trial.n))
    observed = effects(np.ones((1, trial.n)))[0]
    level = widened(alpha, trial.n, trial.n - outcome.shape[1])
    every = interval(samples, observed, left_out, trial.strata, level)
    return every.of(slice(0, -1)), every.of(slice(-1, None))


def _effects(trial: Trial, m: Floats, o: Floats, outcome: Floats, weights: Floats) -> Floats:
    """Effects through each mediator, and their sum; shape (n_samples, n_mediators + 1)."""
    b = weighted_fit(outcome, trial.outcome, weights)[:, : m.shape[1]]
    a = np.empty_like(b)
    for j in range(m.shape[1]):
        matrix = np.column_stack([trial.arm, trial.shared, o[:, j]])
        a[:, j] = weighted_fit(matrix, m[:, j], weights)[:, 0]
    return np.column_stack([a * b, (a * b).sum(axis=1)])


def weighted_fit(matrix: Floats, y: Floats, weights: Floats) -> Floats:
    """Coefficients of weighted samples, of shape (n_samples, p); NaN for samples that do not determine them.

    Parameters
    ----------
    matrix, y
        ndarrays of shape (n, p) and (n,).
    weights
        ndarray of shape (n_samples, n).
    """
    size = np.linalg.norm(matrix, axis=0)
    unit = matrix / size
    inner = np.einsum("sn,np,nq->spq", weights, unit, unit, optimize=True)
    values, vectors = np.linalg.eigh(inner)
    good = values[:, 0] > LEFT * values[:, -1]
    values = np.where(good[:, None], values, np.nan)
    right = (weights * y) @ unit
    along = np.einsum("spq,sp->sq", vectors, right) / values
    return np.asarray(np.einsum("spq,sq->sp", vectors, along) / size)


def _tests(
    trial: Trial, m: Floats, o: Floats, outcome: Floats, permutations: int, seed: int, alpha: float
) -> Joint:
    """Both paths; for b the outcome is rearranged in the equation with all mediators."""
    first, second = exchanges(trial, permutations, seed)
    matrix = trial.columns("arm")
    contrast = np.eye(matrix.shape[1])[-1]
    a = inference.test(m, matrix, contrast, first, variance_groups(trial), covariate=o)
    rows = np.eye(outcome.shape[1])[: m.shape[1]]
    each = [inference.test(trial.outcome[:, None], outcome, row, second) for row in rows]
    return Joint(family([a], alpha), family(each, alpha))
