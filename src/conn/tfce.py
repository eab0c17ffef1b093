"""Threshold-free cluster enhancement and suprathreshold clusters over any graph, exactly.

The features of a map or a matrix are the nodes of a graph; neighbours are joined. A feature's score is the
integral over all heights h up to its own value of extent(h)^E h^H dh, where extent(h) is the size of the
connected set above h that holds it. Extents change only where a feature enters or two sets meet, so the
integral is a finite sum, and no step has to be chosen: features enter in descending order of value, and a
union-find structure keeps the size of each set, what its members have gathered, and the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.compiled import compiled
from conn.errors import DesignError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

STEPS = {6: 1, 18: 2, 26: 3}
"""Neighbours of a voxel → in how many of the three axes they may differ."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Which features are neighbours.

    Attributes
    ----------
    starts : ndarray of shape (n + 1,), int32
        Neighbours of feature i are ``neighbours[starts[i]:starts[i + 1]]``.
    neighbours : ndarray of shape (n_links,), int32
        Every link is there in both directions.
    """

    starts: Ints
    neighbours: Ints

    @property
    def n(self) -> int:
        """Number of features."""
        return int(self.starts.size - 1)

    @cached_property
    def links(self) -> tuple[NDArray[Any], int]:
        """Neighbours as they are read, and 1 when they are relative to the feature itself.

        In a lattice they are near in number too: two bytes each instead of four, and half the memory to read.
        """
        far = self.neighbours - np.repeat(np.arange(self.n), np.diff(self.starts))
        if np.abs(far).max(initial=0) < 2**15:
            return far.astype(np.int16), 1
        return self.neighbours, 0


def lattice(mask: ArrayLike, connectivity: Literal[6, 18, 26] = 26) -> Graph:
    """The graph of the voxels of a mask.

    Parameters
    ----------
    mask
        array of shape (nx, ny, nz): voxels that are features, in the order of their flat indices with the
        first axis fastest.
    connectivity
        6 (faces), 18 (and edges) or 26 (and corners).

    Returns
    -------
    Graph

    Raises
    ------
    DesignError
        Another connectivity, or no volume.
    """
    inside = np.asarray(mask, dtype=bool)
    if connectivity not in STEPS or inside.ndim != 3:
        raise DesignError(
            f"connectivity is {connectivity} and the mask has shape {inside.shape}; 6, 18 or 26 and a volume "
            "are needed"
        )
    place = np.full(tuple(n + 2 for n in inside.shape), -1, dtype=np.int32)
    order = np.flatnonzero(inside.ravel(order="F"))
    at = np.stack(np.unravel_index(order, inside.shape, order="F"))
    place[tuple(at + 1)] = np.arange(order.size)
    found = [
        place[tuple(at + 1 + step[:, None])]
        for step in np.argwhere(np.ones((3, 3, 3))) - 1
        if 0 < np.abs(step).sum() <= STEPS[connectivity]
    ]
    table = np.stack(found, axis=1)
    return _graph(table[table >= 0], (table >= 0).sum(axis=1))


def shared_nodes(edges: ArrayLike) -> Graph:
    """The graph of edges between regions: two edges are neighbours when they share a region.

    Parameters
    ----------
    edges
        int array of shape (n, 2): the regions of each edge.

    Returns
    -------
    Graph
    """
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    touching = (pairs[:, None, :, None] == pairs[None, :, None, :]).any(axis=(2, 3))
    np.fill_diagonal(touching, False)
    return _graph(np.nonzero(touching)[1], touching.sum(axis=1))


def _graph(neighbours: NDArray[Any], counts: NDArray[Any]) -> Graph:
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Graph(starts.astype(np.int32), neighbours.astype(np.int32))


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
        given = _checked(values, self.graph)
        power = self._extents()
        found = np.zeros(given.size)
        for sign in (1.0, -1.0):
            height = np.nan_to_num(sign * given, nan=0.0)
            order = _descending(height)
            gathered, (links, relative) = self._gathered(height), self.graph.links
            found += sign * _scores(order, gathered, power, self.graph.starts, links, relative)
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
        given = np.atleast_2d(np.asarray(values))
        power = self._extents()
        return _each(given, lambda one: self._maximum(one, power), self.threads)

    def _maximum(self, one: NDArray[Any], power: Floats) -> float:
        best = 0.0
        for sign in (1, -1):
            height = one * one.dtype.type(sign)
            order = _descending(height)
            gathered, (links, relative) = self._gathered(height), self.graph.links
            best = max(best, _maximum(order, gathered, power, self.graph.starts, links, relative))
        return best

    def _extents(self) -> Floats:
        """extent^E of every possible extent."""
        return np.arange(self.graph.n + 1, dtype=np.float64) ** self.extent_power

    def _gathered(self, height: NDArray[Any]) -> Floats:
        """Integral of h^H up to each height."""
        positive = np.maximum(np.nan_to_num(height, nan=0.0), 0).astype(np.float64)
        if self.height_power == 2:
            return np.asarray(positive * positive * positive / 3)
        return np.asarray(positive ** (self.height_power + 1) / (self.height_power + 1))


@dataclass(frozen=True, eq=False)
class Clusters:
    """Extent or mass of the connected sets above a threshold.

    Attributes
    ----------
    graph
        Which features are neighbours.
    threshold
        Of the absolute statistic; above 0.
    kind
        ``extent`` (number of features) or ``mass`` (sum of what exceeds the threshold).
    threads
        See `Tfce`.

    References
    ----------
    Bullmore et al. 1999, 10.1109/42.750253; for edges Zalesky et al. 2010, 10.1016/j.neuroimage.2010.06.041.
    """

    graph: Graph
    threshold: float
    kind: Literal["extent", "mass"] = "mass"
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise DesignError(f"the cluster-forming threshold is {self.threshold}; it must be above 0")

    def scores(self, values: ArrayLike) -> Floats:
        """Extent or mass of the set that each feature belongs to, with its sign; 0 below the threshold."""
        given = _checked(values, self.graph)
        found = np.zeros(given.size)
        for sign in (1.0, -1.0):
            excess = np.nan_to_num(sign * given, nan=0.0) - self.threshold
            weight = np.where(excess > 0, 1.0 if self.kind == "extent" else excess, 0.0)
            found += sign * _sums(weight, self.graph.starts, self.graph.neighbours)
        return found

    def maxima(self, values: ArrayLike) -> Floats:
        """The largest extent or mass of each of several maps; array of shape (n_maps, n) to (n_maps,)."""
        given = np.atleast_2d(np.asarray(values))
        return _each(given, lambda one: float(np.abs(self.scores(one)).max(initial=0.0)), self.threads)

    def labels(self, values: ArrayLike) -> NDArray[np.int64]:
        """Number of the set that each feature belongs to, from 1, 0 below the threshold; signs apart."""
        given = _checked(values, self.graph)
        numbers = np.zeros(given.size, dtype=np.int64)
        for sign in (1.0, -1.0):
            above = (np.nan_to_num(sign * given, nan=0.0) > self.threshold).astype(np.float64)
            root = _roots(above, self.graph.starts, self.graph.neighbours)
            inside = above > 0
            numbers[inside] = numbers.max() + 1 + np.unique(root[inside], return_inverse=True)[1]
        return numbers


def _checked(values: ArrayLike, graph: Graph) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    if given.shape != (graph.n,):
        raise DesignError(f"values have shape {given.shape}; the graph has {graph.n} features")
    return given


def _each(maps: NDArray[Any], function: Callable[[NDArray[Any]], float], threads: int) -> Floats:
    if threads < 2:
        return np.array([function(one) for one in maps])
    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(function, maps)))


def _descending(height: NDArray[Any]) -> Ints:
    """Features above 0 by descending height; equal ones in any fixed order."""
    positive = np.flatnonzero(height > 0).astype(np.int32)
    if height.dtype == np.float32:
        return _radix(height, positive)
    return positive[np.argsort(-height[positive], kind="stable")]


@compiled
def _radix_sorted(keys: NDArray[np.uint32], items: Ints) -> Ints:
    """Items by descending key: three passes of eleven bits."""
    n = keys.size
    other_keys, other_items = np.empty_like(keys), np.empty_like(items)
    for shift in (0, 11, 22):
        counts = np.zeros(2049, dtype=np.int64)
        for i in range(n):
            counts[2047 - ((keys[i] >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        for digit in range(2048):
            counts[digit + 1] += counts[digit]
        for i in range(n):
            digit = 2047 - ((keys[i] >> np.uint32(shift)) & np.uint32(2047))
            place = counts[digit]
            counts[digit] += 1
            other_keys[place] = keys[i]
            other_items[place] = items[i]
        keys, other_keys = other_keys, keys
        items, other_items = other_items, items
    return items


def _radix(height: NDArray[np.float32], positive: Ints) -> Ints:
    """The bits of positive floats are ordered as they are."""
    return _radix_sorted(height[positive].view(np.uint32), positive)


@compiled
def _find(parent: Ints, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


AHEAD = 24
"""How far ahead the links of a feature are touched, so that they are there when they are needed."""

SIZE, SINCE, OWN, BEST = 0, 1, 2, 3
"""What is known of a connected set: its size; what the integral was when it got that size; what every member
has gathered since it belongs to the set; and what the best member had gathered before, beyond that."""


@compiled
def _root(parent: Ints, node: int) -> int:
    """The set of a feature that is in one; features on the way are led closer to it."""
    other = int(parent[node])
    while parent[other] != other:
        parent[node] = parent[other]
        node, other = other, int(parent[other])
    return other


@compiled
def _grown(sets: Floats, one: int, now: float, power: Floats) -> None:
    """Let the members of a set gather what there is down to a height."""
    if sets[one, SINCE] > now:
        sets[one, OWN] += power[int(sets[one, SIZE])] * (sets[one, SINCE] - now)
        sets[one, SINCE] = now


@compiled
def _maximum(
    order: Ints, gathered: Floats, power: Floats, starts: Ints, links: NDArray[Any], relative: int
) -> float:
    """The largest score of a map; `gathered` is the integral of h^H up to each height."""
    parent = np.full(starts.size - 1, -1, dtype=np.int32)
    sets = np.zeros((starts.size - 1, 4), dtype=np.float64)
    touched = 0
    for k in range(order.size):
        voxel = order[k]
        touched ^= links[starts[order[min(k + AHEAD, order.size - 1)]]] if links.size else 0
        now = gathered[voxel]
        parent[voxel], sets[voxel, SIZE], sets[voxel, SINCE] = voxel, 1, now
        root = voxel
        for link in range(starts[voxel], starts[voxel + 1]):
            near = voxel * relative + links[link]
            if parent[near] < 0 or parent[near] == root:
                continue
            other = _root(parent, near)
            parent[near] = other
            if other == root:
                continue
            _grown(sets, other, now, power)
            if sets[root, SIZE] > sets[other, SIZE]:
                root, other = other, root
            # The smaller set joins the larger one.
            parent[root] = other
            sets[other, SIZE] += sets[root, SIZE]
            sets[other, BEST] = max(sets[other, BEST], sets[root, OWN] - sets[other, OWN] + sets[root, BEST])
            root = other
        parent[voxel] = root
    score = 0.0
    for k in range(order.size):
        voxel = order[k]
        if parent[voxel] == voxel:
            rest = power[int(sets[voxel, SIZE])] * sets[voxel, SINCE]
            score = max(score, sets[voxel, OWN] + rest + sets[voxel, BEST])
    return score if touched != -1 else score + 0.0  # so that the touching is not optimised away


@compiled
def _scores(
    order: Ints, gathered: Floats, power: Floats, starts: Ints, links: NDArray[Any], relative: int
) -> Floats:
    """Scores of all features of a map; those that are not in `order` have none."""
    n = starts.size - 1
    parent = np.full(n, -1, dtype=np.int32)
    sets = np.zeros((n, 4), dtype=np.float64)
    joined = np.full(n, -1, dtype=np.int32)  # the set that a set joined
    ahead = np.zeros(n, dtype=np.float64)  # what it had gathered more than that set when it joined
    history = np.empty(n, dtype=np.int32)
    events = 0
    for k in range(order.size):
        voxel = order[k]
        now = gathered[voxel]
        parent[voxel], sets[voxel, SIZE], sets[voxel, SINCE] = voxel, 1, now
        root = voxel
        for link in range(starts[voxel], starts[voxel + 1]):
            near = voxel * relative + links[link]
            if parent[near] < 0 or parent[near] == root:
                continue
            other = _root(parent, near)
            parent[near] = other
            if other == root:
                continue
            _grown(sets, other, now, power)
            if sets[root, SIZE] > sets[other, SIZE]:
                root, other = other, root
            parent[root] = other
            joined[root], ahead[root] = other, sets[root, OWN] - sets[other, OWN]
            history[events] = root
            events += 1
            sets[other, SIZE] += sets[root, SIZE]
            root = other
    score = np.zeros(n, dtype=np.float64)
    for k in range(order.size):
        voxel = order[k]
        if joined[voxel] < 0:
            score[voxel] = sets[voxel, OWN] + power[int(sets[voxel, SIZE])] * sets[voxel, SINCE]
    for event in range(events - 1, -1, -1):
        voxel = history[event]
        score[voxel] = ahead[voxel] + score[joined[voxel]]
    return score


@compiled
def _roots(weight: Floats, starts: Ints, neighbours: Ints) -> Ints:
    """The representative of the connected set of each feature with a positive weight; -1 elsewhere."""
    n = weight.size
    parent = np.full(n, -1, dtype=np.int32)
    for voxel in range(n):
        if weight[voxel] <= 0:
            continue
        parent[voxel] = voxel
        root = voxel
        for link in range(starts[voxel], starts[voxel + 1]):
            if neighbours[link] < voxel and parent[neighbours[link]] >= 0:
                other = _find(parent, neighbours[link])
                root = _find(parent, root)
                if other != root:
                    parent[max(other, root)] = min(other, root)
                    root = min(other, root)
    for voxel in range(n):
        if parent[voxel] >= 0:
            parent[voxel] = _find(parent, voxel)
    return parent


@compiled
def _sums(weight: Floats, starts: Ints, neighbours: Ints) -> Floats:
    """Sum of weights over the connected set of each feature."""
    root = _roots(weight, starts, neighbours)
    total = np.zeros(weight.size, dtype=np.float64)
    for voxel in range(weight.size):
        if root[voxel] >= 0:
            total[root[voxel]] += weight[voxel]
    found = np.zeros(weight.size, dtype=np.float64)
    for voxel in range(weight.size):
        if root[voxel] >= 0:
            found[voxel] = total[root[voxel]]
    return found


def families(edges: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """Edges between names as pairs of numbers, for `shared_nodes`."""
    names = {name: i for i, name in enumerate(dict.fromkeys(name for pair in edges for name in pair))}
    return np.array([[names[a], names[b]] for a, b in edges], dtype=np.int64).reshape(-1, 2)
