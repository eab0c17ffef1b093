"""Statistics with a covariate of each feature's own, such as the baseline of the same voxel or edge.

With b the covariate after the other nuisance, of length 1, and u what the effect adds to that nuisance, the
model of a feature differs from the shared one only by r = u'b. A rearranged statistic then needs the products
of the shared design and one more, b'Pe, which is a sum over rows and no matrix product for labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.glm import Fit, Floats, Kernel, Model, magnitude, make_kernel, residuals
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Scale, Tile, padded
from conn.zscale import signed_z

LEFT = 1e-8
"""Share of the sum of squares of a covariate (or the effect) below which the others leave nothing of it."""


@dataclass(frozen=True, eq=False)
class AdjustedTile(Tile):
    """`residuals` and `own` (the covariate), both (n, width) of length 1; `overlap` (r, width) is u'b."""

    residuals: NDArray[Any]
    own: NDArray[Any]
    overlap: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Turned:
    """Rows of the kernel rearranged by a batch, and the batch itself."""

    rows: NDArray[Any]
    table: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Adjusted(Job):
    """Pooled t or F of features with a value in every row, adjusted for a covariate of their own.

    Attributes
    ----------
    values, covariate
        ndarrays of shape (n, n_features).
    kernel
        The design without the covariate.
    as_z
        Give z although all degrees of freedom are equal.
    """

    values: NDArray[Any]
    covariate: NDArray[Any]
    kernel: Kernel
    as_z: bool = False

    @property
    def model(self) -> Model:
        """The design without the covariate."""
        return self.kernel.model

    @property
    def df(self) -> float:
        """Residual degrees of freedom, the covariate taken off."""
        return self.model.df - 1

    @property
    def scale(self) -> Scale:
        """All features have equal degrees of freedom."""
        if self.as_z:
            return "z"
        return "t" if self.model.contrast.ndim == 1 else "F"

    @property
    def by_table(self) -> bool:
        """See `Job.by_table`."""
        return self.as_z

    @property
    def bytes_per_feature(self) -> int:
        """Residuals and covariate, in float64 while they are made."""
        return len(self.model.matrix) * (16 + 2 * np.dtype(self.dtype).itemsize)

    def tile(self, start: int) -> AdjustedTile:
        """See `Job.tile`."""
        which = self.features[start : start + TILE_FEATURES]
        y, b = (np.asarray(x[:, which], dtype=np.float64) for x in (self.values, self.covariate))
        observed, e, own, overlap = fit_adjusted(y, b, self.model)
        there = padded(np.flatnonzero(observed.valid), self.width)
        rest, own, overlap = (x[:, there].astype(self.dtype, order="C") for x in (e, own, overlap))
        limit = self.lowered(observed.size(self.scale)[there])
        counts = np.zeros(which.size, dtype=np.int64)
        return AdjustedTile(observed, np.flatnonzero(observed.valid), limit, counts, rest, own, overlap)

    def turned(self, batch: slice) -> Turned:
        """See `Job.turned`."""
        return Turned(self.rearranged(self.kernel.rows, batch), self.filled(batch))

    def signed(self, tile: AdjustedTile, turned: Turned) -> NDArray[Any]:
        """See `Job.signed`."""
        shape = (-1, TILE_PERMUTATIONS, self.width)
        products = (turned.rows @ tile.residuals).reshape(shape)
        size = np.empty(shape[1:], dtype=self.dtype)
        df, floor = float(self.df / self.model.rank), float(self.floor)
        _statistics(products, self._along(tile, turned), tile.overlap, df, floor, size)
        return self._on_scale(size)

    def _on_scale(self, size: NDArray[Any]) -> NDArray[Any]:
        plain = self.model.contrast.ndim == 1
        if not self.as_z:
            return size if plain else np.abs(size)
        df = np.full_like(size, self.df)
        if plain:
            return signed_z(size, df)
        squared = np.square(size)
        z = magnitude(squared.astype(np.float64), df.astype(np.float64), self.model.rank, "z")
        return z.astype(self.dtype)

    def _along(self, tile: AdjustedTile, turned: Turned) -> NDArray[Any]:
        """The product b'Pe for each rearrangement and feature."""
        if self.permutations.kind == "flips":
            return np.asarray(turned.table.astype(self.dtype) @ (tile.own * tile.residuals))
        out = np.empty((TILE_PERMUTATIONS, self.width), dtype=self.dtype)
        sums_of_products(tile.own, tile.residuals, turned.table, out)
        return out


@compiled
def _statistics(
    products: NDArray[Any],
    along: NDArray[Any],
    overlap: NDArray[Any],
    df: float,
    floor: float,
    out: NDArray[Any],
) -> None:
    """Root of F, with the sign of the first product, for each rearrangement and feature.

    The effect's directions after the covariate, u - b r', have the cross products I - r r', whose inverse is
    I + r r' / (1 - r'r).
    """
    free = np.ones_like(overlap[0])
    for k in range(overlap.shape[0]):
        free -= overlap[k] * overlap[k]
    for b in range(along.shape[0]):
        squares, mixed, left = np.zeros_like(free), np.zeros_like(free), np.ones_like(free)
        for k in range(overlap.shape[0]):
            _add_effect(products[k, b], overlap[k], along[b], squares, mixed)
        for k in range(overlap.shape[0], products.shape[0]):
            add_product(left, -products[k, b], products[k, b])
        _finish(products[0, b], overlap[0], along[b], squares, mixed, left, free, df, floor, out[b])


