"""Regressions of single features in compiled loops: factors, degrees of freedom, statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.glm import Floats

DEPENDENT = 1e-10
"""A column of which the earlier ones leave a smaller share of the sum of squares depends on them."""

LEAST_LEFT = 1e-13
"""Share of the sum of squares below which a residual variance is rounding."""

LEAST_FREE = 1e-8
"""See `conn.sandwich.LEAST_FREE`."""

LEAST_DF = 0.5
"""Residual degrees of freedom that a variance group needs, as in `conn.glm.make_model`."""


@compiled
def residuals(e: Floats, there: NDArray[np.bool_], own: Floats, nuisance: Floats) -> None:
    """Take the nuisance and a feature's own covariate out of e, in place, in the rows that are there."""
    n, width = e.shape
    k = nuisance.shape[1]
    p = k + (1 if own.size > 0 else 0)
    cross, lower = np.zeros((p, p)), np.zeros((p, p))
    right, row, beta = np.zeros(p), np.zeros(p), np.zeros(p)
    for j in range(width):
        cross[:] = 0.0
        right[:] = 0.0
        for i in range(n):
            if there[i, j]:
                row[:k] = nuisance[i]
                if p > k:
                    row[k] = own[i, j]
                for a in range(p):
                    right[a] += row[a] * e[i, j]
                    for c in range(a + 1):
                        cross[a, c] += row[a] * row[c]
        _factor(cross, lower)
        _forward(lower, right, beta)
        _backward(lower, beta)
        for i in range(n):
            if there[i, j]:
                for a in range(k):
                    e[i, j] -= nuisance[i, a] * beta[a]
                if p > k:
                    e[i, j] -= own[i, j] * beta[k]


@compiled
def _factor(cross: Floats, lower: Floats) -> int:
    """Cholesky factor, and its rank; a column that depends on earlier ones gets a pivot of 0."""
    p = cross.shape[0]
    rank = 0
    for k in range(p):
        pivot = cross[k, k]
        for m in range(k):
            pivot -= lower[k, m] * lower[k, m]
        if pivot <= DEPENDENT * cross[k, k] or pivot <= 1e-14:
            for i in range(k, p):
                lower[i, k] = 0.0
            continue
        rank += 1
        lower[k, k] = np.sqrt(pivot)
        for i in range(k + 1, p):
            value = cross[i, k]
            for m in range(k):
                value -= lower[i, m] * lower[k, m]
            lower[i, k] = value / lower[k, k]
    return rank


@compiled
def _forward(lower: Floats, right: Floats, out: Floats) -> None:
    """Solve L out = right; what depends on earlier columns gets 0."""
    for k in range(right.size):
        value = right[k]
        for m in range(k):
            value -= lower[k, m] * out[m]
        out[k] = value / lower[k, k] if lower[k, k] > 0 else 0.0


@compiled
def _backward(lower: Floats, out: Floats) -> None:
    """Solve L'x = out, in place."""
    for k in range(out.size - 1, -1, -1):
        value = out[k]
        for m in range(k + 1, out.size):
            value -= lower[m, k] * out[m]
        out[k] = value / lower[k, k] if lower[k, k] > 0 else 0.0


@compiled
def _accumulate(
    e: Floats,
    there: NDArray[np.bool_],
    own: Floats,
    own_there: NDArray[np.bool_],
    nuisance: Floats,
    effect: Floats,
    groups: NDArray[np.int64],
    order: NDArray[np.int64],
    flips: bool,
    j: int,
    again: bool,
    cross: Floats,
    right: Floats,
    sums: Floats,
    rows: Floats,
) -> None:
    """Cross products, right-hand sides, sums of squares and rows of each variance group, for one feature.

    Without `again` the cross products and rows are those of the rearrangement before.
    """
    k, r = nuisance.shape[1], effect.shape[1]
    extra = 1 if own.size > 0 else 0
    p = k + extra + r
    row = np.empty(p)
    right[:] = 0.0
    sums[:] = 0.0
    if again:
        cross[:] = 0.0
        rows[:] = 0.0
    for i in range(e.shape[0]):
        source = i if flips else order[i]
        if not there[source, j] or (extra == 1 and not own_there[i, j]):
            continue
        value = e[source, j] * order[i] if flips else e[source, j]
        g = groups[i]
        for a in range(k):
            row[a] = nuisance[i, a]
        if extra == 1:
            row[k] = own[i, j]
        for a in range(r):
            row[k + extra + a] = effect[i, a]
        sums[g] += value * value
        for a in range(p):
            right[g, a] += row[a] * value
        if again:
            rows[g] += 1.0
            for a in range(p):
                for c in range(a + 1):
                    cross[g, a, c] += row[a] * row[c]


