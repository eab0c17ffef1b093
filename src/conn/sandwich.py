"""An error variance of each row's own: a slope over its heteroscedasticity-consistent standard error (HC3).

The variance of an estimate ``w'y`` is ``sum(w_i² u_i² / (1 - h_i)²)`` with residuals u and leverages h. In an
orthonormal basis of the design in which the weighted cross products are diagonal, u need not be made: a
rearrangement costs two inner products for each column and one sum of squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.errors import DesignError
from conn.glm import Fit, Floats, Model, residuals
from conn.permutation import Exchange, PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Scale, Tile, padded
from conn.zscale import signed_z

LEAST_FREE = 1e-8
"""Share of a row's variance that the design must leave, where the row has a weight in the estimate."""


@dataclass(frozen=True, eq=False)
class Sandwich:
    """What gives an estimate and its variance, for data whose nuisance was taken out.

    Attributes
    ----------
    model
        The design, with a contrast of one row.
    weights
        ndarray of shape (n,): squared weights of the residuals, ``(w / (1 - h))²`` with w of length 1.
    basis
        ndarray of shape (n, k): orthonormal, of what data can have along the design.
    slopes
        ndarray of shape (k,): the variance is ``weights @ y² + slopes @ z² - 2 z·m``, with ``z = basis'y``
        and ``m = (weights * basis)'y``.
    """

    model: Model
    weights: Floats
    basis: Floats
    slopes: Floats

    @property
    def rows(self) -> Floats:
        """Inner products that are taken: the estimate, z and m; shape (1 + 2k, n)."""
        return np.vstack([self.model.effect.T, self.basis.T, (self.weights[:, None] * self.basis).T])

    def statistic(self, products: NDArray[Any], sums: NDArray[Any], floor: float) -> NDArray[Any]:
        """Robust t from products with `rows` and weighted sums of squares; the estimate over its error."""
        k = self.slopes.size
        along, mixed = products[1 : 1 + k], products[1 + k :]
        slopes = self.slopes.astype(sums.dtype).reshape(-1, *[1] * sums.ndim)
        variance = sums + (along * (slopes * along - sums.dtype.type(2) * mixed)).sum(axis=0)
        return np.asarray(products[0] / np.sqrt(np.maximum(variance, sums.dtype.type(floor))))


def sandwich(model: Model, exchange: Exchange) -> Sandwich:
    """Prepare a design.

    Parameters
    ----------
    model
        With a contrast of one row.
    exchange
        With ``labels`` a constant is left out of the basis: no order of residuals has one.

    Raises
    ------
    DesignError
        An F, or a row that alone decides on the estimate.
    """
    if model.contrast.ndim == 2:
        raise DesignError("an F has no variance of each row's own; test one combination, or use groups")
    q = np.column_stack([model.nuisance, model.effect])
    weight, left = model.effect[:, 0], 1 - np.square(q).sum(axis=1)
    alone = decisive(model)
    if alone.any():
        raise DesignError(
            f"row {int(np.flatnonzero(alone)[0])} alone decides on the estimate, so that its error has no "
            "variance. Leave the row out, or use one variance for all rows."
        )
    weights = np.square(np.where(np.abs(weight) > LEAST_FREE, weight / np.maximum(left, LEAST_FREE), 0.0))
    one = np.full(len(q), len(q) ** -0.5)
    inside = q.T @ one
    if exchange == "labels" and abs(inside @ inside - 1) < 1e-10:
        q = q @ np.linalg.svd(inside[None, :])[2][1:].T
    slopes, turn = np.linalg.eigh(q.T @ (weights[:, None] * q))
    return Sandwich(model, weights, q @ turn, slopes)


def decisive(model: Model) -> NDArray[np.bool_]:
    """Rows that alone decide on the estimate, so that nothing says how much they vary; shape (n,).

    Parameters
    ----------
    model
        With a contrast of one row.
    """
    left = 1 - np.square(np.column_stack([model.nuisance, model.effect])).sum(axis=1)
    return np.asarray((left < LEAST_FREE) & (np.abs(model.effect[:, 0]) > LEAST_FREE))


