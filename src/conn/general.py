"""Statistics where everything may differ between features: rows that are missing, a covariate of a feature's
own, any number of variance groups. Each rearrangement is a regression of its own.

The slow and general way beside `conn.shared` and `conn.covariate`, for what they cannot express.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.glm import Fit, Floats, Model
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, Job, Scale, Tile, padded
from conn.zscale import signed_z, z_of_f

DEPENDENT = 1e-10
"""A column of which the earlier ones leave a smaller share of the sum of squares depends on them."""

LEAST_LEFT = 1e-13
"""Share of the sum of squares below which a residual variance is rounding."""

LEAST_FREE = 1e-8
"""See `conn.sandwich.LEAST_FREE`."""

LEAST_DF = 0.5
"""Residual degrees of freedom that a variance group needs, as in `conn.glm.make_model`."""


@dataclass(frozen=True, eq=False)
class Layout:
    """A design with its columns in order: nuisance, the feature's own covariate, then the effect.

    Attributes
    ----------
    nuisance
        ndarray of shape (n, k).
    effect
        ndarray of shape (n, r), columns of length 1.
    scale
        ndarray of shape (r,): what a coefficient of `effect` is multiplied by to be the estimate.
    groups
        int ndarray of shape (n,): variance groups.
    n_groups
        Their number.
    signed
        Whether the statistic is t, which has a sign, or F.
    robust
        Whether each row has an error variance of its own, as in `conn.sandwich`; then there is one group.
    """

    nuisance: Floats
    effect: Floats
    scale: Floats
    groups: NDArray[np.int64]
    n_groups: int
    signed: bool
    robust: bool = False

    @property
    def rank(self) -> int | None:
        """First degrees of freedom of F; None for t."""
        return None if self.signed else self.effect.shape[1]


def layout(model: Model, robust: bool = False) -> Layout:
    """Columns of a model such that the estimate is the coefficient of the last ones.

    M beta = N a + M C'(CC')^-1 (C beta), with N a basis of the nuisance.
    """
    c = np.atleast_2d(model.contrast)
    effect = model.matrix @ np.linalg.solve(c @ c.T, c).T
    length = np.linalg.norm(effect, axis=0)
    signed = model.contrast.ndim == 1
    return Layout(model.nuisance, effect / length, 1 / length, model.groups, model.n_groups, signed, robust)


@dataclass(frozen=True, eq=False)
class GeneralTile(Tile):
    """`residuals` (n, width) of length 1, 0 where `there` is False; `own` (n, width) or (n, 0)."""

    residuals: Floats
    there: NDArray[np.bool_]
    own: Floats
    own_there: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class General(Job):
    """Any statistic of any features, on the scale z.

    Attributes
    ----------
    values
        ndarray of shape (n, n_features).
    covariate
        ndarray of the same shape, or None.
    design
        See `Layout`.
    """

    values: NDArray[Any]
    covariate: NDArray[Any] | None
    design: Layout

    @property
    def scale(self) -> Scale:
        """Degrees of freedom differ."""
        return "z"

    @property
    def by_table(self) -> bool:
        """See `Job.by_table`."""
        return True

    @property
    def bytes_per_feature(self) -> int:
        """Residuals and covariate in float64, and where they are."""
        return len(self.design.nuisance) * 34

    def tile(self, start: int) -> GeneralTile:
        """See `Job.tile`."""
        observed, e, there, b, own_there = self._prepared(start)
        columns = np.flatnonzero(observed.valid)
        spread = padded(columns, self.width)
        limit = self.lowered(observed.size("z")[spread])
        counts = np.zeros(observed.stat.size, dtype=np.int64)
        e, there = np.ascontiguousarray(e[:, spread]), np.ascontiguousarray(there[:, spread])
        if len(b):
            b, own_there = np.ascontiguousarray(b[:, spread]), np.ascontiguousarray(own_there[:, spread])
        return GeneralTile(observed, columns, limit, counts, e, there, b, own_there)

    def observed(self, start: int) -> Fit:
        """What is observed in the features of a tile."""
        return self._prepared(start)[0]

    def _prepared(self, start: int) -> tuple[Fit, Floats, NDArray[np.bool_], Floats, NDArray[np.bool_]]:
        """What is observed; residuals and where they are; the covariate and where it is."""
        which = self.features[start : start + TILE_FEATURES]
        y = np.asarray(self.values[:, which], dtype=np.float64)
        b = y[:0] if self.covariate is None else np.asarray(self.covariate[:, which], dtype=np.float64)
        b, own_there = _unit(b)
        e, there, length = _left_over(y, b, own_there, self.design.nuisance)
        return self._fit(e, there, b, own_there, length), e, there, b, own_there

    def turned(self, batch: slice) -> NDArray[Any]:
        """See `Job.turned`."""
        return np.ascontiguousarray(self.filled(batch), dtype=np.int64)

    def signed(self, tile: GeneralTile, turned: NDArray[Any]) -> NDArray[Any]:
        """See `Job.signed`."""
        stat, df = self._statistics(tile.residuals, tile.there, tile.own, tile.own_there, turned)[:2]
        df = np.where(df > 0, df, 1.0)  # what cannot be estimated counts as no effect
        if not self.design.signed:
            return z_of_f(stat.astype(self.dtype), self.design.effect.shape[1], df.astype(self.dtype))
        return signed_z(stat.astype(self.dtype), df.astype(self.dtype))

    def _fit(
        self, e: Floats, there: NDArray[np.bool_], b: Floats, own_there: NDArray[np.bool_], length: Floats
    ) -> Fit:
        """What was observed is the rearrangement that changes nothing."""
        n = len(e)
        same = np.ones((1, n), dtype=np.int64) if self.permutations.kind == "flips" else np.arange(n)[None]
        stat, df, effect, se, left = self._statistics(e, there, b, own_there, same)[:, 0]
        valid = (df > 0) & (length > 0) & (left > LEAST_LEFT)
        stat, df = np.where(valid, stat, np.nan), np.where(valid, df, np.nan)
        if not self.design.signed:
            return Fit.of_f(stat, df, self.design.effect.shape[1])
        unit = np.where(valid, length * self.design.scale[0], np.nan)
        return Fit(effect * unit, se * unit, stat, df, valid)

    def _statistics(
        self,
        e: Floats,
        there: NDArray[np.bool_],
        own: Floats,
        own_there: NDArray[np.bool_],
        table: NDArray[np.int64],
    ) -> Floats:
        d = self.design
        out = np.zeros((5, len(table), e.shape[1]))
        flips = self.permutations.kind == "flips"
        if own.size == 0 and not d.robust:
            self._by_products(e, there, table, flips, out)
            return out
        _regressions(
            e, there, own, own_there, d.nuisance, d.effect, d.groups, d.n_groups, table, flips, d.signed,
            d.robust, out,
        )  # fmt: skip
        return out

    def _by_products(
        self, e: Floats, there: NDArray[np.bool_], table: NDArray[np.int64], flips: bool, out: Floats
    ) -> None:
        """Without a covariate of the feature's own, all but the cross products are matrix products."""
        d = self.design
        columns = np.column_stack([d.nuisance, d.effect])
        inside = (d.groups == np.arange(d.n_groups)[:, None]).astype(np.float64)
        rows = (inside[:, None, :] * columns.T).reshape(-1, len(e))
        # Row `place[b, s]` of the design meets row s of the residuals.
        place = np.tile(np.arange(len(e)), (len(table), 1)) if flips else np.argsort(table, axis=1)
        turned = rows[:, None, :] * table if flips else rows[:, place]
        squares = inside[:, None, :] * np.square(table) if flips else inside[:, place]
        shape = (d.n_groups, -1, len(table), e.shape[1])
        right = (turned.reshape(-1, len(e)) @ e).reshape(shape)
        sums = (squares.reshape(-1, len(e)) @ np.square(e)).reshape(d.n_groups, *shape[2:])
        cross = np.einsum("gi,ia,ic->gac", inside, columns, columns)
        _regressed(there, columns, d.groups, place, cross, right, sums, d.effect.shape[1], d.signed, out)


