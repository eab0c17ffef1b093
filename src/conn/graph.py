"""Which features are neighbours: voxels of a mask, edges that share a region; and their connected sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.grid import Grid, grid_of

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
    grid
        Of a lattice: where its features stand. None: the links are all there is.
    """

    starts: Ints
    neighbours: Ints
    grid: Grid | None = None

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
    links = _graph(table[table >= 0], (table >= 0).sum(axis=1))
    return replace(links, grid=grid_of(at, STEPS[connectivity]))


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


def numbered(edges: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """Edges between names as pairs of numbers, for `shared_nodes`."""
    names = {name: i for i, name in enumerate(dict.fromkeys(name for pair in edges for name in pair))}
    return np.array([[names[a], names[b]] for a, b in edges], dtype=np.int64).reshape(-1, 2)


def _graph(neighbours: NDArray[Any], counts: NDArray[Any]) -> Graph:
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Graph(starts.astype(np.int32), neighbours.astype(np.int32))


def checked(values: ArrayLike, graph: Graph) -> Floats:
    """Values of all features of a graph, in double precision."""
    given = np.asarray(values, dtype=np.float64)
    if given.shape != (graph.n,):
        raise DesignError(f"values have shape {given.shape}; the graph has {graph.n} features")
    return given


def each(maps: NDArray[Any], function: Callable[[NDArray[Any]], float], threads: int) -> Floats:
    """One number of each map, several maps at the same time."""
    if threads < 2:
        return np.array([function(one) for one in maps])
    with ThreadPoolExecutor(threads) as pool:
        return np.array(list(pool.map(function, maps)))


@compiled
def root_of(parent: Ints, feature: int) -> int:
    """What stands for the set of a feature that is in one; features on the way are led closer to it."""
    other = int(parent[feature])
    while parent[other] != other:
        parent[feature] = parent[other]
        feature, other = other, int(parent[other])
    return other


@compiled
def sets_of(weight: Floats, starts: Ints, neighbours: Ints) -> Ints:
    """What stands for the connected set of each feature with a positive weight; -1 elsewhere."""
    n = weight.size
    parent = np.full(n, -1, dtype=np.int32)
    for feature in range(n):
        if weight[feature] <= 0:
            continue
        parent[feature] = feature
        root = feature
        for link in range(starts[feature], starts[feature + 1]):
            if neighbours[link] < feature and parent[neighbours[link]] >= 0:
                other = root_of(parent, neighbours[link])
                if other != root:
                    parent[max(other, root)] = min(other, root)
                    root = min(other, root)
    for feature in range(n):
        if parent[feature] >= 0:
            parent[feature] = root_of(parent, feature)
    return parent