@compiled
def _add_effect(
    product: NDArray[Any],
    overlap: NDArray[Any],
    along: NDArray[Any],
    squares: NDArray[Any],
    mixed: NDArray[Any],
) -> None:
    for j in range(along.size):
        own = product[j] - overlap[j] * along[j]
        squares[j] += own * own
        mixed[j] += own * overlap[j]


@compiled
def _finish(
    product: NDArray[Any],
    overlap: NDArray[Any],
    along: NDArray[Any],
    squares: NDArray[Any],
    mixed: NDArray[Any],
    left: NDArray[Any],
    free: NDArray[Any],
    df: float,
    floor: float,
    out: NDArray[Any],
) -> None:
    for j in range(along.size):
        explained = squares[j] + mixed[j] * mixed[j] / free[j]
        rest = max(left[j] - along[j] * along[j] - explained, floor)
        out[j] = np.copysign(np.sqrt(explained * df / rest), product[j] - overlap[j] * along[j])


def fit_adjusted(y: Floats, b: Floats, model: Model) -> tuple[Fit, Floats, Floats, Floats]:
    """Fit features with a covariate of their own.

    Parameters
    ----------
    y, b
        ndarrays of shape (n, width): data and covariate.
    model
        The design without the covariate.

    Returns
    -------
    observed : Fit
        With one variance for all rows.
    residuals, own : ndarrays of shape (n, width)
        Of nuisance and covariate; and the covariate after the nuisance. Both of length 1.
    overlap : ndarray of shape (r, width)
        Products of the effect's directions with `own`.
    """
    valid = np.isfinite(y).all(axis=0) & np.isfinite(b).all(axis=0)
    y, b = np.where(valid, y, 0.0), np.where(valid, b, 0.0)
    own = residuals(b, model.nuisance)
    valid &= np.square(own).sum(axis=0) > LEFT**2 * np.square(b).sum(axis=0)
    own = own / np.where(valid, np.linalg.norm(own, axis=0), 1.0)
    e = residuals(y, model.nuisance)
    e = e - own * (own * e).sum(axis=0)
    e = e - own * (own * e).sum(axis=0)
    overlap = model.effect.T @ own
    free = 1 - np.square(overlap).sum(axis=0)
    valid &= free > LEFT
    observed = _observed(y, e, overlap, np.where(valid, free, np.nan), valid, model)
    length = np.linalg.norm(e, axis=0)
    return observed, e / np.where(observed.valid, length, 1.0), own, overlap


def _observed(
    y: Floats, e: Floats, overlap: Floats, free: Floats, valid: NDArray[np.bool_], model: Model
) -> Fit:
    products = model.effect.T @ e
    explained = np.square(products).sum(axis=0) + np.square((products * overlap).sum(axis=0)) / free
    left = np.square(e).sum(axis=0) - explained
    valid = valid & (left > 1e-24 * np.square(y).sum(axis=0))
    df = model.df - 1
    left, explained = np.where(valid, left, np.nan), np.where(valid, explained, np.nan)
    degrees = np.where(valid, df, np.nan)
    if model.contrast.ndim == 2:
        return Fit.of_f(explained / model.rank / (left / df), degrees, model.rank)
    length = np.linalg.norm(model.weights)
    effect, se = length * products[0] / free, length * np.sqrt(left / df / free)
    return Fit(np.where(valid, effect, np.nan), se, effect / se, degrees, valid)


@compiled
def sums_of_products(own: NDArray[Any], e: NDArray[Any], order: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Sum over rows of own[i] * e[order[i]], for every order and feature.

    Parameters
    ----------
    own, e
        ndarrays of shapes (n_own, width) and (n, width).
    order
        ndarray of shape (n_orders, n_own): which row of `e` meets each row of `own`.
    out
        ndarray of shape (n_orders, width), overwritten.
    """
    for b in range(order.shape[0]):
        out[b] = 0
        for i in range(own.shape[0]):
            add_product(out[b], own[i], e[order[b, i]])


@compiled
def add_product(total: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> None:
    """Add the product of two vectors to a third. By itself, so that the compiler sees a plain loop."""
    for j in range(total.size):
        total[j] += first[j] * second[j]


def adjusted(
    values: NDArray[Any],
    covariate: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
    as_z: bool = False,
) -> Adjusted:
    """A job of features with a covariate of their own.

    Parameters
    ----------
    values, covariate
        ndarrays of shape (n, n_features).
    model
        The design without the covariate.
    permutations
        Of n rows.
    features
        Which features.
    dtype
        Of rearranged statistics.
    as_z
        See `Adjusted`.

    References
    ----------
    Freedman and Lane 1983, 10.2307/1391660; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (regressors
    that differ between voxels).
    """
    kernel = make_kernel(model, permutations.kind)
    return Adjusted(permutations, dtype, features, values, covariate, kernel, as_z)
