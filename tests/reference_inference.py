"""Slow and obvious implementations that the inference engine is compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conn.permutation import PermutationSet

Floats = NDArray[np.float64]


def direct_v(y: Floats, m: Floats, c: Floats, groups: NDArray[np.int64]) -> tuple[float, float, float]:
    """Estimate, v and df of one feature: the formulas of Winkler et al. 2014, term by term."""
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e = y - m @ beta
    r = np.eye(len(y)) - m @ np.linalg.inv(m.T @ m) @ m.T
    weights = np.zeros(len(y))
    for g in np.unique(groups):
        weights[groups == g] = np.diag(r)[groups == g].sum() / (e[groups == g] ** 2).sum()
    v = c @ beta / np.sqrt(c @ np.linalg.inv(m.T @ np.diag(weights) @ m) @ c)
    total = weights.sum()
    terms = [
        (1 - weights[groups == g].sum() / total) ** 2 / np.diag(r)[groups == g].sum()
        for g in np.unique(groups)
    ]
    return float(c @ beta), float(v), float(1 / sum(terms))


def direct_t(y: Floats, m: Floats, c: Floats) -> tuple[float, float, float]:
    """Estimate, t and df of one feature by least squares."""
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e = y - m @ beta
    df = len(y) - m.shape[1]
    return (
        float(c @ beta),
        float(c @ beta / np.sqrt(e @ e / df * (c @ np.linalg.inv(m.T @ m) @ c))),
        float(df),
    )


def refit_all(
    data: Floats, m: Floats, c: Floats, permutations: PermutationSet, groups: NDArray[np.int64] | None
) -> Floats:
    """|statistic| of every rearrangement and feature: Freedman and Lane with a refit each time.

    With variance groups the statistic goes to z through its p value.
    """
    reduced = m @ np.linalg.svd(c[None, :])[2][1:].T
    fitted = reduced @ np.linalg.lstsq(reduced, data, rcond=None)[0]
    rest = data - fitted
    out = np.empty((permutations.n_set, data.shape[1]))
    for b, one in enumerate(permutations.table):
        moved = rest * one[:, None] if permutations.kind == "flips" else rest[one]
        for j, y in enumerate((fitted + moved).T):
            if groups is None:
                out[b, j] = abs(direct_t(y, m, c)[1])
            else:
                _, v, df = direct_v(y, m, c, groups)
                out[b, j] = stats.norm.isf(stats.t.sf(abs(v), df))
    return out
