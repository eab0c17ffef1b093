"""Statistics of features that share one design: every rearrangement is a matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn import shares
from conn.glm import Floats, Kernel, Model, fit, magnitude, make_kernel, residuals, t_to_z, variance_and_df
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Scale, Tile, counted, padded
from conn.zscale import signed_z, squared_to_z


@dataclass(frozen=True, eq=False)
class SharedTile(Tile):
    """`residuals` (n, width) of the nuisance model have length 1, `squares` are their squares.

    With one variance they are coordinates in the space that the nuisance leaves, of which there are fewer.
    """

    residuals: NDArray[Any]
    squares: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Stack:
    """Tiles of pooled statistics as one array each.

    `residuals` has shape (n_tiles, d, width), `limit` (n_tiles, width): shares of the variance that the
    nuisance leaves.
    """

    tiles: list[SharedTile]
    residuals: NDArray[Any]
    limit: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Turned:
    """Rows of the kernel and its indicators, rearranged by a batch; `space` takes their products."""

    rows: NDArray[Any]
    inside: NDArray[Any]
    space: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Shared(Job):
    """Pooled t or F, or Aspin-Welch v, of features that have a value in every row.

    Attributes
    ----------
    values
        ndarray of shape (n, n_features) or a memory map of it.
    kernel
        The design.
    as_z
        Give z also where all degrees of freedom are equal, because other jobs of the test do.
    """

    values: NDArray[Any]
    kernel: Kernel
    as_z: bool = False

    @property
    def model(self) -> Model:
        """The design."""
        return self.kernel.model

    @property
    def pooled(self) -> bool:
        """Whether all rows share a variance."""
        return self.model.n_groups == 1

    @cached_property
    def coordinates(self) -> Floats:
        """Orthonormal basis of what the nuisance leaves, of shape (n, n - rank of the nuisance)."""
        n, q = self.model.nuisance.shape
        return np.linalg.qr(np.hstack([self.model.nuisance, np.eye(n)]))[0][:, q:n]

    @property
    def scale(self) -> Scale:
        """``z`` when degrees of freedom differ between features."""
        if self.as_z or not self.pooled:
            return "z"
        return "t" if self.model.contrast.ndim == 1 else "F"

    @property
    def bytes_per_feature(self) -> int:
        """Residuals, in float64 while they are made; later twice, by themselves and in their stack."""
        return len(self.model.matrix) * (8 + 2 * np.dtype(self.dtype).itemsize)

    @property
    def at_once(self) -> int:
        """See `Job.at_once`."""
        return 8 if self.pooled else 1

    @property
    def slack(self) -> float:
        """Relative rounding that Wallace's bounds are widened by."""
        return 1e-12 if self.dtype is np.float64 else 1e-5

    def tile(self, start: int) -> SharedTile:
        """See `Job.tile`."""
        data = np.asarray(self.values[:, self.features[start : start + TILE_FEATURES]], dtype=np.float64)
        observed = fit(data, self.model)
        columns = np.flatnonzero(observed.valid)
        there = padded(columns, self.width)
        left = data[:, there]
        e = self.coordinates.T @ left if self.pooled else residuals(left, self.model.nuisance)
        e = (e / np.linalg.norm(e, axis=0)).astype(self.dtype)
        squares = e[:0] if self.pooled else np.square(e)
        limit = self.lowered(observed.size(self.limit_scale)[there])
        return SharedTile(observed, columns, limit, np.zeros(data.shape[1], dtype=np.int64), e, squares)

    @property
    def limit_scale(self) -> Scale:
        """The scale on which rearrangements are judged: with one variance z is not needed for it."""
        if not self.pooled:
            return "z"
        return "t" if self.model.contrast.ndim == 1 else "F"

    def turned(self, batch: slice) -> Turned:
        """See `Job.turned`."""
        rows = self.rearranged(self.kernel.rows, batch)
        if self.pooled:
            rows = (rows @ self.coordinates).astype(self.dtype)
        inside = self.rearranged(self.kernel.indicators, batch, squares=True)
        n_rows = len(rows) if self.pooled else len(rows) + len(inside)
        return Turned(rows, inside, np.empty((n_rows, self.width), dtype=self.dtype))

    def judged(self, tile: SharedTile, turned: Turned, maxima: Floats) -> tuple[NDArray[np.int32], Floats]:
        """See `Job.judged`: Aspin-Welch v in fewer steps than by way of every statistic."""
        products, sums = self._products(tile, turned)
        return self._welch(tile, np.square(products, out=products), sums, maxima)

    def together(self, tiles: Sequence[SharedTile]) -> Any:
        """See `Job.together`."""
        some = [tile for tile in tiles if tile.columns.size]
        if not self.pooled or not some:
            return some
        squared = np.square([tile.limit for tile in some])
        limit = squared / (self.model.df / self.model.rank + squared)
        return Stack(some, np.stack([tile.residuals for tile in some]), limit.astype(self.dtype))

    def sweep(self, tiles: Any, turned: Sequence[Turned], maxima: Sequence[Floats]) -> None:
        """See `Job.sweep`; pooled statistics by the share of the variance that the effect explains."""
        if not isinstance(tiles, Stack):
            super().sweep(tiles, turned, maxima)
            return
        rows = np.stack([one.rows for one in turned])
        used = np.array([one.size for one in maxima])
        best = np.zeros((len(turned), TILE_PERMUTATIONS), dtype=self.dtype)
        space = turned[0].space.reshape(-1, TILE_PERMUTATIONS, self.width)
        counts = np.zeros(tiles.limit.shape, dtype=np.int32)
        given = (self.model.rank, tiles.limit, self.dtype(self.floor), space, used)
        shares.sweep(rows, tiles.residuals, *given, counts, best)
        for tile, own in zip(tiles.tiles, counts, strict=True):
            tile.counts[tile.columns] += own[: tile.columns.size]
        top = np.minimum(best.astype(np.float64), 1 - self.floor)
        size = np.sqrt(self.model.df / self.model.rank * top / (1 - top))
        size = self._to_z(size) if self.as_z else size
        for largest, own in zip(maxima, size, strict=True):
            np.maximum(largest, own[: largest.size], out=largest)

    def _products(self, tile: SharedTile, turned: Turned) -> tuple[NDArray[Any], NDArray[Any]]:
        """Products with the rows of the kernel, and sums of squares within variance groups."""
        shape = (-1, TILE_PERMUTATIONS, self.width)
        n_rows = len(turned.rows)
        products = np.matmul(turned.rows, tile.residuals, out=turned.space[:n_rows]).reshape(shape)
        if self.pooled:
            return products, products[:0]
        sums = np.matmul(turned.inside, tile.squares, out=turned.space[n_rows:]).reshape(shape)
        return products, sums

    def _to_z(self, size: Floats) -> Floats:
        """From t or root of F, when it is asked for though all degrees of freedom are equal."""
        df = np.full_like(size, self.model.df)
        if self.model.contrast.ndim == 1:
            return magnitude(size, df, None, "z")
        return magnitude(np.square(size), df, self.model.rank, "z")

    def _share(self, squared: NDArray[Any]) -> tuple[NDArray[Any], Any]:
        """Sum of squares of the effect, and what the nuisance leaves; overwrites `squared`."""
        rank = self.model.rank
        share = squared[0]
        for other in squared[1:rank]:
            share += other
        if len(squared) == rank:
            return share, self.dtype(1)
        left = np.subtract(self.dtype(1), squared[rank], out=squared[rank])
        for other in squared[rank + 1 :]:
            left -= other
        return share, np.maximum(left, self.dtype(self.floor), out=left)

    def signed(self, tile: SharedTile, turned: Turned) -> NDArray[Any]:
        """See `Job.signed`."""
        products, sums = self._products(tile, turned)
        # The first product has the sign, and is the root of the share that t stands for.
        first = products[0].copy() if self.model.contrast.ndim == 1 else None
        np.square(products, out=products)
        if not self.pooled:
            z = squared_to_z(*self._squared_v(products, sums))
            return z if first is None else np.copysign(z, first, out=z)
        size = self._size(products, first)
        if not self.as_z:
            return size
        if self.model.contrast.ndim == 1:
            return signed_z(size, np.full_like(size, self.model.df))
        return self._to_z(size.astype(np.float64)).astype(self.dtype)

    def _size(self, squared: NDArray[Any], first: NDArray[Any] | None) -> NDArray[Any]:
        """Root of F, or t by its signed product; overwrites what it is given."""
        share, left = self._share(squared)
        df, floor = self.dtype(self.model.df / self.model.rank), self.dtype(self.floor)
        if first is None:
            return np.asarray(np.sqrt(share * df / np.maximum(left - share, floor)))
        rest = np.subtract(left, share, out=share)
        np.maximum(rest, floor, out=rest)
        np.divide(df, rest, out=rest)
        first *= np.sqrt(rest, out=rest)
        return first

    def _squared_v(self, squared: NDArray[Any], sums: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Squares of the Aspin-Welch v and their degrees of freedom; overwrites what it is given."""
        forms = squared[1:].reshape(len(squared) - 1, -1)
        sums += (self.kernel.coefficients.astype(self.dtype) @ forms).reshape(-1, *sums.shape[1:])
        np.maximum(sums, self.dtype(self.floor), out=sums)
        variance, df = variance_and_df(self.model, sums)
        v2 = squared[0]
        v2 *= self.dtype(self.model.weights @ self.model.weights)
        v2 /= variance
        return v2, df

    def _welch(
        self, tile: SharedTile, squared: NDArray[Any], sums: NDArray[Any], maxima: Floats
    ) -> tuple[NDArray[np.int32], Floats]:
        """Aspin-Welch v to z. Wallace's bounds decide nearly all elements, the exact transform the others.

        With u^2 = df * log(1 + v^2 / df): u^2 * (1 - 1 / (2 df)) <= z^2 <= u^2 (Wallace 1959,
        10.1214/aoms/1177706092).
        """
        v2, df = self._squared_v(squared, sums)
        upper = np.log1p(v2 / df)
        upper *= df
        lower = upper * (1 - self.dtype(0.5) / df)
        counts = counted(self._reached(tile, v2, df, upper, lower)[: maxima.size])
        return counts, self._largest(v2, df, upper, lower, maxima)

    def _reached(
        self, tile: Tile, v2: NDArray[Any], df: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Whether each rearranged |z| is as large as the observed one."""
        limit = np.square(tile.limit)
        sure = lower >= (limit * (1 + self.slack)).astype(self.dtype)
        maybe = upper >= (limit * (1 - self.slack)).astype(self.dtype)
        maybe &= ~sure
        where = np.flatnonzero(maybe)
        exact = _exact_z(v2.reshape(-1)[where], df.reshape(-1)[where])
        sure.reshape(-1)[where] = exact >= tile.limit[where % tile.limit.size]
        return sure

    def _largest(
        self, v2: NDArray[Any], df: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any], maxima: Floats
    ) -> Floats:
        """Largest |z| of each rearrangement; elements that cannot beat what is known are not transformed."""
        known = lower.max(axis=1).astype(np.float64)
        known[: maxima.size] = np.maximum(known[: maxima.size], np.square(maxima))
        worth = upper >= (known * (1 - self.slack)).astype(self.dtype)[:, None]
        where = np.flatnonzero(worth)
        best = np.zeros(TILE_PERMUTATIONS)
        exact = _exact_z(v2.reshape(-1)[where], df.reshape(-1)[where])
        np.maximum.at(best, where // worth.shape[1], exact)
        return best[: maxima.size]


def _exact_z(v2: NDArray[Any], df: NDArray[Any]) -> Floats:
    return t_to_z(np.sqrt(v2.astype(np.float64)), df.astype(np.float64))


def shared(
    values: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
    as_z: bool = False,
) -> Shared:
    """A job of features that share one design.

    Parameters
    ----------
    values
        ndarray of shape (n, n_features).
    model
        The design.
    permutations
        Of n rows.
    features
        Which features.
    dtype
        Of rearranged statistics.
    as_z
        See `Shared`.
    """
    return Shared(permutations, dtype, features, values, make_kernel(model, permutations.kind), as_z)
