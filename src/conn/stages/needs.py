"""What features need of a scan, and who lacks them: known from exclusions, before any matrix is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from conn.cohort import Person
from conn.exclusions import PARTIAL, Exclusion
from conn.stages.features import Scans
from conn.tables import MISSING

Bools = NDArray[np.bool_]
Gaps = Mapping[str, frozenset[str]]
"""What each run lacks: regions, maps and matrices as `exclusions.tsv` names them."""


@dataclass(frozen=True)
class Needs:
    """Features of an analysis, by what a scan must have for them.

    Attributes
    ----------
    every
        Regions all of whose pairs are features.
    sets
        Name of each other feature, and the regions or the map that it is made of.
    partial
        Whether they are taken from the matrix of partial correlations.
    """

    every: Sequence[str] = ()
    sets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    partial: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of all features, those of `every` first."""
        return (*(f"{a}-{b}" for a, b in combinations(self.every, 2)), *self.sets)

    def lacking(self, scans: Scans, people: Sequence[Person], points: Sequence[str], gaps: Gaps) -> Bools:
        """Who has a scan at one of the time points without a feature.

        Parameters
        ----------
        scans
            Who was scanned when.
        people
            One row each.
        points
            Time points.
        gaps
            What each run lacks.

        Returns
        -------
        ndarray of shape (n_people, n_features), bool
        """
        labels = [*self.every, *dict.fromkeys(label for one in self.sets.values() for label in one), PARTIAL]
        place = {label: i for i, label in enumerate(labels)}
        gone = np.zeros((len(people), len(labels)), dtype=bool)
        for row, person in enumerate(people):
            for label in _without(scans, person, points, gaps) & set(place):
                gone[row, place[label]] = True
        found = [gone[:, [place[a], place[b]]].any(axis=1) for a, b in combinations(self.every, 2)]
        found += [gone[:, [place[label] for label in own]].any(axis=1) for own in self.sets.values()]
        lacking = np.column_stack(found) if found else np.zeros((len(people), 0), dtype=bool)
        return lacking | gone[:, [place[PARTIAL]]] if self.partial else lacking


def _without(scans: Scans, person: Person, points: Sequence[str], gaps: Gaps) -> set[str]:
    """What a person lacks in any run at some time points."""
    runs = [run for point in points for run in scans.runs.get((person, point), ())]
    return {label for run in runs for label in gaps.get(run, ())}


def gaps_of(rows: Iterable[Exclusion]) -> dict[str, frozenset[str]]:
    """What each run lacks, from the rows of `exclusions.tsv`."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.roi != MISSING:
            found.setdefault(row.run, set()).add(row.roi)
    return {run: frozenset(labels) for run, labels in found.items()}
