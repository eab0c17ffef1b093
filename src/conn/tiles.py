"""Tiles of features and batches of rearrangements: the shapes in which statistics are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conn.glm import Fit, Floats, Kernel, Model, fit, residuals, t_to_z, variance_and_df
from conn.permutation import PermutationSet

# The shape of every matrix product. Constants, so that the bytes of a result depend neither on the memory
# that was allowed nor on the number of workers.
TILE_FEATURES = 1024
TILE_PERMUTATIONS = 32
MAP_FEATURES = 20_000
"""From this many features on, rearranged statistics are computed in float32."""

TOLERANCE = {"float64": 1e-9, "float32": 2e-5}
"""Statistics that differ by less count as ties: ``other >= own * (1 - tolerance) - tolerance``."""

_FLOOR = {"float64": 1e-13, "float32": 1e-6}
Scale = Literal["t", "z"]


@dataclass(frozen=True, eq=False)
class Job:
    """What is the same for all blocks of features."""

    kernel: Kernel
    permutations: PermutationSet
    dtype: type[np.floating[Any]]

    @property
    def model(self) -> Model:
        """The design."""
        return self.kernel.model

    @property
    def scale(self) -> Scale:
        """``z`` when degrees of freedom differ between features."""
        return "t" if self.model.n_groups == 1 else "z"

    @property
    def tolerance(self) -> float:
        """See `TOLERANCE`."""
        return TOLERANCE[self.dtype.__name__]

    @property
    def slack(self) -> float:
        """Relative rounding that Wallace's bounds are widened by."""
        return 1e-12 if self.dtype is np.float64 else 1e-5

    @property
    def floor(self) -> float:
        """Share of the sum of squares below which a rearranged residual variance is rounding."""
        return _FLOOR[self.dtype.__name__]

    def lowered(self, stat: Floats) -> Floats:
        """The smallest statistic that counts as being as large as `stat`."""
        return np.asarray(stat * (1 - self.tolerance) - self.tolerance)

    def batches(self) -> list[slice]:
        """Rearrangements that are computed at once."""
        n_set = self.permutations.n_set
        return [slice(i, min(i + TILE_PERMUTATIONS, n_set)) for i in range(0, n_set, TILE_PERMUTATIONS)]

    def rearranged(self, rows: Floats, batch: slice, *, squares: bool = False) -> NDArray[Any]:
        """Rows whose product with E (or its squares) is their product with PE (or its squares).

        The shape is (n_rows * TILE_PERMUTATIONS, n); a short batch is filled up with its first member.
        """
        table = self.permutations.table[batch]
        if len(table) < TILE_PERMUTATIONS:
            table = np.concatenate([table, np.repeat(table[:1], TILE_PERMUTATIONS - len(table), axis=0)])
        if self.permutations.kind == "flips":
            turned = rows[:, None, :] * (table**2 if squares else table)
        else:
            turned = rows[:, np.argsort(table, axis=1)]
        return np.ascontiguousarray(turned.reshape(-1, rows.shape[1]), dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class Tile:
    """Up to `TILE_FEATURES` features, padded to a fixed width with repeats of the last valid one.

    `columns` are the valid features; `residuals` (n, width) have length 1, `squares` are their squares;
    `limit` (n_valid,) is what a rearranged statistic must reach to count; `counts` adds up over batches.
    """

    fit: Fit
    columns: NDArray[np.int64]
    residuals: NDArray[Any]
    squares: NDArray[Any]
    limit: Floats
    counts: NDArray[np.int64]


def make_tile(values: NDArray[Any], job: Job, start: int) -> Tile:
    """Fit up to `TILE_FEATURES` features from `start` on and keep their residuals."""
    data = np.asarray(values[:, start : start + TILE_FEATURES], dtype=np.float64)
    observed = fit(data, job.model)
    columns = np.flatnonzero(observed.valid)
    width = tile_width(values.shape[1])
    padded = columns[np.minimum(np.arange(width), columns.size - 1)] if columns.size else columns
    e = residuals(data[:, padded], job.model.nuisance)
    e = (e / np.linalg.norm(e, axis=0)).astype(job.dtype)
    stat = np.abs(observed.stat[padded])
    if job.scale == "z":
        stat = np.abs(t_to_z(stat, observed.df[padded]))
    squares = np.square(e) if job.scale == "z" else e[:0]
    return Tile(
        observed,
        columns,
        e,
        squares,
        np.maximum(job.lowered(stat), 0),
        np.zeros(data.shape[1], dtype=np.int64),
    )


def tile_width(n_features: int) -> int:
    """Width of a tile: fixed for maps, smaller for a few edges."""
    return min(TILE_FEATURES, -(-n_features // 16) * 16)


def squared_v(squared: NDArray[Any], sums: NDArray[Any], job: Job) -> tuple[NDArray[Any], NDArray[Any]]:
    """Squares of the Aspin-Welch v and their degrees of freedom, for a tile and a batch.

    Parameters
    ----------
    squared
        ndarray of shape (n_rows, TILE_PERMUTATIONS, width): squared products with the rows of the kernel;
        overwritten.
    sums
        ndarray of shape (n_groups, TILE_PERMUTATIONS, width): sums of squares within each variance group;
        overwritten.
    job
        Design and precision.

    Returns
    -------
    v2, df : ndarrays of shape (TILE_PERMUTATIONS, width)
    """
    forms = squared[1:].reshape(len(squared) - 1, -1)
    sums += (job.kernel.coefficients.astype(job.dtype) @ forms).reshape(-1, *sums.shape[1:])
    np.maximum(sums, job.dtype(job.floor), out=sums)
    variance, df = variance_and_df(job.model, sums)
    v2 = squared[0]
    v2 *= job.dtype(job.model.weights @ job.model.weights)
    v2 /= variance
    return v2, df
