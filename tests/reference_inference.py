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


def direct_f(y: Floats, m: Floats, c: Floats) -> tuple[float, float]:
    """F of one feature and its second degrees of freedom, by two fits."""
    reduced = m @ np.linalg.svd(c)[2][len(c) :].T
    rest = [np.sum((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2) for x in (reduced, m)]
    df = len(y) - np.linalg.matrix_rank(m)
    return float((rest[0] - rest[1]) / len(c) / (rest[1] / df)), float(df)


def direct_g(y: Floats, m: Floats, c: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
    """G of Winkler et al. 2014 (10.1016/j.neuroimage.2014.01.060) and its second degrees of freedom."""
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e = y - m @ beta
    free = np.diag(np.eye(len(y)) - m @ np.linalg.pinv(m))
    weights = np.zeros(len(y))
    for g in np.unique(groups):
        weights[groups == g] = free[groups == g].sum() / (e[groups == g] ** 2).sum()
    s = len(c)
    inner = np.linalg.inv(c @ np.linalg.inv(m.T @ np.diag(weights) @ m) @ c.T)
    spread = sum(
        (1 - weights[groups == g].sum() / weights.sum()) ** 2 / free[groups == g].sum()
        for g in np.unique(groups)
    )
    lambda_ = 1 + 2 * (s - 1) / (s * (s + 2)) * spread
    return float((c @ beta) @ inner @ (c @ beta) / s / lambda_), float(s * (s + 2) / (3 * spread))


def two_sided(stat: float, df: float, rank: int | None) -> float:
    """The deviate with the two-sided p of t, or the p of F."""
    p = 2 * stats.t.sf(abs(stat), df) if rank is None else stats.f.sf(stat, rank, df)
    return float(stats.norm.isf(p / 2))


def refit_one(
    y: Floats,
    m: Floats,
    c: Floats,
    one: NDArray[np.int64],
    kind: str,
    own: Floats | None = None,
    groups: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """Statistic and df of one feature after one rearrangement, with gaps and a covariate of its own."""
    wide = m if own is None else np.column_stack([m, own])
    rows = c if own is None else np.column_stack([np.atleast_2d(c), np.zeros(len(np.atleast_2d(c)))])
    rows = np.atleast_2d(rows)
    reduced = wide @ np.linalg.svd(rows)[2][len(rows) :].T
    there = np.isfinite(y) & np.isfinite(wide).all(axis=1)
    e = np.full(len(y), np.nan)
    e[there] = y[there] - reduced[there] @ np.linalg.lstsq(reduced[there], y[there], rcond=None)[0]
    moved = e * one if kind == "flips" else e[one]
    kept = np.isfinite(moved) & np.isfinite(wide).all(axis=1)
    if np.linalg.matrix_rank(wide[kept]) < wide.shape[1]:
        return 0.0, 1.0
    if groups is None and c.ndim == 1:
        return direct_t(moved[kept], wide[kept], rows[0])[1:]
    if groups is None:
        return direct_f(moved[kept], wide[kept], rows)
    if c.ndim == 1:
        return direct_v(moved[kept], wide[kept], rows[0], groups[kept])[1:]
    return direct_g(moved[kept], wide[kept], rows, groups[kept])


def direct_welch_james(y: Floats, m: Floats, c: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
    """F of rows (n, q) with a covariance of each group, and its second degrees of freedom.

    Johansen 1980, 10.1093/biomet/67.1.85; with two groups and one combination Krishnamoorthy and Yu 2004,
    10.1016/j.spl.2003.10.012.
    """
    c, q = np.atleast_2d(c), y.shape[1]
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e, free = y - m @ beta, np.diag(np.eye(len(y)) - m @ np.linalg.pinv(m))
    precision, whole, shares = np.zeros((m.shape[1] * q,) * 2), np.zeros((q, q)), []
    for g in np.unique(groups):
        own = groups == g
        inverse = np.linalg.inv(e[own].T @ e[own] / free[own].sum())
        precision += np.kron(m[own].T @ m[own], inverse)
        whole += own.sum() * inverse
        shares.append((own.sum() * inverse, free[own].sum()))
    r = np.kron(c, np.eye(q))
    tested = r @ beta.ravel()
    t2 = float(tested @ np.linalg.inv(r @ np.linalg.inv(precision) @ r.T) @ tested)
    a = 0.0
    for share, df in shares:
        p = np.eye(q) - np.linalg.inv(whole) @ share
        a += (np.trace(p @ p) + np.trace(p) ** 2) / 2 / df
    s = len(r)
    if len(c) == 1 and len(shares) == 2:
        nu = q * (q + 1) / (2 * a)
        return t2 * (nu - q + 1) / (nu * q), nu - q + 1
    return t2 / (s + 2 * a - 6 * a / (s + 2)), s * (s + 2) / (3 * a)


def direct_hc3(y: Floats, m: Floats, c: Floats) -> tuple[float, float, float]:
    """Estimate, t and df of one feature with an error variance of each row."""
    inverse = np.linalg.inv(m.T @ m)
    beta = inverse @ m.T @ y
    spread = (y - m @ beta) / (1 - np.diag(m @ inverse @ m.T))
    half = (c @ inverse @ m.T) * spread
    return float(c @ beta), float(c @ beta / np.sqrt(half @ half)), float(len(y) - m.shape[1])
