"""Tiles of features and batches of rearrangements: the shapes in which statistics are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conn.glm import Fit, Floats
from conn.permutation import PermutationSet
from conn.zscale import TABLE_TOLERANCE

# The shape of every matrix product. Constants, so that the bytes of a result depend neither on the memory
# that was allowed nor on the number of workers. With 60 rows, products of this shape run at the speed of
# large square ones, those of 1024 features at 0.85 of it: operands no longer fit into the nearest caches.
TILE_FEATURES = 512
TILE_PERMUTATIONS = 64
MAP_FEATURES = 20_000
"""From this many features on, rearranged statistics are computed in float32."""

TOLERANCE = {"float64": 1e-9, "float32": 2e-5}
"""Statistics that differ by less count as ties: ``other >= own * (1 - tolerance) - tolerance``."""

_FLOOR = {"float64": 1e-13, "float32": 1e-6}

Scale = Literal["t", "F", "z"]
"""``z`` when degrees of freedom differ: the deviate with the two-sided p of a t, or the p of an F."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Up to `TILE_FEATURES` features of a job, with what their rearrangement needs.

    Attributes
    ----------
    fit
        What was observed, of every feature of the tile.
    columns
        int ndarray of shape (n_valid,): the features that can be tested, counted from the first of the tile.
    limit
        ndarray of shape (width,), width >= n_valid: what a rearranged statistic must reach to count.
    counts
        int ndarray, one number per feature of the tile: how many did; it adds up over batches.
    """

    fit: Fit
    columns: NDArray[np.int64]
    limit: Floats
    counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Job(ABC):
    """A test of some features by a permutation set: how tiles are made and rearranged.

    Attributes
    ----------
    permutations
        Of the rows.
    dtype
        Of rearranged statistics; what is observed is always float64.
    features
        int ndarray of shape (n_own,): which features of the whole this job tests.
    """

    permutations: PermutationSet
    dtype: type[np.floating[Any]]
    features: NDArray[np.int64]

    @property
    @abstractmethod
    def scale(self) -> Scale:
        """Of what `signed` gives: t, the root of F, or z."""

    @property
    @abstractmethod
    def bytes_per_feature(self) -> int:
        """Memory that a feature of a tile takes."""

    @abstractmethod
    def tile(self, start: int) -> Tile:
        """Fit up to `TILE_FEATURES` of the job's features from `start` on and keep what is rearranged."""

    @abstractmethod
    def turned(self, batch: slice) -> Any:
        """What the tiles have in common for a batch of rearrangements."""

    @abstractmethod
    def signed(self, tile: Any, turned: Any) -> NDArray[Any]:
        """Statistic of a tile for each rearrangement of a batch.

        Returns
        -------
        ndarray of shape (TILE_PERMUTATIONS, width)
            t, root of F or z. Rows beyond a short batch and columns beyond the valid features say nothing.
        """

    def judged(self, tile: Any, turned: Any, maxima: Floats) -> tuple[NDArray[np.int32], Floats]:
        """How many rearranged statistics reach what was observed, and the largest of each rearrangement.

        Parameters
        ----------
        tile, turned
            From the methods of these names.
        maxima
            ndarray of shape (n_batch,): what is known already; smaller ones need not be found.

        Returns
        -------
        counts : int32 ndarray of shape (width,)
        best : ndarray of shape (n_batch,)
        """
        size = np.abs(self.signed(tile, turned)[: maxima.size])
        best = size[:, : tile.columns.size].max(axis=1).astype(np.float64)
        return counted(size >= tile.limit.astype(size.dtype)), best

    def together(self, tiles: Sequence[Any]) -> Any:
        """The tiles of a block in the form that `sweep` goes over: those with something to test."""
        return [tile for tile in tiles if tile.columns.size]

    def sweep(self, tiles: Any, turned: Sequence[Any], maxima: Sequence[Floats]) -> None:
        """Judge all tiles of a block for some batches of rearrangements.

        Parameters
        ----------
        tiles
            From `together`; counts are added up in them.
        turned
            From the method of this name, of each batch.
        maxima
            ndarray of shape (n_batch,) of each batch: raised to the largest statistics.
        """
        for tile in tiles:
            for own, largest in zip(turned, maxima, strict=True):
                counts, best = self.judged(tile, own, largest)
                np.maximum(largest, best, out=largest)
                tile.counts[tile.columns] += counts[: tile.columns.size]

    @property
    def by_table(self) -> bool:
        """Whether rearranged statistics go to z by `conn.zscale.signed_z`, and so by a table in float32."""
        return False

    @property
    def tolerance(self) -> float:
        """See `TOLERANCE`; wider where the table of z takes part."""
        if self.by_table and self.dtype is np.float32:
            return TABLE_TOLERANCE
        return TOLERANCE[self.dtype.__name__]

    @property
    def at_once(self) -> int:
        """How many batches `sweep` is given: more than one where a tile then stays in the cache."""
        return 1

    @property
    def floor(self) -> float:
        """Share of the sum of squares below which a rearranged residual variance is rounding."""
        return _FLOOR[self.dtype.__name__]

    @property
    def starts(self) -> range:
        """First feature of each tile."""
        return range(0, self.features.size, TILE_FEATURES)

    @property
    def width(self) -> int:
        """Width of a tile: fixed for maps, smaller for a few edges."""
        return min(TILE_FEATURES, -(-self.features.size // 16) * 16)

    def lowered(self, stat: Floats) -> Floats:
        """The smallest statistic that counts as being as large as `stat`."""
        return np.maximum(stat * (1 - self.tolerance) - self.tolerance, 0)

    def batches(self) -> list[slice]:
        """Rearrangements that are computed at once."""
        n_set = self.permutations.n_set
        return [slice(i, min(i + TILE_PERMUTATIONS, n_set)) for i in range(0, n_set, TILE_PERMUTATIONS)]

    def filled(self, batch: slice) -> NDArray[Any]:
        """Signs or orders of a batch, of shape (TILE_PERMUTATIONS, n); a short one repeats its first."""
        table = self.permutations.table[batch]
        missing = TILE_PERMUTATIONS - len(table)
        return np.concatenate([table, np.repeat(table[:1], missing, axis=0)]) if missing else table

    def rearranged(self, rows: Floats, batch: slice, *, squares: bool = False) -> NDArray[Any]:
        """Rows whose product with E (or its squares) is their product with PE (or its squares).

        The shape is (n_rows * TILE_PERMUTATIONS, n).
        """
        table = self.filled(batch)
        if self.permutations.kind == "flips":
            turned = rows[:, None, :] * (table**2 if squares else table)
        else:
            turned = rows[:, np.argsort(table, axis=1)]
        return np.ascontiguousarray(turned.reshape(-1, rows.shape[1]), dtype=self.dtype)


def counted(reached: NDArray[np.bool_]) -> NDArray[np.int32]:
    """How many rearrangements of a batch reach the limit, of shape (width,)."""
    # A batch has fewer than 256 rearrangements, so that a byte holds the count.
    counts: NDArray[np.uint8] = np.add.reduce(reached.view(np.uint8), axis=0, dtype=np.uint8)
    return counts.astype(np.int32)


def padded(columns: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Valid columns of a tile, filled up to a width with repeats of the last; empty when there is none."""
    return columns[np.minimum(np.arange(width), columns.size - 1)] if columns.size else columns
