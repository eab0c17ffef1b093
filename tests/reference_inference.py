"""Slow and obvious implementations that the inference engine is compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conn.permutation import PermutationSet

Floats = NDArray[np.float64]


def direct_v(y: Floats, m: Floats, c: Floats, groups: NDArray[np.int64]) -> tuple[float, float, float]:
    """Estimate and v of Winkler et al. 2014, term by term, and Satterthwaite's df of the estimate."""
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e = y - m @ beta
    r = np.eye(len(y)) - m @ np.linalg.inv(m.T @ m) @ m.T
    weights = np.zeros(len(y))
    for g in np.unique(groups):
        weights[groups == g] = np.diag(r)[groups == g].sum() / (e[groups == g] ** 2).sum()
    v = c @ beta / np.sqrt(c @ np.linalg.inv(m.T @ np.diag(weights) @ m) @ c)
    row, mean_of_squares = c @ np.linalg.pinv(m), {g: 1 / weights[groups == g][0] for g in np.unique(groups)}
    if compares_all(row[None], m, groups):
        row = of_means(row[None], groups)[0]
    parts = [mean_of_squares[g] * np.sum(row[groups == g] ** 2) for g in np.unique(groups)]
    own = [np.diag(r)[groups == g].sum() for g in np.unique(groups)]
    df = sum(parts) ** 2 / sum(part**2 / free for part, free in zip(parts, own, strict=True))
    return float(c @ beta), float(v), float(df)


def of_means(rows: Floats, groups: NDArray[np.int64]) -> Floats:
    """Weights (r, n) that take the same from every row of a group, and as much from its mean."""
    return np.array([[row[groups == g].mean() for g in groups] for row in rows])


def compares_all(rows: Floats, m: Floats, groups: NDArray[np.int64]) -> bool:
    """Whether the estimates ``rows @ y`` say all there is about differences between means of the groups.

    Data that are constant in each group are then estimated as zero only if all these constants are equal.
    """
    names = np.unique(groups)
    steps = np.array([(groups == g).astype(float) for g in names]).T
    seen = rows @ steps
    fits = np.allclose(m @ np.linalg.lstsq(m, steps, rcond=None)[0], steps)
    blind = np.allclose(seen.sum(axis=1), 0, atol=1e-9)
    return bool(fits and blind and np.linalg.matrix_rank(seen, tol=1e-9) == len(rows) == len(names) - 1)


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
    """G of Winkler et al. 2014 (10.1016/j.neuroimage.2014.01.060), scaled to F by its first two moments."""
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e = y - m @ beta
    free = np.diag(np.eye(len(y)) - m @ np.linalg.pinv(m))
    weights = np.zeros(len(y))
    for g in np.unique(groups):
        weights[groups == g] = free[groups == g].sum() / (e[groups == g] ** 2).sum()
    s = len(c)
    inner = np.linalg.inv(c @ np.linalg.inv(m.T @ np.diag(weights) @ m) @ c.T)
    rows = c @ np.linalg.pinv(m)
    if compares_all(rows, m, groups):
        rows = of_means(rows, groups)
    cover, free_of = [], []
    for g in np.unique(groups):
        cover.append(rows[:, groups == g] @ rows[:, groups == g].T / weights[groups == g][0])
        free_of.append(free[groups == g].sum())
    first, second = moments_of_t2(cover, free_of)
    df = 2 * s * (s + 2) / (second - 2 * (s + 2) * first)
    scale = s + first - 2 * s / df
    return float((c @ beta) @ inner @ (c @ beta) / scale), float(df)


def moments_of_t2(cover: list[Floats], free: list[float]) -> tuple[float, float]:
    """What E(T²) exceeds s by, and E(T⁴) exceeds s (s + 2) by, up to first order in 1 / df.

    T² = x'(sum(cover (1 + e)))^-1 x with x of covariance sum(cover), e independent of variance 2 / df. Each
    e changes the inverse by -e D + e² D², with D the share of its group; moments of x'Dx are of normal x.
    """
    half = np.linalg.inv(np.linalg.cholesky(sum(cover)))
    s, mean, square = len(half), 0.0, 0.0
    for one, df in zip(cover, free, strict=True):
        d = half @ one @ half.T
        d2 = np.trace(d @ d)
        mean += 2 / df * d2
        square += 2 / df * (np.trace(d) ** 2 + 2 * d2 + 2 * (s * d2 + 2 * d2))
    return mean, square


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

    Johansen 1980, 10.1093/biomet/67.1.85; of one combination Krishnamoorthy and Yu 2004,
    10.1016/j.spl.2003.10.012. With several means of a group in what is tested, a and b differ; see `direct_g`
    for one value.
    """
    c, q = np.atleast_2d(c), y.shape[1]
    beta = np.linalg.lstsq(m, y, rcond=None)[0]
    e, free = y - m @ beta, np.diag(np.eye(len(y)) - m @ np.linalg.pinv(m))
    rows = c @ np.linalg.pinv(m)
    if compares_all(rows, m, groups):
        rows = of_means(rows, groups)
    precision, cover, free_of = np.zeros((m.shape[1] * q,) * 2), [], []
    for g in np.unique(groups):
        own = groups == g
        spread = e[own].T @ e[own] / free[own].sum()
        precision += np.kron(m[own].T @ m[own], np.linalg.inv(spread))
        cover.append(np.kron(rows[:, own] @ rows[:, own].T, spread))
        free_of.append(free[own].sum())
    r = np.kron(c, np.eye(q))
    tested = r @ beta.ravel()
    t2 = float(tested @ np.linalg.inv(r @ np.linalg.inv(precision) @ r.T) @ tested)
    whole, a, b = np.linalg.inv(sum(cover)), 0.0, 0.0
    for one, df in zip(cover, free_of, strict=True):
        p = one @ whole
        blocks = p.reshape(len(c), q, len(c), q)
        t, h = np.trace(blocks, axis1=1, axis2=3), np.trace(blocks, axis1=0, axis2=2)
        a += (np.trace(p @ p) + np.trace(t @ t)) / 2 / df
        b += (np.trace(h @ h) + np.trace(h) ** 2) / 2 / df
    s = len(r)
    if len(c) == 1:
        nu = q * (q + 1) / (2 * a)
        return t2 * (nu - q + 1) / (nu * q), nu - q + 1
    return t2 / (s + 2 * a - 2 * (2 * a + b) / (s + 2)), s * (s + 2) / (2 * a + b)


def direct_hc3(y: Floats, m: Floats, c: Floats) -> tuple[float, float, float]:
    """Estimate, t and df of one feature with an error variance of each row."""
    inverse = np.linalg.inv(m.T @ m)
    beta = inverse @ m.T @ y
    spread = (y - m @ beta) / (1 - np.diag(m @ inverse @ m.T))
    half = (c @ inverse @ m.T) * spread
    return float(c @ beta), float(c @ beta / np.sqrt(half @ half)), float(len(y) - m.shape[1])