@compiled
def regressions(
    e: Floats,
    there: NDArray[np.bool_],
    own: Floats,
    own_there: NDArray[np.bool_],
    nuisance: Floats,
    effect: Floats,
    groups: NDArray[np.int64],
    n_groups: int,
    table: NDArray[np.int64],
    flips: bool,
    is_t: bool,
    compares: bool,
    robust: bool,
    out: Floats,
) -> None:
    """Statistic, its degrees of freedom, estimate, standard error, and what is left of the sum of squares.

    `out` has shape (5, n_rearrangements, width); all stay 0 where the effect cannot be estimated.
    """
    width = e.shape[1]
    r = effect.shape[1]
    p = nuisance.shape[1] + (1 if own.size > 0 else 0) + r
    cross, right = np.zeros((n_groups, p, p)), np.zeros((n_groups, p))
    sums, rows, free = np.zeros(n_groups), np.zeros(n_groups), np.zeros(n_groups)
    own_loads = r if n_groups > 1 and not compares else 0
    loads = np.zeros((n_groups, own_loads, own_loads))
    lower, heavy = np.zeros((p, p)), np.zeros((p, p))
    solved = np.zeros(p)
    for j in range(width):
        changes = not there[:, j].all()
        rank = 0
        for b in range(table.shape[0]):
            again = changes or b == 0
            _accumulate(
                e, there, own, own_there, nuisance, effect, groups, table[b], flips, j, again,
                cross, right, sums, rows,
            )  # fmt: skip
            if again:
                rank = _factor(cross.sum(axis=0), lower)
                _freedom(cross, lower, rows, free, loads)
            estimable = rows.sum() - rank >= 1 and free.min() >= LEAST_DF
            for a in range(p - r, p):
                estimable = estimable and lower[a, a] > 0
            if not estimable:
                continue
            _forward(lower, right.sum(axis=0), solved)
            if n_groups == 1:
                _pooled(lower, solved, sums[0], rows[0] - rank, r, is_t, out[:, b, j])
                if robust:
                    _by_row(
                        e, there, own, own_there, nuisance, effect, table[b], flips, j, lower, solved,
                        out[:, b, j],
                    )  # fmt: skip
            else:
                _by_group(cross, right, sums, rows, free, loads, lower, solved, heavy, r, is_t, out[:, b, j])


@compiled
def _freedom(cross: Floats, lower: Floats, rows: Floats, free: Floats, loads: Floats) -> None:
    """Sum of the diagonal of the residual-forming matrix over each variance group.

    And in `loads`, of shape (n_groups, r, r), cross products of the weights that give the last coefficients;
    nothing where its length is 0.
    """
    p, r = lower.shape[0], loads.shape[1]
    inverse, unit, column = np.zeros((p, p)), np.zeros(p), np.zeros(p)
    for k in range(p):
        unit[:] = 0.0
        unit[k] = 1.0
        _forward(lower, unit, column)
        _backward(lower, column)
        inverse[:, k] = column
    for g in range(free.size):
        free[g] = rows[g]
        for a in range(p):
            free[g] -= inverse[a, a] * cross[g, a, a]
            for c in range(a):
                free[g] -= 2 * inverse[a, c] * cross[g, a, c]
        for u in range(r):
            for w in range(r):
                loads[g, u, w] = 0.0
                left, right = inverse[:, p - r + u], inverse[:, p - r + w]
                for a in range(p):
                    loads[g, u, w] += left[a] * cross[g, a, a] * right[a]
                    for c in range(a):
                        loads[g, u, w] += cross[g, a, c] * (left[a] * right[c] + left[c] * right[a])


