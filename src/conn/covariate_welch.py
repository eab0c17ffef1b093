"""Aspin-Welch v of two variance groups, with a covariate of each feature's own.

All of a rearranged statistic follows from few numbers. With V an orthonormal basis of the whole design of a
feature (shared nuisance, its covariate b, the effect x after them), w = V'Pe, and in the first group
c = V_1'V_1, u = V_1'Pe_1: the residual sum of squares there is |Pe_1|² - 2 w'u + w'cw, and that of the second
group follows from the total 1 - w'w. The shared part of V is turned so that its part of c is diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.covariate import fit_adjusted, sums_of_products
from conn.general import General, general
from conn.glm import Floats, Model, make_kernel
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Scale, Tile, padded
from conn.zscale import signed_z


@dataclass(frozen=True, eq=False)
class UnequalTile(Tile):
    """`residuals` (n, width) of length 1 with their squares; the rest is of each feature.

    `first`, `second` (rows of a group, width): the covariate b in each group. `overlap` (width,): of effect
    and b. `with_own`, `with_effect` (k, width): c of the shared nuisance with b and x. `corner` (3, width): c
    of b with b, b with x, x with x. `shares`, `terms` (q, width): the variance of the estimate is
    ``sum(terms / (shares / s_1 + (1 - shares) / s_2))``. `group_df` (2, width). `loads` (2, width): see
    `conn.freedom.group_loads`.
    """

    residuals: NDArray[Any]
    squares: NDArray[Any]
    first: NDArray[Any]
    second: NDArray[Any]
    overlap: NDArray[Any]
    with_own: NDArray[Any]
    with_effect: NDArray[Any]
    corner: NDArray[Any]
    shares: NDArray[Any]
    terms: NDArray[Any]
    group_df: NDArray[Any]
    loads: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Turned:
    """Rows and the indicator of the first group, rearranged by a batch, and the batch itself."""

    rows: NDArray[Any]
    inside: NDArray[Any]
    table: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Unequal(Job):
    """v of features with a value in every row, on the scale z.

    Attributes
    ----------
    values, covariate
        ndarrays of shape (n, n_features).
    model
        The design without the covariate, with two variance groups.
    basis
        ndarray of shape (n, k): orthonormal, of the nuisance that rearranged residuals can have; diagonal in
        the first group.
    in_first
        ndarray of shape (k,): that diagonal.
    slow
        The general way, for what is observed.
    """

    values: NDArray[Any]
    covariate: NDArray[Any]
    model: Model
    basis: Floats
    in_first: Floats
    slow: General

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
        """Residuals and covariate, in float64 while they are made."""
        return len(self.model.matrix) * (24 + 3 * np.dtype(self.dtype).itemsize)

    @property
    def first(self) -> NDArray[np.bool_]:
        """Rows of the first group."""
        return np.asarray(self.model.groups == 0)

    def tile(self, start: int) -> UnequalTile:
        """See `Job.tile`."""
        which = self.features[start : start + TILE_FEATURES]
        y, b = (np.asarray(x[:, which], dtype=np.float64) for x in (self.values, self.covariate))
        plain, e, own, overlap = fit_adjusted(y, b, self.model)
        observed = self.slow.observed(start).only(plain.valid)
        columns = np.flatnonzero(observed.valid)
        there = padded(columns, self.width)
        e, own, overlap = e[:, there], own[:, there], overlap[0, there]
        free = np.sqrt(1 - np.square(overlap))
        effect = (self.model.effect - overlap * own) / free
        parts = self._first_group(own, effect)
        e, own, overlap, *parts = (
            np.asarray(x, dtype=self.dtype, order="C") for x in (e, own, overlap, *parts)
        )
        return UnequalTile(
            observed,
            columns,
            self.lowered(observed.size("z")[there]),
            np.zeros(which.size, dtype=np.int64),
            e,
            np.square(e),
            own[self.first],
            own[~self.first],
            overlap,
            *parts,
        )

    def _first_group(self, own: Floats, effect: Floats) -> list[Floats]:
        """What c, its eigenvalues and the degrees of freedom of the groups are, see `UnequalTile`."""
        b, x, basis = own[self.first], effect[self.first], self.basis[self.first]
        corner = np.stack([(b * b).sum(axis=0), (b * x).sum(axis=0), (x * x).sum(axis=0)])
        shared = self.model.nuisance[self.first]
        k, width = shared.shape[1], own.shape[1]
        c = np.empty((width, k + 2, k + 2))
        c[:, :k, :k] = shared.T @ shared
        c[:, :k, k] = c[:, k, :k] = (shared.T @ b).T
        c[:, :k, k + 1] = c[:, k + 1, :k] = (shared.T @ x).T
        c[:, k, k], c[:, k, k + 1], c[:, k + 1, k + 1] = corner
        c[:, k + 1, k] = c[:, k, k + 1]
        shares, vectors = np.linalg.eigh(c)
        used = np.trace(c, axis1=1, axis2=2)
        group_df = self.model.group_rows[:, None] - np.stack([used, k + 2 - used])
        terms = np.square(vectors[:, k + 1, :]).T
        loads = np.stack([corner[2], 1 - corner[2]])
        if self.model.compares:
            loads[:] = self.model.loads[:, 0]
        return [basis.T @ b, basis.T @ x, corner, np.clip(shares, 0, 1).T, terms, group_df, loads]

    def turned(self, batch: slice) -> Turned:
        """See `Job.turned`."""
        rows = np.vstack([self.basis.T, self.model.effect.T])
        both = np.vstack([rows, rows * self.first])
        inside = self.rearranged(self.first[None, :].astype(np.float64), batch, squares=True)
        return Turned(self.rearranged(both, batch), inside, self.filled(batch))

    def signed(self, tile: UnequalTile, turned: Turned) -> NDArray[Any]:
        """See `Job.signed`."""
        products = (turned.rows @ tile.residuals).reshape(-1, TILE_PERMUTATIONS, self.width)
        squares = turned.inside @ tile.squares
        along = [self._along(tile, turned, g) for g in range(2)]
        v, df = np.empty_like(squares), np.empty_like(squares)
        in_first = self.in_first.astype(self.dtype)
        _aspin_welch(
            products, squares, along[0], along[1], in_first, tile.overlap, tile.with_own, tile.with_effect,
            tile.corner, tile.shares, tile.terms, tile.group_df, tile.loads, float(self.floor), v, df,
        )  # fmt: skip
        return signed_z(v, df)

    def _along(self, tile: UnequalTile, turned: Turned, group: int) -> NDArray[Any]:
        """The product b'Pe over the rows of a group, for each rearrangement and feature."""
        rows = np.flatnonzero(self.model.groups == group)
        own = (tile.first, tile.second)[group]
        if self.permutations.kind == "flips":
            return np.asarray(turned.table[:, rows].astype(self.dtype) @ (own * tile.residuals[rows]))
        out = np.empty((TILE_PERMUTATIONS, self.width), dtype=self.dtype)
        sums_of_products(own, tile.residuals, np.ascontiguousarray(turned.table[:, rows]), out)
        return out


