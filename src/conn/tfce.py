"""Threshold-free cluster enhancement over any graph, exactly.

The features of a map or a matrix are the nodes of a graph; neighbours are joined. A feature's score is the
integral over all heights h up to its own value of extent(h)^E h^H dh, where extent(h) is the size of the
connected set above h that holds it. Extents change only where a feature enters or two sets meet, so the
integral is a finite sum, and no step has to be chosen: features enter in descending order of value, and a
union-find structure keeps the size of each set, what its members have gathered, and the best of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.graph import Floats, Graph, Ints, checked, each, root_of

AHEAD = 24
"""How far ahead the links of a feature are touched, so that they are there when they are needed."""

SIZE, SINCE, OWN, BEST = 0, 1, 2, 3
"""What is known of a connected set: its size; what the integral was when it got that size; what every member
has gathered since it belongs to the set; and what the best member had gathered before, beyond that."""


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
        return each(given, lambda one: self._maximum(one, power), self.threads)

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
def _grown(sets: Floats, one: int, now: float, power: Floats) -> None:
    """Let the members of a set gather what there is down to a height."""
    if sets[one, SINCE] > now:
        sets[one, OWN] += power[int(sets[one, SIZE])] * (sets[one, SINCE] - now)
        sets[one, SINCE] = now


@compiled
def _joined(
    order: Ints,
    gathered: Floats,
    power: Floats,
    starts: Ints,
    links: NDArray[Any],
    relative: int,
    history: Ints,
    ahead: Floats,
) -> tuple[Ints, Floats, int]:
    """Let features enter in descending order and join the sets of their neighbours.

    `gathered` is the integral of h^H up to each height. `parent` leads to what stands for a set, `sets` holds
    what is known of it. Where `history` has room, it takes the pairs of sets that joined, in their order, and
    `ahead` what the members of the first had gathered more than those of the second. The last result says
    nothing; it is there so that touching links ahead of time is not optimised away (it takes a tenth off).
    """
    parent = np.full(starts.size - 1, -1, dtype=np.int32)
    sets = np.zeros((starts.size - 1, 4), dtype=np.float64)
    events, touched = 0, 0
    for k in range(order.size):
        feature = order[k]
        if links.size:
            touched ^= links[min(starts[order[min(k + AHEAD, order.size - 1)]], links.size - 1)]
        now = gathered[feature]
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
            _grown(sets, other, now, power)
            if sets[root, SIZE] > sets[other, SIZE]:
                root, other = other, root
            # The smaller set joins the larger one.
            parent[root] = other
            sets[other, SIZE] += sets[root, SIZE]
            more = sets[root, OWN] - sets[other, OWN]
            sets[other, BEST] = max(sets[other, BEST], more + sets[root, BEST])
            if history.size:
                history[events, 0], history[events, 1], ahead[events] = root, other, more
                events += 1
            root = other
        parent[feature] = root
    for k in range(order.size):
        if parent[order[k]] == order[k]:
            _grown(sets, order[k], 0.0, power)
    return parent, sets, touched


@compiled
def _maximum(
    order: Ints, gathered: Floats, power: Floats, starts: Ints, links: NDArray[Any], relative: int
) -> float:
    """The largest score of a map."""
    history, ahead = np.empty((0, 2), dtype=np.int32), np.empty(0, dtype=np.float64)
    parent, sets, _ = _joined(order, gathered, power, starts, links, relative, history, ahead)
    score = 0.0
    for k in range(order.size):
        feature = order[k]
        if parent[feature] == feature:
            score = max(score, sets[feature, OWN] + sets[feature, BEST])
    return score


@compiled
def _scores(
    order: Ints, gathered: Floats, power: Floats, starts: Ints, links: NDArray[Any], relative: int
) -> Floats:
    """Scores of all features of a map; those that are not in `order` have none."""
    history, ahead = np.full((order.size, 2), -1, dtype=np.int32), np.zeros(order.size, dtype=np.float64)
    parent, sets, _ = _joined(order, gathered, power, starts, links, relative, history, ahead)
    score = np.zeros(starts.size - 1, dtype=np.float64)
    for k in range(order.size):
        if parent[order[k]] == order[k]:
            score[order[k]] = sets[order[k], OWN]
    # A set that joined another gathers what that one gathers from then on; the last to join comes first.
    for event in range(order.size - 1, -1, -1):
        if history[event, 0] >= 0:
            score[history[event, 0]] = ahead[event] + score[history[event, 1]]
    return score