def fit_robust(y: Floats, model: Model) -> Fit:
    """Estimate, its robust standard error and their ratio in features, in float64.

    Parameters
    ----------
    y
        ndarray of shape (n, n_features).
    model
        With a contrast of one row.

    Returns
    -------
    Fit
        With the residual degrees of freedom of the design.

    References
    ----------
    MacKinnon and White 1985, 10.1016/0304-4076(85)90158-7 (HC3).
    """
    valid = np.isfinite(y).all(axis=0)
    y = np.where(valid, y, 0.0)
    left = residuals(y, np.column_stack([model.nuisance, model.effect]))
    length = np.linalg.norm(model.weights)
    variance = sandwich(model, "flips").weights @ np.square(left)
    valid &= (np.square(left).sum(axis=0) > 1e-24 * np.square(y).sum(axis=0)) & (variance > 0)
    effect = np.where(valid, model.weights @ y, np.nan)
    se = np.where(valid, length * np.sqrt(variance), np.nan)
    return Fit(effect, se, effect / se, np.where(valid, model.df, np.nan), valid)


@dataclass(frozen=True, eq=False)
class RobustTile(Tile):
    """`residuals` (n, width) of the nuisance model have length 1, `squares` are their squares."""

    residuals: NDArray[Any]
    squares: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Turned:
    """Rows and weights of squares, rearranged by a batch."""

    rows: NDArray[Any]
    inside: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Robust(Job):
    """Robust t of features that have a value in every row.

    Attributes
    ----------
    values
        ndarray of shape (n, n_features).
    design
        See `Sandwich`.
    as_z
        Give z, because other jobs of the test do.
    """

    values: NDArray[Any]
    design: Sandwich
    as_z: bool = False

    @property
    def scale(self) -> Scale:
        """All features have equal degrees of freedom."""
        return "z" if self.as_z else "t"

    @property
    def by_table(self) -> bool:
        """See `Job.by_table`."""
        return self.as_z

    @property
    def bytes_per_feature(self) -> int:
        """Residuals, in float64 while they are made, and their squares."""
        return len(self.design.weights) * (8 + 2 * np.dtype(self.dtype).itemsize)

    def tile(self, start: int) -> RobustTile:
        """See `Job.tile`."""
        which = self.features[start : start + TILE_FEATURES]
        y = np.asarray(self.values[:, which], dtype=np.float64)
        observed = fit_robust(y, self.design.model)
        columns = np.flatnonzero(observed.valid)
        there = padded(columns, self.width)
        e = residuals(y[:, there], self.design.model.nuisance)
        e = (e / np.linalg.norm(e, axis=0)).astype(self.dtype)
        limit = self.lowered(observed.size(self.scale)[there])
        return RobustTile(observed, columns, limit, np.zeros(which.size, dtype=np.int64), e, np.square(e))

    def turned(self, batch: slice) -> Turned:
        """See `Job.turned`."""
        rows = self.rearranged(self.design.rows, batch)
        return Turned(rows, self.rearranged(self.design.weights[None], batch, squares=True))

    def signed(self, tile: RobustTile, turned: Turned) -> NDArray[Any]:
        """See `Job.signed`."""
        products = (turned.rows @ tile.residuals).reshape(-1, TILE_PERMUTATIONS, self.width)
        size = self.design.statistic(products, turned.inside @ tile.squares, self.floor)
        return signed_z(size, np.full_like(size, self.design.model.df)) if self.as_z else size


def robust(
    values: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
    as_z: bool = False,
) -> Robust:
    """A job of features whose rows may each have an error variance of their own.

    Parameters
    ----------
    values
        ndarray of shape (n, n_features).
    model
        The design, with a contrast of one row.
    permutations
        Of n rows.
    features
        Which features.
    dtype
        Of rearranged statistics.
    as_z
        See `Robust`.

    References
    ----------
    DiCiccio and Romano 2017, 10.1080/01621459.2016.1202117 (permutation of a studentised slope); Long and
    Ervin 2000, 10.1080/00031305.2000.10474549 (HC3 in small samples).
    """
    return Robust(permutations, dtype, features, values, sandwich(model, permutations.kind), as_z)
