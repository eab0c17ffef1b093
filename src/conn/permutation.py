"""Which rearrangements a test uses: sign flips or row orders, enumerated or drawn from a seed."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.errors import DesignError

Exchange = Literal["flips", "labels"]


@dataclass(frozen=True, eq=False)
class PermutationSet:
    """One set of rearrangements, shared by every test of a family.

    Attributes
    ----------
    kind
        ``flips``: row i of the residuals is multiplied by a sign. ``labels``: row i takes the residual of
        row ``order[i]``.
    signs
        int8 ndarray of shape (n_set, n_rows), +1 or -1; None for labels.
    order
        int64 ndarray of shape (n_set, n_rows); None for flips.
    exact
        True when all distinct rearrangements are used and nothing but the intercept is nuisance.
        With further nuisance the method of Freedman and Lane is approximate, so it is False.
    complete
        True when all distinct rearrangements are used, each once.
    total
        Number of distinct rearrangements that exist.
    smallest_p
        Smallest two-sided p that this set can give.

    Notes
    -----
    The first rearrangement is the identity, and no other one is put there on purpose.
    """

    kind: Exchange
    signs: NDArray[np.int8] | None
    order: NDArray[np.int64] | None
    exact: bool
    complete: bool
    total: int
    smallest_p: float

    @property
    def table(self) -> NDArray[Any]:
        """`signs` or `order`, whichever there is, of shape (n_set, n_rows)."""
        table = self.signs if self.kind == "flips" else self.order
        assert table is not None
        return table

    @property
    def n_set(self) -> int:
        """Number of rearrangements, the identity counted once."""
        return int(self.table.shape[0])

    @property
    def n_rows(self) -> int:
        """Number of rows that are rearranged."""
        return int(self.table.shape[1])

    @property
    def digest(self) -> str:
        """SHA-1 of the rearrangements: equal for two tests only if their maxima may be compared."""
        return hashlib.sha1(self.kind.encode() + np.ascontiguousarray(self.table).tobytes()).hexdigest()


def permutation_set(
    n: int,
    exchange: Exchange,
    *,
    strata: ArrayLike | None = None,
    matrix_effect: ArrayLike | None = None,
    n_permutations: int,
    seed: int,
    has_nuisance: bool,
    joint: bool = False,
) -> PermutationSet:
    """All distinct rearrangements when there are few, else a random set from a seed.

    Parameters
    ----------
    n
        Number of rows.
    exchange
        ``flips`` (symmetric errors) or ``labels`` (exchangeable rows).
    strata
        array of shape (n,). Rows change places only with rows of equal value. Flips ignore it.
    matrix_effect
        array of shape (n,): the group labels or the tested column. Orders that give every row the same
        value as another order count as one. None: all values differ. Flips ignore it.
    n_permutations
        At most so many distinct rearrangements are enumerated; if there are more, so many random ones
        follow the identity.
    seed
        Of the random set. A complete set does not depend on it.
    has_nuisance
        Whether the design has nuisance beyond the intercept. Then the rows themselves are permuted
        (two orders of equal labels are different), and `exact` is False. Nuisance that is constant
        within strata does not count: rearranging within strata leaves it as it is.
    joint
        Several columns are tested together and `matrix_effect` only names the levels, as of groups: what they
        are called does not matter to the statistic.

    Returns
    -------
    PermutationSet

    Raises
    ------
    DesignError
        Fewer than two rows, columns of another length, or nothing that could change places.

    References
    ----------
    Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060; Phipson and Smyth 2010, 10.2202/1544-6115.1585.
    """
    _check(n, exchange, n_permutations)
    if exchange == "flips":
        return _flips(n, n_permutations, seed, has_nuisance)
    blocks = _rows_of(_column(strata, n, "strata") if strata is not None else np.zeros(n, dtype=np.int64))
    values = np.arange(n)
    if matrix_effect is not None:
        values = np.unique(_column(matrix_effect, n, "matrix_effect"), return_inverse=True)[1].reshape(n)
    ties = 2 if _mirrored(matrix_effect, blocks, n) else 1
    if joint:
        ties = _renamings(values, blocks)
    if has_nuisance:
        ties, values = 1, np.arange(n)
    return _labels(values, blocks, n_permutations, seed, ties=ties, has_nuisance=has_nuisance)


def _check(n: int, exchange: str, n_permutations: int) -> None:
    if exchange not in ("flips", "labels"):
        raise DesignError(f"exchange is {exchange!r}; it must be 'flips' or 'labels'")
    if n < 2:
        raise DesignError(f"a permutation test needs at least 2 rows, this design has {n}")
    if n_permutations < 1:
        raise DesignError(f"the number of permutations is {n_permutations}; it must be at least 1")


def _column(column: ArrayLike, n: int, name: str) -> NDArray[Any]:
    values = np.asarray(column)
    if values.shape != (n,):
        raise DesignError(f"{name} has shape {values.shape}; the design has {n} rows")
    return values


def _rows_of(labels: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The rows of each stratum."""
    codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def _flips(n: int, n_permutations: int, seed: int, has_nuisance: bool) -> PermutationSet:
    total = 2**n
    complete = total <= n_permutations
    if complete:
        bits = (np.arange(total)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, size=(n_permutations + 1, n))
        bits[0] = 0
    # All signs turned round give -t, hence twice the same |t|.
    return PermutationSet(
        "flips",
        (1 - 2 * bits).astype(np.int8),
        None,
        exact=complete and not has_nuisance,
        complete=complete,
        total=total,
        smallest_p=_smallest(2, total, complete, n_permutations),
    )