@compiled
def _pooled(lower: Floats, solved: Floats, total: float, df: float, r: int, is_t: bool, out: Floats) -> None:
    """Statistic with one variance; see `regressions` for `out`."""
    p = solved.size
    explained = np.square(solved[p - r :]).sum()
    left = total - np.square(solved[: p - r]).sum() - explained
    variance = max(left, LEAST_LEFT) / df
    out[1], out[4] = df, left
    if is_t:
        out[0] = solved[p - 1] / np.sqrt(variance)
        out[2] = solved[p - 1] / lower[p - 1, p - 1]
        out[3] = np.sqrt(variance) / lower[p - 1, p - 1]
    else:
        out[0] = explained / r / variance


@compiled
def _by_row(
    e: Floats,
    there: NDArray[np.bool_],
    own: Floats,
    own_there: NDArray[np.bool_],
    nuisance: Floats,
    effect: Floats,
    order: NDArray[np.int64],
    flips: bool,
    j: int,
    lower: Floats,
    beta: Floats,
    out: Floats,
) -> None:
    """HC3 instead of one variance: leverage and weight of each row from the factor; see `regressions`."""
    k, p = nuisance.shape[1], beta.size
    row, unit = np.empty(p), np.empty(p)
    _backward(lower, beta)
    variance = 0.0
    for i in range(e.shape[0]):
        source = i if flips else order[i]
        if not there[source, j] or (own.size > 0 and not own_there[i, j]):
            continue
        row[:k] = nuisance[i]
        if own.size > 0:
            row[k] = own[i, j]
        row[p - 1] = effect[i, 0]
        _forward(lower, row, unit)
        free, rest = 1.0, e[source, j] * order[i] if flips else e[source, j]
        for a in range(p):
            free -= unit[a] * unit[a]
            rest -= row[a] * beta[a]
        if abs(unit[p - 1]) > LEAST_FREE:
            part = unit[p - 1] * rest / max(free, LEAST_FREE)
            variance += part * part
    variance = max(variance, LEAST_LEFT)
    # `unit` belongs to an effect of length 1 after the nuisance, as does the product that t is made of.
    out[3] = np.sqrt(variance) / lower[p - 1, p - 1]
    out[0] = out[2] / out[3]


@compiled
def regressed(
    there: NDArray[np.bool_],
    columns: Floats,
    groups: NDArray[np.int64],
    place: NDArray[np.int64],
    whole: Floats,
    right: Floats,
    sums: Floats,
    r: int,
    is_t: bool,
    compares: bool,
    out: Floats,
) -> None:
    """As `regressions`, from products that are there; missing rows are taken off the cross products.

    `right` has shape (n_groups, p, n_rearrangements, width), `sums` lacks the columns, `whole` the rest.
    """
    n_groups, p, width = whole.shape[0], whole.shape[1], there.shape[1]
    gone, count = _gaps(there)
    sizes = np.zeros(n_groups)
    for g in groups:
        sizes[g] += 1.0
    cross, own = np.empty_like(whole), np.empty((n_groups, p))
    rows, squares, free = np.empty(n_groups), np.empty(n_groups), np.zeros(n_groups)
    own_loads = r if n_groups > 1 and not compares else 0
    loads = np.zeros((n_groups, own_loads, own_loads))
    lower, heavy, solved = np.zeros((p, p)), np.zeros((p, p)), np.zeros(p)
    for b in range(place.shape[0]):
        for j in range(width):
            cross[:] = whole
            rows[:] = sizes
            for k in range(count[j]):
                i = place[b, gone[k, j]]
                rows[groups[i]] -= 1.0
                for a in range(p):
                    for c in range(a + 1):
                        cross[groups[i], a, c] -= columns[i, a] * columns[i, c]
            rank = _factor(cross.sum(axis=0), lower)
            _freedom(cross, lower, rows, free, loads)
            estimable = rows.sum() - rank >= 1 and free.min() >= LEAST_DF
            for a in range(p - r, p):
                estimable = estimable and lower[a, a] > 0
            if not estimable:
                continue
            own[:] = right[:, :, b, j]
            squares[:] = sums[:, b, j]
            _forward(lower, own.sum(axis=0), solved)
            if n_groups == 1:
                _pooled(lower, solved, squares[0], rows[0] - rank, r, is_t, out[:, b, j])
            else:
                _by_group(cross, own, squares, rows, free, loads, lower, solved, heavy, r, is_t, out[:, b, j])


