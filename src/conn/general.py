"""Statistics where everything may differ between features: rows that are missing, a covariate of a feature's
own, any number of variance groups. Each rearrangement is a regression of its own.

The slow and general way beside `conn.shared` and `conn.covariate`, for what they cannot express.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.glm import Fit, Floats, Model
from conn.permutation import PermutationSet
from conn.regressions import LEAST_LEFT, regressed, regressions, residuals
from conn.tiles import TILE_FEATURES, Job, Scale, Tile, padded
from conn.zscale import signed_z, z_of_f


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
    compares
        Whether all variance groups are compared, see `conn.freedom.group_loads`.
    robust
        Whether each row has an error variance of its own, as in `conn.sandwich`; then there is one group.
    """

    nuisance: Floats
    effect: Floats
    scale: Floats
    groups: NDArray[np.int64]
    n_groups: int
    signed: bool
    compares: bool
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
    return Layout(
        model.nuisance,
        effect / length,
        1 / length,
        model.groups,
        model.n_groups,
        signed,
        model.compares,
        robust,
    )


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
        regressions(
            e, there, own, own_there, d.nuisance, d.effect, d.groups, d.n_groups, table, flips, d.signed,
            d.compares, d.robust, out,
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
        regressed(
            there, columns, d.groups, place, cross, right, sums, d.effect.shape[1], d.signed, d.compares, out
        )


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
        residuals(e, there, b, nuisance)
    length = np.linalg.norm(e, axis=0)
    length = np.where(length > 1e-12 * size, length, 0.0)
    return e / np.where(length > 0, length, 1.0), there, length


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
