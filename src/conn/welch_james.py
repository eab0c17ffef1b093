"""A variance, or a covariance matrix, of each group: the statistic of Welch, James and Johansen.

With S_g the error covariance of group g, the combinations B that are tested have the covariance C V C', where
V is the inverse of ``sum(M_g'M_g x S_g^-1)``; the statistic is their squared length in it. With one value in
a row that is v² or G, with two groups and no covariates the heteroscedastic T² of James. A rearrangement
needs the same inner products as `conn.shared`, for each value of a row, and sums of their products within
groups; what is left is a small factorisation in each feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.freedom import LEAST_LOAD
from conn.glm import Fit, Floats, Kernel, Model, fit, make_kernel, residuals
from conn.johansen import compared, contrasted
from conn.lanes import LANES, factor, inverse, squared, take, weighted
from conn.multivariate import whitened
from conn.permutation import PermutationSet
from conn.tiles import TILE_FEATURES, TILE_PERMUTATIONS, Job, Scale, Tile, padded
from conn.zscale import signed_z, z_of_f


@dataclass(frozen=True, eq=False)
class GroupedTile(Tile):
    """`residuals` (n, q * width), each feature's q columns orthonormal, the first value of all first.

    `products` (n, pairs * width): their products with each other, pairs (0, 0), (1, 0), (1, 1), …
    """

    residuals: NDArray[Any]
    products: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Turned:
    """Rows of the kernel and its indicators, rearranged by a batch."""

    rows: NDArray[Any]
    inside: NDArray[Any]


@dataclass(frozen=True, eq=False)
class WelchJames(Job):
    """Features with q values in every row and a covariance of each variance group, on the scale z.

    Attributes
    ----------
    values
        ndarray of shape (q, n, n_features).
    kernel
        The design between rows, with at least two variance groups.
    cross
        ndarray of shape (n_groups, p, p): cross products of the design in each group, in a basis with the
        nuisance first and what is tested last.
    """

    values: NDArray[Any]
    kernel: Kernel
    cross: Floats

    @property
    def model(self) -> Model:
        """The design between rows."""
        return self.kernel.model

    @property
    def n_values(self) -> int:
        """Values of a row."""
        return int(self.values.shape[0])

    @property
    def is_t(self) -> bool:
        """Whether the statistic has a sign."""
        return self.model.contrast.ndim == 1 and self.n_values == 1

    @property
    def rank(self) -> int:
        """First degrees of freedom."""
        return self.model.rank * self.n_values

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
        """Residuals, in float64 while they are made, and their products."""
        pairs = self.n_values * (self.n_values + 1) // 2
        own = (self.n_values + pairs) * np.dtype(self.dtype).itemsize
        return len(self.model.matrix) * (8 * self.n_values + own)

    def tile(self, start: int) -> GroupedTile:
        """See `Job.tile`."""
        which = self.features[start : start + TILE_FEATURES]
        y = np.asarray(self.values[:, :, which], dtype=np.float64)
        observed, white = self._fit(y)
        columns = np.flatnonzero(observed.valid)
        there = padded(columns, self.width)
        white = white[:, :, there].astype(self.dtype)
        limit = self.lowered(observed.size("z")[there])
        counts = np.zeros(which.size, dtype=np.int64)
        return GroupedTile(observed, columns, limit, counts, np.concatenate(white, axis=1), _pairs(white))

    def _fit(self, y: Floats) -> tuple[Fit, Floats]:
        """What is observed, and residuals of the nuisance with their cross products taken to identity."""
        valid = np.isfinite(y).all(axis=(0, 1))
        y = np.where(valid, y, 0.0)
        e = np.stack([residuals(value, self.model.nuisance) for value in y])
        valid &= (np.square(e).sum(axis=1) > 1e-24 * np.square(y).sum(axis=1)).all(axis=0)
        white = whitened(e, valid)
        if self.is_t:
            plain = fit(y[0], self.model)
            return plain.only(valid), white
        products = np.stack([self.kernel.rows @ value for value in white], axis=1)[:, :, None]
        sums = self.kernel.indicators @ _pairs(white)
        sums = sums.reshape(self.model.n_groups, -1, 1, y.shape[2])
        stat, df, least = self._statistics(products, sums)[:, 0]
        valid &= least > LEAST_PIVOT
        return Fit.of_f(np.where(valid, stat, np.nan), np.where(valid, df, np.nan), self.rank), white

    def turned(self, batch: slice) -> Turned:
        """See `Job.turned`."""
        rows = self.rearranged(self.kernel.rows, batch)
        return Turned(rows, self.rearranged(self.kernel.indicators, batch, squares=True))

    def signed(self, tile: GroupedTile, turned: Turned) -> NDArray[Any]:
        """See `Job.signed`."""
        products = self._apart(turned.rows @ tile.residuals)
        sums = self._apart(turned.inside @ tile.products)
        stat, df, _ = self._statistics(products, sums)
        return signed_z(stat, df) if self.is_t else z_of_f(stat, self.rank, df)

    def _apart(self, products: NDArray[Any]) -> NDArray[Any]:
        """Products of a batch, of shape (rows, values or pairs, n_rearrangements, width)."""
        apart = products.reshape(-1, TILE_PERMUTATIONS, products.shape[1] // self.width, self.width)
        return np.ascontiguousarray(apart.transpose(0, 2, 1, 3))

    def _statistics(self, products: NDArray[Any], sums: NDArray[Any]) -> NDArray[Any]:
        """Statistic, its second degrees of freedom and the least pivot of a covariance.

        Parameters
        ----------
        products
            ndarray of shape (n_products, q, n_rearrangements, width).
        sums
            ndarray of shape (n_groups, pairs, n_rearrangements, width), overwritten.

        Returns
        -------
        ndarray of shape (3, n_rearrangements, width)
        """
        forms, dtype = products[1 if self.model.contrast.ndim == 1 else self.model.rank :], sums.dtype
        coefficients = self.kernel.coefficients.astype(dtype)
        for k, (u, w) in enumerate(_lower(self.n_values)):
            mixed = (forms[:, u] * forms[:, w]).reshape(len(forms), -1)
            sums[:, k] += (coefficients @ mixed).reshape(-1, *sums.shape[2:])
        out = np.empty((3, *sums.shape[2:]), dtype=dtype)
        effect = np.ascontiguousarray(products[: self.model.rank])
        model, floor = self.model, float(self.floor)
        rows = model.group_rows if model.compares else model.group_rows[:0]
        several = bool((np.linalg.matrix_rank(model.loads, tol=LEAST_LOAD**2, hermitian=True) > 1).any())
        _grouped(
            effect, sums, self.cross, model.loads, rows, model.group_df, floor, several, self.is_t, out
        )  # fmt: skip
        return out


LEAST_PIVOT = 1e-10
"""Share of a value's sum of squares that a group, and in it the other values, must leave of it."""