@compiled
def _gaps(there: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are missing, shape (n, width), and how many they are in each feature."""
    n, width = there.shape
    gone, count = np.zeros((n, width), dtype=np.int64), np.zeros(width, dtype=np.int64)
    for i in range(n):
        for j in range(width):
            if not there[i, j]:
                gone[count[j], j] = i
                count[j] += 1
    return gone, count


@compiled
def _by_group(
    cross: Floats,
    right: Floats,
    sums: Floats,
    rows: Floats,
    free: Floats,
    loads: Floats,
    lower: Floats,
    beta: Floats,
    heavy: Floats,
    r: int,
    is_t: bool,
    out: Floats,
) -> None:
    """Aspin-Welch v, or G, with a variance for each group; see `regressions` for `out`.

    Without `loads` the contrast compares all groups, by their rows.
    """
    p = beta.size
    _backward(lower, beta)
    weights = np.zeros(sums.size)
    left = 1.0
    for g in range(sums.size):
        rest = sums[g]
        for a in range(p):
            rest += beta[a] * (beta[a] * cross[g, a, a] - 2 * right[g, a])
            for c in range(a):
                rest += 2 * beta[a] * beta[c] * cross[g, a, c]
        left = min(left, rest)
        weights[g] = free[g] / max(rest, LEAST_LEFT)
    weighted = np.zeros((p, p))
    for g in range(sums.size):
        weighted += weights[g] * cross[g]
    _factor(weighted, heavy)
    if loads.size == 0:
        first = (np.square(1 - weights * rows / (weights * rows).sum()) / free).sum()
        second = first
    else:
        first, second = _johansen(loads, weights, free)
    spread = 2 * first + second
    out[1], out[4] = r * (r + 2) / spread, left
    if is_t:
        out[0], out[2], out[3] = beta[p - 1] * heavy[p - 1, p - 1], beta[p - 1], 1 / heavy[p - 1, p - 1]
        return
    for a in range(p - r, p):
        value = 0.0
        for c in range(a, p):
            value += heavy[c, a] * beta[c]
        out[0] += value * value
    out[0] /= r + 2 * first - 2 * spread / (r + 2)


@compiled
def _johansen(loads: Floats, weights: Floats, free: Floats) -> tuple[float, float]:
    """As `conn.freedom.johansen`, of one feature with variances ``1 / weights``."""
    r = loads.shape[1]
    if r == 1:
        parts = loads[:, 0, 0] / weights
        first = (np.square(parts) / free).sum() / parts.sum() ** 2
        return first, first
    whole, lower = np.zeros((r, r)), np.zeros((r, r))
    for g in range(free.size):
        whole += loads[g] / weights[g]
    _factor(whole, lower)
    share, column = np.empty((r, r)), np.empty(r)
    first, second = 0.0, 0.0
    for g in range(free.size):
        trace = 0.0
        for a in range(r):
            _forward(lower, loads[g, a] / weights[g], column)
            _backward(lower, column)
            share[a] = column
            trace += column[a]
        for a in range(r):
            for c in range(r):
                first += share[a, c] * share[c, a] / free[g]
        second += trace * trace / free[g]
    return first, second
