"""Rows of several values each: Hotelling's T² and Wilks' lambda, the values of a row moving as one block.

For more than two time points within people, a row holds orthonormal contrasts of a person's scans; no
sphericity is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.glm import Fit, Floats, Kernel, Model, make_kernel, residuals
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Scale, Tile, padded

LEAST_PIVOT = 1e-10
"""Share of a value's sum of squares that the others must leave of it."""


@dataclass(frozen=True, eq=False)
class BlockTile(Tile):
    """`residuals` (n, q * width): each feature's q columns are orthonormal; the first value of all first."""

    residuals: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Degrees:
    """Degrees of freedom and root of Rao's F; exact when rank or number of values is 1 or 2.

    Attributes
    ----------
    first, second
        Degrees of freedom of F.
    root
        F is ``(1 - L) / L * second / first`` with L the root-th root of lambda.
    """

    first: float
    second: float
    root: float


def degrees(rank: int, n_values: int, df: float) -> Degrees:
    """Rao's F of Wilks' lambda.

    Parameters
    ----------
    rank
        Of the contrast between rows.
    n_values
        Values of a row.
    df
        Residual degrees of freedom of one value.

    References
    ----------
    Rao 1951, Bulletin of the International Statistical Institute 33(2):177-180; Hotelling 1931,
    10.1214/aoms/1177732979.
    """
    below = rank**2 + n_values**2 - 5
    root = float(np.sqrt((rank**2 * n_values**2 - 4) / below)) if below > 0 else 1.0
    second = (df + rank - (n_values + rank + 1) / 2) * root - rank * n_values / 2 + 1
    return Degrees(rank * n_values, second, root)


@dataclass(frozen=True, eq=False)
class Blocks(Job):
    """F of features with q values in every row.

    Attributes
    ----------
    values
        ndarray of shape (q, n, n_features).
    kernel
        The design between rows.
    """

    values: NDArray[Any]
    kernel: Kernel

    @property
    def model(self) -> Model:
        """The design between rows."""
        return self.kernel.model

    @property
    def n_values(self) -> int:
        """Values of a row."""
        return int(self.values.shape[0])

    @property
    def degrees(self) -> Degrees:
        """See `Degrees`."""
        return degrees(self.model.rank, self.n_values, self.model.df)

    @property
    def scale(self) -> Scale:
        """All features have equal degrees of freedom."""
        return "F"

    @property
    def bytes_per_feature(self) -> int:
        """Residuals, in float64 while they are made."""
        return self.n_values * len(self.model.matrix) * (8 + np.dtype(self.dtype).itemsize)

    def tile(self, start: int) -> BlockTile:
        """See `Job.tile`."""
        which = self.features[start : start + TILE_FEATURES]
        y = np.asarray(self.values[:, :, which], dtype=np.float64)
        observed, white = self._fit(y)
        columns = np.flatnonzero(observed.valid)
        there = padded(columns, self.width)
        flat = np.concatenate([value[:, there] for value in white], axis=1).astype(self.dtype)
        limit = self.lowered(observed.size("F")[there])
        return BlockTile(observed, columns, limit, np.zeros(which.size, dtype=np.int64), flat)

    def _fit(self, y: Floats) -> tuple[Fit, Floats]:
        """What is observed, and residuals of the nuisance with their cross products taken to identity."""
        valid = np.isfinite(y).all(axis=(0, 1))
        y = np.where(valid, y, 0.0)
        e = np.stack([residuals(value, self.model.nuisance) for value in y])
        valid &= (np.square(e).sum(axis=1) > 1e-24 * np.square(y).sum(axis=1)).all(axis=0)
        white = whitened(e, valid)
        products = np.einsum("nk,qnv->kqv", self.model.effect, white)
        lost = self._lambda(products[:, :, None, :], products[:0, :, None, :])[0]
        valid &= lost > LEAST_PIVOT
        stat = np.where(valid, self._f(lost), np.nan)
        rank = int(self.degrees.first)
        return Fit.of_f(stat, np.where(valid, self.degrees.second, np.nan), rank), white

    def turned(self, batch: slice) -> NDArray[Any]:
        """See `Job.turned`."""
        return self.rearranged(self.kernel.rows, batch)

    def signed(self, tile: BlockTile, turned: NDArray[Any]) -> NDArray[Any]:
        """See `Job.signed`."""
        products = (turned @ tile.residuals).reshape(-1, TILE_PERMUTATIONS, self.n_values, self.width)
        products = np.ascontiguousarray(products.transpose(0, 2, 1, 3))
        rank = self.model.rank
        return np.asarray(np.sqrt(self._f(self._lambda(products[:rank], products[rank:]))))

    def _lambda(self, effect: NDArray[Any], nuisance: NDArray[Any]) -> NDArray[Any]:
        out = np.empty(effect.shape[2:], dtype=effect.dtype)
        _wilks(effect, nuisance, out.dtype.type(self.floor), out)
        return out

    def _f(self, lost: NDArray[Any]) -> NDArray[Any]:
        """F from lambda."""
        d = self.degrees
        root = np.maximum(lost, lost.dtype.type(self.floor)) ** lost.dtype.type(1 / d.root)
        return np.asarray((1 - root) / root * lost.dtype.type(d.second / d.first))


