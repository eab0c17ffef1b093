"""Rows of several values, adjusted for several covariates that each feature has of its own.

As `conn.multivariate`, but every feature has its own design: that of all, and the baselines of its values.
Residuals, the covariates and what the effect adds to them are made once for a feature; a rearrangement then
needs their products with the rearranged residuals, over rows and feature by feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.glm import Fit, Floats, Model, make_kernel, residuals
from conn.multivariate import LEAST_PIVOT, Blocks, BlockTile, Degrees, degrees, whitened
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, padded


@dataclass(frozen=True, eq=False)
class AdjustedBlockTile(BlockTile):
    """`own` (c + r, n, width): orthonormal covariates of each feature, then the effect without them."""

    own: NDArray[Any]


@dataclass(frozen=True, eq=False)
class AdjustedBlocks(Blocks):
    """F of features with q values in every row, adjusted for c covariates of their own.

    Attributes
    ----------
    covariate
        ndarray of shape (c, n, n_features).
    """

    covariate: NDArray[Any]

    @property
    def degrees(self) -> Degrees:
        """See `conn.multivariate.Degrees`; each covariate takes a degree of freedom."""
        return degrees(self.model.rank, self.n_values, self.model.df - len(self.covariate))

    @property
    def bytes_per_feature(self) -> int:
        """Residuals, covariates and effect, in float64 while they are made."""
        columns = self.n_values + len(self.covariate) + self.model.rank
        return columns * len(self.model.matrix) * (8 + np.dtype(self.dtype).itemsize)

    def tile(self, start: int) -> AdjustedBlockTile:
        """See `Job.tile`."""
        which = self.features[start : start + TILE_FEATURES]
        y, b = (np.asarray(x[:, :, which], dtype=np.float64) for x in (self.values, self.covariate))
        observed, white, own = self._fit_adjusted(y, b)
        columns = np.flatnonzero(observed.valid)
        there = padded(columns, self.width)
        flat = np.concatenate([value[:, there] for value in white], axis=1).astype(self.dtype)
        limit = self.lowered(observed.size("F")[there])
        kept = np.ascontiguousarray(own[:, :, there], dtype=self.dtype)
        counts = np.zeros(which.size, dtype=np.int64)
        return AdjustedBlockTile(observed, columns, limit, counts, flat, kept)

    def _fit_adjusted(self, y: Floats, b: Floats) -> tuple[Fit, Floats, Floats]:
        """What is observed; residuals of nuisance and covariates, orthonormal; covariates and effect."""
        valid = np.asarray(np.isfinite(y).all(axis=(0, 1)) & np.isfinite(b).all(axis=(0, 1)))
        y, b = np.where(valid, y, 0.0), np.where(valid, b, 0.0)
        varying = np.stack([residuals(one, self.model.nuisance) for one in b])
        valid &= (np.square(varying).sum(axis=1) > LEAST_PIVOT * np.square(b).sum(axis=1)).all(axis=0)
        covariates = whitened(varying, valid)
        e = np.stack([_rest(residuals(one, self.model.nuisance), covariates) for one in y])
        valid &= (np.square(e).sum(axis=1) > 1e-24 * np.square(y).sum(axis=1)).all(axis=0)
        white = whitened(e, valid)
        effects = [np.repeat(one[:, None], y.shape[2], axis=1) for one in self.model.effect.T]
        # Not whitened before the covariates are out: what they leave of the effect is what is tested.
        effect = whitened(np.stack([_rest(one, covariates) for one in effects]), valid, of=1.0)
        products = np.einsum("knv,qnv->kqv", effect, white)
        lost = self._lambda(products[:, :, None, :], products[:0, :, None, :])[0]
        valid &= lost > LEAST_PIVOT
        stat = np.where(valid, self._f(lost), np.nan)
        df = np.where(valid, self.degrees.second, np.nan)
        fit = Fit.of_f(stat, df, int(self.degrees.first))
        return fit, white, np.concatenate([covariates, effect])

    def turned(self, batch: slice) -> Any:
        """The shared nuisance rearranged by a batch, and the batch itself."""
        shared = self.kernel.rows[self.model.rank :]
        return self.rearranged(shared, batch), np.ascontiguousarray(self.filled(batch), dtype=np.int64)

    def signed(self, tile: Any, turned: Any) -> NDArray[Any]:
        """See `Job.signed`."""
        rows, table = turned
        q, width = self.n_values, self.width
        shared = (rows @ tile.residuals).reshape(-1, TILE_PERMUTATIONS, q, width).transpose(0, 2, 1, 3)
        own = np.empty((len(tile.own), q, TILE_PERMUTATIONS, width), dtype=self.dtype)
        _products(tile.own, tile.residuals, table, self.permutations.kind == "flips", own)
        c = len(self.covariate)
        nuisance = np.ascontiguousarray(np.concatenate([shared, own[:c]]))
        return np.asarray(np.sqrt(self._f(self._lambda(np.ascontiguousarray(own[c:]), nuisance))))


def _rest(values: Floats, covariates: Floats) -> Floats:
    """Values (n, n_features) without their projection on orthonormal covariates (c, n, n_features)."""
    for _ in range(2):  # a second pass takes out what rounding left
        for one in covariates:
            values = values - one * (one * values).sum(axis=0)
    return values


@compiled
def _products(
    own: NDArray[Any], residuals: NDArray[Any], table: NDArray[np.int64], flips: bool, out: NDArray[Any]
) -> None:
    """Inner products of each feature's columns with its rearranged residuals; `out` (k, q, batch, width)."""
    k, q, batch, width = out.shape
    out[:] = 0.0
    for b in range(batch):
        for i in range(own.shape[1]):
            source = i if flips else table[b, i]
            sign = table[b, i] if flips else 1
            for a in range(k):
                for u in range(q):
                    for j in range(width):
                        out[a, u, b, j] += own[a, i, j] * residuals[source, u * width + j] * sign


def adjusted_blocks(
    values: NDArray[Any],
    covariate: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
) -> AdjustedBlocks:
    """A job of features with several values in every row and covariates of their own.

    Parameters
    ----------
    values
        ndarray of shape (q, n, n_features).
    covariate
        ndarray of shape (c, n, n_features): all of them are nuisance of every value.
    model
        The design between rows, without the covariates.
    permutations
        Of n rows: a row's residuals change places, or sign, together.
    features
        Which features.
    dtype
        Of rearranged statistics.

    Raises
    ------
    DesignError
        Fewer residual degrees of freedom than values, or several variance groups.
    """
    left = model.df - len(covariate)
    if left < values.shape[0]:
        raise DesignError(
            f"rows hold {values.shape[0]} values with {len(covariate)} baselines and leave {left:.0f} "
            "residual degrees of freedom; at least as many as values are needed. Compare fewer seeds, or "
            "take more people or fewer covariates."
        )
    if model.n_groups > 1:
        raise DesignError("rows of several values share one covariance; leave variance groups out")
    kernel = make_kernel(model, permutations.kind)
    return AdjustedBlocks(permutations, dtype, features, values, kernel, covariate)