def _labels(
    values: NDArray[np.int64],
    blocks: list[NDArray[np.int64]],
    n_permutations: int,
    seed: int,
    *,
    ties: int,
    has_nuisance: bool,
) -> PermutationSet:
    total = math.prod(_count(values[rows]) for rows in blocks)
    if total == 1:
        raise DesignError(
            f"nothing can change places: within each of the {len(blocks)} strata all rows have the same "
            "label. Strata must hold more than one group."
        )
    complete = total <= n_permutations
    order = _all_orders(values, blocks, total) if complete else _draw(blocks, n_permutations, seed)
    return PermutationSet(
        "labels",
        None,
        order,
        exact=complete and not has_nuisance,
        complete=complete,
        total=total,
        smallest_p=_smallest(ties, total, complete, n_permutations),
    )


def _smallest(ties: int, total: int, complete: bool, n_permutations: int) -> float:
    own = ties / total
    return own if complete else max(own, 1 / (n_permutations + 1))


def _count(values: NDArray[np.int64]) -> int:
    """Number of distinct arrangements of values, some of which are equal."""
    repeats = np.unique(values, return_counts=True)[1]
    return math.factorial(values.size) // math.prod(math.factorial(int(r)) for r in repeats)


def _renamings(values: NDArray[np.int64], blocks: list[NDArray[np.int64]]) -> int:
    """In how many ways levels of equal size in every block can change names."""
    sizes = [tuple(int((values[rows] == level).sum()) for rows in blocks) for level in np.unique(values)]
    return math.prod(math.factorial(sizes.count(size)) for size in set(sizes))


def _mirrored(effect: ArrayLike | None, blocks: list[NDArray[np.int64]], n: int) -> bool:
    """Whether an order exists that turns the tested column x into c - x, and so t into -t.

    c may differ between blocks, since what is constant within strata is nuisance.
    """
    if effect is None:
        return False
    column = np.asarray(effect)
    if not np.issubdtype(column.dtype, np.number):
        levels, column = np.unique(column, return_inverse=True)
        if levels.size != 2:
            return False
    x = column.reshape(n).astype(np.float64)
    scale = np.ptp(x) or 1.0
    ordered = [np.sort(x[b]) for b in blocks]
    return all(np.allclose(v, v[0] + v[-1] - v[::-1], rtol=0, atol=1e-12 * scale) for v in ordered)


def _arrangements(values: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Each distinct arrangement of the values as an order of rows; the identity comes first."""
    levels = [np.flatnonzero(values == level) for level in np.unique(values)]

    def fill(free: tuple[int, ...], rest: list[NDArray[np.int64]]) -> Iterator[list[tuple[int, ...]]]:
        if not rest:
            yield []
            return
        own = set(rest[0].tolist())
        first = [row for row in free if row in own] + [row for row in free if row not in own]
        for chosen in itertools.combinations(first, rest[0].size):
            taken = set(chosen)
            for tail in fill(tuple(row for row in free if row not in taken), rest[1:]):
                yield [tuple(sorted(chosen)), *tail]

    for filled in fill(tuple(range(values.size)), levels):
        order = np.empty(values.size, dtype=np.int64)
        for places, rows in zip(levels, filled, strict=True):
            order[places] = rows
        yield order


def _all_orders(values: NDArray[np.int64], blocks: list[NDArray[np.int64]], total: int) -> NDArray[np.int64]:
    """Every distinct order within strata, the identity first; shape (total, n)."""
    order = np.tile(np.arange(values.size), (total, 1))
    per_block = [[rows[own] for own in _arrangements(values[rows])] for rows in blocks]
    for line, choice in zip(order, itertools.product(*per_block), strict=True):
        for rows, taken in zip(blocks, choice, strict=True):
            line[rows] = taken
    return order


def _draw(blocks: list[NDArray[np.int64]], n_permutations: int, seed: int) -> NDArray[np.int64]:
    """The identity and random orders within strata; shape (n_permutations + 1, n)."""
    rng = np.random.default_rng(seed)
    n = sum(rows.size for rows in blocks)
    order = np.tile(np.arange(n), (n_permutations + 1, 1))
    for rows in blocks:
        order[1:, rows] = rng.permuted(np.tile(rows, (n_permutations, 1)), axis=1)
    return order
