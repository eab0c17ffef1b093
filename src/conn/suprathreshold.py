"""Connected sets above a threshold over any graph: their extent or mass as the score of each feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conn.compiled import compiled
from conn.errors import DesignError
from conn.graph import Floats, Graph, Ints, checked, each, sets_of


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
        Maps that are looked at at the same time; results do not depend on it.

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
        given = checked(values, self.graph)
        found = np.zeros(given.size)
        for sign in (1.0, -1.0):
            excess = np.nan_to_num(sign * given, nan=0.0) - self.threshold
            weight = np.where(excess > 0, 1.0 if self.kind == "extent" else excess, 0.0)
            found += sign * _sums(weight, self.graph.starts, self.graph.neighbours)
        return found

    def maxima(self, values: ArrayLike) -> Floats:
        """The largest extent or mass of each of several maps; array of shape (n_maps, n) to (n_maps,)."""
        given = np.atleast_2d(np.asarray(values))
        return each(given, lambda one: float(np.abs(self.scores(one)).max(initial=0.0)), self.threads)

    def labels(self, values: ArrayLike) -> NDArray[np.int64]:
        """Number of the set that each feature belongs to, from 1, 0 below the threshold; signs apart."""
        given = checked(values, self.graph)
        numbers = np.zeros(given.size, dtype=np.int64)
        for sign in (1.0, -1.0):
            above = (np.nan_to_num(sign * given, nan=0.0) > self.threshold).astype(np.float64)
            root = sets_of(above, self.graph.starts, self.graph.neighbours)
            inside = above > 0
            numbers[inside] = numbers.max() + 1 + np.unique(root[inside], return_inverse=True)[1]
        return numbers


@compiled
def _sums(weight: Floats, starts: Ints, neighbours: Ints) -> Floats:
    """Sum of weights over the connected set of each feature."""
    root = sets_of(weight, starts, neighbours)
    total = np.zeros(weight.size, dtype=np.float64)
    for feature in range(weight.size):
        if root[feature] >= 0:
            total[root[feature]] += weight[feature]
    found = np.zeros(weight.size, dtype=np.float64)
    for feature in range(weight.size):
        if root[feature] >= 0:
            found[feature] = total[root[feature]]
    return found