def _lower(q: int) -> list[tuple[int, int]]:
    """Places of the lower triangle of a q x q matrix, row by row."""
    return [(u, w) for u in range(q) for w in range(u + 1)]


def _pairs(values: NDArray[Any]) -> NDArray[Any]:
    """Products of the values of a row, ndarray of shape (n, pairs * width), from (q, n, width)."""
    return np.concatenate([values[u] * values[w] for u, w in _lower(len(values))], axis=1)


@compiled
def _grouped(
    effect: NDArray[Any],
    sums: NDArray[Any],
    cross: Floats,
    loads: Floats,
    rows: Floats,
    group_df: Floats,
    floor: float,
    several: bool,
    is_t: bool,
    out: NDArray[Any],
) -> None:
    """Statistic of each rearrangement and feature; `out` is as `WelchJames._statistics` says.

    `rows` of each group is empty unless the contrast compares all of them. Some features side by side, so
    that every step is a plain loop over them.
    """
    r, q, batch, width = effect.shape
    n_groups, p = cross.shape[0], cross.shape[1]
    lanes = min(LANES, width)
    precision, own = np.empty((n_groups, q, q, lanes)), np.empty((n_groups, q, q, lanes))
    small, heavy = np.empty((q, q, lanes)), np.empty((p * q, p * q, lanes))
    along, work = np.empty((r, q, lanes)), np.empty((4, r * q, r * q, lanes))
    value, least, first, second = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for b in range(batch):
        for start in range(0, width, lanes):
            here = slice(start, min(start + lanes, width))
            used = here.stop - start
            least[:] = 1.0
            for g in range(n_groups):
                for u in range(q):
                    for w in range(u + 1):
                        small[u, w, :used] = sums[g, u * (u + 1) // 2 + w, b, here]
                        small[u, w, :used] /= group_df[g]
                factor(small, floor / group_df[g], least)
                inverse(small, precision[g])
                if rows.size == 0:
                    squared(small, own[g])
            weighted(cross, precision, heavy)
            factor(heavy, 1e-300, value)
            along[:, :, :used] = effect[:, :, b, here]
            _squared_length(heavy, along, value)
            if rows.size:
                compared(precision, rows, group_df, small, first)
                second[:] = first
            else:
                contrasted(loads, own, group_df, several, work, first, second)
            out[2, b, here] = least[:used]
            _statistic(
                value[:used], first[:used], second[:used], r, q, is_t, out[0, b, here], out[1, b, here]
            )
            if is_t:
                out[0, b, here] *= np.sign(along[0, 0, :used])


@compiled
def _statistic(
    value: Floats,
    first: Floats,
    second: Floats,
    r: int,
    q: int,
    is_t: bool,
    stat: NDArray[Any],
    df: NDArray[Any],
) -> None:
    """|t| or F and its second degrees of freedom, from the squared length and both forms of A."""
    s = r * q
    for j in range(value.size):
        if is_t:
            stat[j], df[j] = np.sqrt(value[j]), 1 / first[j]
        elif r == 1:
            hotelling = q * (q + 1) / (2 * first[j])
            df[j] = hotelling - q + 1
            stat[j] = value[j] * (hotelling - q + 1) / (q * hotelling)
        else:
            spread = 2 * first[j] + second[j]
            df[j] = s * (s + 2) / spread
            stat[j] = value[j] / (s + 2 * first[j] - 2 * spread / (s + 2))


@compiled
def _squared_length(lower: Floats, along: Floats, out: Floats) -> None:
    """Squared length of the tested combinations in their covariance, from the factor of its inverse."""
    r, q = along.shape[0], along.shape[1]
    first = lower.shape[0] - r * q
    part = np.empty_like(out)
    out[:] = 0.0
    for a in range(r * q):
        part[:] = 0.0
        for c in range(a, r * q):
            take(part, lower[first + c, first + a], along[c // q, c % q])
        take(out, part, -part)


def welch_james(
    values: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
) -> WelchJames:
    """A job of features whose groups have a variance, or a covariance matrix, of their own.

    Parameters
    ----------
    values
        ndarray of shape (q, n, n_features).
    model
        The design between rows, with at least two variance groups; its contrast is tested in all values
        together.
    permutations
        Of n rows: a row's values change sign, or place, together.
    features
        Which features.
    dtype
        Of rearranged statistics.

    Raises
    ------
    DesignError
        A group whose residual degrees of freedom are fewer than the values of a row.

    References
    ----------
    Johansen 1980, 10.1093/biomet/67.1.85 (the statistic and its degrees of freedom); Welch 1951,
    10.1093/biomet/38.3-4.330 (one value); Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060 (G).
    """
    q = values.shape[0]
    least = model.group_df.min()
    if q > 1 and least < q:
        rows = np.flatnonzero(model.groups == model.group_df.argmin()).tolist()
        raise DesignError(
            f"rows hold {q} values, and the variance group of rows {rows} has {least:.2g} residual degrees "
            f"of freedom; at least {q} are needed for a covariance of its own. Take groups of one size, more "
            "people, fewer time points or fewer covariates."
        )
    basis = np.column_stack([model.nuisance, model.effect])
    parts = [basis[model.groups == g] for g in range(model.n_groups)]
    cross = np.stack([part.T @ part for part in parts])
    return WelchJames(permutations, dtype, features, values, make_kernel(model, permutations.kind), cross)