def whitened(e: Floats, valid: NDArray[np.bool_], of: float | None = None) -> Floats:
    """Columns of each feature made orthonormal.

    Parameters
    ----------
    e
        ndarray of shape (q, n, n_features).
    valid
        ndarray of shape (n_features,); cleared where values depend on each other.
    of
        What earlier columns leave of each must be a share of this sum of squares; None: of its own.

    Returns
    -------
    ndarray of shape (q, n, n_features)
    """
    white = np.zeros_like(e)
    for k, value in enumerate(e):
        rest = value.copy()
        for _ in range(2):  # a second pass takes out what rounding left
            for earlier in white[:k]:
                rest -= earlier * (earlier * rest).sum(axis=0)
        length = np.linalg.norm(rest, axis=0)
        valid &= length**2 > LEAST_PIVOT * (np.square(value).sum(axis=0) if of is None else of)
        white[k] = rest / np.where(valid, length, 1.0)
    return white


@compiled
def _wilks(effect: NDArray[Any], nuisance: NDArray[Any], floor: float, out: NDArray[Any]) -> None:
    """det(T - H) / det(T) for each rearrangement and feature.

    T is the identity minus the products with the nuisance, H the products with the effect; `effect` is of
    shape (r, q, n_rearrangements, width).
    """
    r, q, batch, width = effect.shape
    error, total = np.empty((q, q)), np.empty((q, q))
    for b in range(batch):
        for j in range(width):
            for u in range(q):
                for w in range(u + 1):
                    rest = 1.0 if u == w else 0.0
                    for k in range(nuisance.shape[0]):
                        rest -= nuisance[k, u, b, j] * nuisance[k, w, b, j]
                    total[u, w] = rest
                    for k in range(r):
                        rest -= effect[k, u, b, j] * effect[k, w, b, j]
                    error[u, w] = rest
            out[b, j] = _determinant(error, floor) / _determinant(total, floor)


@compiled
def _determinant(cross: Floats, floor: float) -> float:
    """Determinant of a positive definite matrix, from its lower triangle, which is overwritten."""
    value = 1.0
    for k in range(cross.shape[0]):
        pivot = max(cross[k, k], floor)
        value *= pivot
        for i in range(k + 1, cross.shape[0]):
            share = cross[i, k] / pivot
            for m in range(k + 1, i + 1):
                cross[i, m] -= share * cross[m, k]
    return value


def blocks(
    values: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
) -> Blocks:
    """A job of features with several values in every row.

    Parameters
    ----------
    values
        ndarray of shape (q, n, n_features).
    model
        The design between rows; its contrast is tested in all values together.
    permutations
        Of n rows: a row's values change sign, or place, together.
    features
        Which features.
    dtype
        Of rearranged statistics.

    Raises
    ------
    DesignError
        Fewer residual degrees of freedom than values, or several variance groups.
    """
    if model.df < values.shape[0]:
        raise DesignError(
            f"rows hold {values.shape[0]} values and leave {model.df:.0f} residual degrees of freedom; at "
            "least as many as values are needed. Take more people, fewer time points or fewer covariates."
        )
    if model.n_groups > 1:
        raise DesignError(
            "Wilks' lambda knows one covariance of all rows; variance groups are for conn.welch_james"
        )
    return Blocks(permutations, dtype, features, values, make_kernel(model, permutations.kind))
