"""Threshold-free cluster enhancement over any graph, exactly.

The features of a map or a matrix are the nodes of a graph; neighbours are joined. A feature's score is the
integral over all heights h up to its own value of extent(h)^E h^H dh, where extent(h) is the size of the
connected set above h that holds it. Extents change only where a feature enters or two sets meet, so the
integral is a finite sum, and no step has to be chosen: features enter in descending order of value, and a
union-find structure keeps the size of each set, what its members have gathered, and the best of them.

In a lattice most neighbours of a voxel that are there already touch each other, so that they are in one set.
Bits tell which are there and in how many pieces they fall (`conn.grid`), and only one voxel of each piece is
asked for its set; nearly all voxels just join one, and there are only as many sets as local maxima.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.graph import Floats, Graph, Ints, checked, each, root_of
from conn.grid import TO_CENTRE, WORD, Grid, around, beyond, enter, piece
from conn.order import Words, descending
from conn.sets import BEST, OWN, SINCE, SIZE, ended, gathered_by, grown, met


@dataclass(frozen=True, eq=False)
class Tfce:
    """Threshold-free cluster enhancement over a graph.

    Attributes
    ----------
    graph
        Which features are neighbours.
    extent_power, height_power
        E and H; 0.5 and 2 for voxels (Smith and Nichols 2009), 0.4 and 3 for edges (Baggio 2018).
    threads
        Maps that are enhanced at the same time; results do not depend on it.

    References
    ----------
    Smith and Nichols 2009, 10.1016/j.neuroimage.2008.03.061; Baggio et al. 2018, 10.1002/hbm.24007.
    """

    graph: Graph
    extent_power: float = 0.5
    height_power: float = 2.0
    threads: int = 1

    def __post_init__(self) -> None:
        if not (self.extent_power >= 0 and self.height_power > -1):
            raise DesignError(
                f"E is {self.extent_power} and H is {self.height_power}; E must be at least 0 and H above -1"
            )

    def scores(self, values: ArrayLike) -> Floats:
        """The score of every feature, with the sign of its value.

        Parameters
        ----------
        values
            array of shape (n,): a statistic whose size is comparable over features; NaN takes no part.

        Returns
        -------
        ndarray of shape (n,)
            Positive and negative values are enhanced apart.
        """
        given = checked(values, self.graph)
        found = np.zeros(given.size)
        for sign in (1, -1):
            names, gathered = self._entering(given, sign)
            # What is below rounding of the sums is never on the wrong side of 0.
            found[self._features(names)] = sign * np.maximum(self._scores(names, gathered), 0)
        return found

    def maxima(self, values: ArrayLike) -> Floats:
        """The largest absolute score of each of several maps.

        Parameters
        ----------
        values
            array of shape (n_maps, n); float32 is not turned into float64, scores are gathered in float64.

        Returns
        -------
        ndarray of shape (n_maps,)
        """
        given = np.ascontiguousarray(np.atleast_2d(np.asarray(values)))
        return each(given, self._maximum, self.threads)

    def _maximum(self, one: NDArray[Any]) -> float:
        best = 0.0
        for sign in (1, -1):
            names, gathered = self._entering(one, sign)
            grid = self.graph.grid
            if grid is not None:
                best = max(best, _lattice_maximum(names, gathered, self._powers, grid))
            else:
                best = max(
                    best, _maximum(names, gathered, self._powers, self.graph.starts, *self.graph.links)
                )
        return best

    def _scores(self, names: Words, gathered: Floats) -> Floats:
        grid = self.graph.grid
        if grid is not None:
            return _lattice_scores(names, gathered, self._powers, grid)
        return _scores(names, gathered, self._powers, self.graph.starts, *self.graph.links)

    def _entering(self, values: NDArray[Any], sign: int) -> tuple[Words, Floats]:
        """What enters, highest first, and the integral of h^H up to the height of each."""
        names, heights = descending(values, self._names, sign)
        high = heights.astype(np.float64)
        if self.height_power == 2:
            return names, high * high * high / 3
        return names, high ** (self.height_power + 1) / (self.height_power + 1)

    def _features(self, names: Words) -> NDArray[np.intp]:
        return np.searchsorted(self._names, names)

    @cached_property
    def _names(self) -> Words:
        """What stands for each feature, ascending: its place in a grid, or its number."""
        grid = self.graph.grid
        return np.arange(self.graph.n, dtype=np.uint32) if grid is None else grid.places

    @cached_property
    def _powers(self) -> Floats:
        """extent^E of every possible extent."""
        return np.asarray(np.arange(self.graph.n + 1, dtype=np.float64) ** self.extent_power)


# ------------------------------------------------------------------------------------------- any graph

AHEAD = 24
"""How far ahead the links of a feature are touched, so that they are there when they are needed."""


@compiled
def _joined(
    order: Words,
    gathered: Floats,
    power: Floats,
    starts: Ints,
    links: NDArray[Any],
    relative: int,
    history: Ints,
    ahead: Floats,
) -> tuple[Ints, Floats, int, int]:
    """Let features enter in descending order and join the sets of their neighbours.

    `gathered` is the integral of h^H up to the height of each. `parent` leads to what stands for a set,
    `sets` holds what is known of it. Where `history` has room, it takes the pairs of sets that joined, in
    their order, and `ahead` what the members of the first had gathered more than those of the second; the
    third result is how many did. The last result says nothing; it is there so that touching links ahead of
    time is not optimised away (it takes a tenth off).
    """
    parent = np.full(starts.size - 1, -1, dtype=np.int32)
    sets = np.zeros((starts.size - 1, 4), dtype=np.float64)
    events, touched = 0, 0
    for k in range(order.size):
        feature = int(order[k])
        if links.size:
            touched ^= links[min(starts[order[min(k + AHEAD, order.size - 1)]], links.size - 1)]
        now = gathered[k]
        parent[feature], sets[feature, SIZE], sets[feature, SINCE] = feature, 1, now
        root = feature
        for link in range(starts[feature], starts[feature + 1]):
            near = feature * relative + links[link]
            if parent[near] < 0 or parent[near] == root:
                continue
            other = root_of(parent, near)
            parent[near] = other
            if other == root:
                continue
            grown(sets, other, now, power)
            joined, root, more = met(parent, sets, root, other)
            if history.size:
                history[events, 0], history[events, 1], ahead[events] = joined, root, more
                events += 1
        parent[feature] = root
    ended(parent, sets, power)
    return parent, sets, events, touched


@compiled
def _maximum(
    order: Words, gathered: Floats, power: Floats, starts: Ints, links: NDArray[Any], relative: int
) -> float:
    """The largest score of a map."""
    history, ahead = np.empty((0, 2), dtype=np.int32), np.empty(0, dtype=np.float64)
    parent, sets, _, _ = _joined(order, gathered, power, starts, links, relative, history, ahead)
    score = 0.0
    for k in range(order.size):
        feature = order[k]
        if parent[feature] == feature:
            score = max(score, sets[feature, OWN] + sets[feature, BEST])
    return score


@compiled
def _scores(
    order: Words, gathered: Floats, power: Floats, starts: Ints, links: NDArray[Any], relative: int
) -> Floats:
    """Scores of the features of a map that enter, in their order."""
    history, ahead = np.empty((order.size, 2), dtype=np.int32), np.empty(order.size, dtype=np.float64)
    parent, sets, events, _ = _joined(order, gathered, power, starts, links, relative, history, ahead)
    return gathered_by(parent, sets, history[:events], ahead)[order]


# ------------------------------------------------------------------------------------------- a lattice


@compiled
def _lattice_joined(
    places: Words,
    gathered: Floats,
    power: Floats,
    grid: Grid,
    history: Ints,
    ahead: Floats,
    member: Ints,
    before: Floats,
) -> tuple[Ints, Floats, int]:
    """As `_joined` for voxels of a grid: sets have numbers of their own, and a voxel that joins makes none.

    Where `member` has room, it takes the set that each voxel joined, and `before` what the members of that
    set had gathered without it. A voxel that joins never becomes the best of its set.
    """
    bitmap = np.zeros(grid.n_words, dtype=np.int64)
    label = np.empty(grid.n_cells, dtype=np.int32)
    parent = np.empty(places.size, dtype=np.int32)
    sets = np.empty((places.size, 4), dtype=np.float64)
    n, events = 0, 0
    for k in range(places.size):
        place, now = np.int64(places[k]), gathered[k]
        x = place & ((1 << grid.x_bits) - 1)
        y = (place >> grid.x_bits) & ((1 << grid.y_bits) - 1)
        z = place >> (grid.x_bits + grid.y_bits)
        cell = x + y * grid.nx + z * grid.plane
        first = grid.columns[x, 0] + grid.rows[y, 0] + z * WORD
        there = around(bitmap, first)
        enter(bitmap, first + TO_CENTRE, grid.columns[x, 1], grid.rows[y, 1])
        near, root = there & grid.near, -1
        while near:
            bit, bits = piece(there, near, grid.edges, grid.corners)
            near &= ~bits
            other = root_of(parent, label[cell + beyond(grid.offsets, bit)])
            if other == root:
                continue
            grown(sets, other, now, power)
            if root < 0:
                root = other
                continue
            joined, root, more = met(parent, sets, root, other)
            if history.size:
                history[events, 0], history[events, 1], ahead[events] = joined, root, more
                events += 1
        if root < 0:
            root = n
            parent[n], sets[n, SIZE], sets[n, SINCE], sets[n, OWN], sets[n, BEST] = n, 0, now, 0, 0
            n += 1
        sets[root, SIZE] += 1
        label[cell] = root
        if member.size:
            member[k], before[k] = root, sets[root, OWN]
    ended(parent[:n], sets, power)
    return parent[:n], sets[:n], events


@compiled
def _lattice_maximum(places: Words, gathered: Floats, power: Floats, grid: Grid) -> float:
    """The largest score of a map."""
    none, pairs, nothing = (
        np.empty(0, dtype=np.int32),
        np.empty((0, 2), dtype=np.int32),
        np.empty(0, dtype=np.float64),
    )
    parent, sets, _ = _lattice_joined(places, gathered, power, grid, pairs, nothing, none, nothing)
    score = 0.0
    for one in range(parent.size):
        if parent[one] == one:
            score = max(score, sets[one, OWN] + sets[one, BEST])
    return score


@compiled
def _lattice_scores(places: Words, gathered: Floats, power: Floats, grid: Grid) -> Floats:
    """Scores of the voxels of a map that enter, in their order."""
    n = places.size
    history, ahead = np.empty((n, 2), dtype=np.int32), np.empty(n, dtype=np.float64)
    member, before = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.float64)
    parent, sets, events = _lattice_joined(places, gathered, power, grid, history, ahead, member, before)
    return gathered_by(parent, sets, history[:events], ahead)[member] - before