@compiled
def _aspin_welch(
    products: NDArray[Any],
    squares: NDArray[Any],
    along_first: NDArray[Any],
    along_second: NDArray[Any],
    in_first: NDArray[Any],
    overlap: NDArray[Any],
    with_own: NDArray[Any],
    with_effect: NDArray[Any],
    corner: NDArray[Any],
    shares: NDArray[Any],
    terms: NDArray[Any],
    group_df: NDArray[Any],
    loads: NDArray[Any],
    floor: float,
    v: NDArray[Any],
    df: NDArray[Any],
) -> None:
    """Statistic and degrees of freedom for each rearrangement and feature; see the top of the module."""
    k = in_first.size
    free = np.sqrt(1 - overlap * overlap)
    for b in range(squares.shape[0]):
        along = along_first[b] + along_second[b]
        effect = (products[k, b] - overlap * along) / free
        effect_first = (products[2 * k + 1, b] - overlap * along_first[b]) / free
        taken = 2 * (along * along_first[b] + effect * effect_first)
        taken -= corner[0] * along * along + 2 * corner[1] * along * effect + corner[2] * effect * effect
        total = along * along + effect * effect
        for m in range(k):
            _add_shared(
                products[m, b], products[k + 1 + m, b], in_first[m], along, effect,
                with_own[m], with_effect[m], taken, total,
            )  # fmt: skip
        s_1 = np.maximum(squares[b] - taken, floor) / group_df[0]
        s_2 = np.maximum(1 - squares[b] - total + taken, floor) / group_df[1]
        variance = np.zeros_like(s_1)
        for m in range(shares.shape[0]):
            _add_variance(shares[m], terms[m], s_1, s_2, variance)
        v[b] = effect / np.sqrt(variance)
        first, second = s_1 * loads[0], s_2 * loads[1]
        df[b] = (first + second) ** 2 / (first * first / group_df[0] + second * second / group_df[1])


@compiled
def _add_shared(
    product: NDArray[Any],
    product_first: NDArray[Any],
    share: float,
    along: NDArray[Any],
    effect: NDArray[Any],
    with_own: NDArray[Any],
    with_effect: NDArray[Any],
    taken: NDArray[Any],
    total: NDArray[Any],
) -> None:
    """What one shared direction takes from the sum of squares of the first group, and in total."""
    for j in range(product.size):
        w = product[j]
        mixed = with_own[j] * along[j] + with_effect[j] * effect[j]
        taken[j] += w * (2 * product_first[j] - share * w - 2 * mixed)
        total[j] += w * w


@compiled
def _add_variance(
    share: NDArray[Any], term: NDArray[Any], s_1: NDArray[Any], s_2: NDArray[Any], variance: NDArray[Any]
) -> None:
    for j in range(share.size):
        variance[j] += term[j] * s_1[j] * s_2[j] / (share[j] * s_2[j] + (1 - share[j]) * s_1[j])


def unequal(
    values: NDArray[Any],
    covariate: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
) -> Unequal:
    """A job of features with a covariate of their own and two variance groups.

    Parameters
    ----------
    values, covariate
        ndarrays of shape (n, n_features).
    model
        The design without the covariate, with two variance groups and a contrast of one row.
    permutations
        Of n rows.
    features
        Which features.
    dtype
        Of rearranged statistics.

    References
    ----------
    Welch 1951, 10.1093/biomet/38.3-4.330; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060.
    """
    pooled = make_kernel(model.pooled(), permutations.kind)
    basis = pooled.rows[1:].T
    in_first, turn = np.linalg.eigh(basis[model.groups == 0].T @ basis[model.groups == 0])
    slow = general(values, model, permutations, features, dtype, covariate)
    return Unequal(permutations, dtype, features, values, covariate, model, basis @ turn, in_first, slow)