def _unit(b: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """A covariate of length 1, 0 where it is missing, and where it is there."""
    there = np.isfinite(b)
    b = np.where(there, b, 0.0)
    length = np.linalg.norm(b, axis=0)
    return b / np.where(length > 0, length, 1.0), there


def _left_over(
    y: Floats, b: Floats, own_there: NDArray[np.bool_], nuisance: Floats
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Residuals of the nuisance in the rows that are there, of length 1; these rows; the length."""
    there = np.isfinite(y) & (own_there if len(b) else True)
    e = np.where(there, y, 0.0)
    size = np.linalg.norm(e, axis=0)
    for _ in range(2):  # a second pass takes out what rounding left
        _residuals(e, there, b, nuisance)
    length = np.linalg.norm(e, axis=0)
    length = np.where(length > 1e-12 * size, length, 0.0)
    return e / np.where(length > 0, length, 1.0), there, length


@compiled
def _residuals(e: Floats, there: NDArray[np.bool_], own: Floats, nuisance: Floats) -> None:
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
def _regressions(
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
                _freedom(cross, lower, rows, free)
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
                _by_group(cross, right, sums, rows, free, lower, solved, heavy, r, is_t, out[:, b, j])


@compiled
def _freedom(cross: Floats, lower: Floats, rows: Floats, free: Floats) -> None:
    """Sum of the diagonal of the residual-forming matrix over each variance group."""
    p = lower.shape[0]
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


@compiled
def _pooled(lower: Floats, solved: Floats, total: float, df: float, r: int, is_t: bool, out: Floats) -> None:
    """Statistic with one variance; see `_regressions` for `out`."""
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
    """HC3 instead of one variance: leverage and weight of each row from the factor; see `_regressions`."""
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
def _regressed(
    there: NDArray[np.bool_],
    columns: Floats,
    groups: NDArray[np.int64],
    place: NDArray[np.int64],
    whole: Floats,
    right: Floats,
    sums: Floats,
    r: int,
    is_t: bool,
    out: Floats,
) -> None:
    """As `_regressions`, from products that are there; missing rows are taken off the cross products.

    `right` has shape (n_groups, p, n_rearrangements, width), `sums` lacks the columns, `whole` the rest.
    """
    n_groups, p, width = whole.shape[0], whole.shape[1], there.shape[1]
    gone, count = _gaps(there)
    sizes = np.zeros(n_groups)
    for g in groups:
        sizes[g] += 1.0
    cross, own = np.empty_like(whole), np.empty((n_groups, p))
    rows, squares, free = np.empty(n_groups), np.empty(n_groups), np.zeros(n_groups)
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
            _freedom(cross, lower, rows, free)
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
                _by_group(cross, own, squares, rows, free, lower, solved, heavy, r, is_t, out[:, b, j])


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
    lower: Floats,
    beta: Floats,
    heavy: Floats,
    r: int,
    is_t: bool,
    out: Floats,
) -> None:
    """Aspin-Welch v, or G, with a variance for each group; see `_regressions` for `out`."""
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
    spread = np.square(1 - weights * rows / (weights * rows).sum())
    spread = (spread / free).sum()
    out[1], out[4] = r * (r + 2) / (3 * spread), left
    if is_t:
        out[0], out[2], out[3] = beta[p - 1] * heavy[p - 1, p - 1], beta[p - 1], 1 / heavy[p - 1, p - 1]
        return
    for a in range(p - r, p):
        value = 0.0
        for c in range(a, p):
            value += heavy[c, a] * beta[c]
        out[0] += value * value
    out[0] /= r * (1 + 2 * (r - 1) / (r * (r + 2)) * spread)


def general(
    values: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
    covariate: NDArray[Any] | None = None,
    robust: bool = False,
) -> General:
    """A job of features whose designs differ.

    Parameters
    ----------
    values
        ndarray of shape (n, n_features); what is not finite is missing.
    model
        The design of all rows. A rearrangement moves residuals with their gaps over all n rows; rows that
        receive a gap, or whose covariate is missing, are left out, and the rest is fitted anew. Where the
        effect can then not be estimated, it counts as none.
    permutations
        Of n rows.
    features
        Which features.
    dtype
        Of rearranged statistics.
    covariate
        ndarray of shape (n, n_features), or None.
    robust
        See `Layout`.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (G, with Welch's correction; v for rank 1).
    """
    return General(permutations, dtype, features, values, covariate, layout(model, robust))
