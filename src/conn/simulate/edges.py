"""Planted edges: their true Fisher z in every scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PlantedEdge:
    """An edge whose Fisher z is under control.

    At the first session z is `baseline_z` plus a person's own deviation. At every later session comes a
    change: `delta_z` of the person's arm, `slope` times how far the person's change of score is from the
    mean of all arms, and a deviation of that scan. All this is what is measured after cleaning, not what
    goes in: noise in the regions is allowed for.

    Attributes
    ----------
    roi_a, roi_b
        Labels.
    baseline_z
        Population mean at the first session.
    delta_z
        Mean change by arm; an arm that is not named has none.
    slope
        Change of z per point of change of the first score.
    person_sd, change_sd
        Standard deviation between people of the first z, and of the change beyond arm and slope.
    sized_for
        Names of the models that the effect is large enough to be found by; others see part of it.
    persistence
        Share of a person's own deviation that later sessions still have; with 0 nothing of it is left, so
        that whatever it went with at the first session is gone.
    fd_slope
        Artefact of motion: z that a scan has too much for each mm of mean framewise displacement beyond
        that of an ordinary scan. Only in a trial with `CohortSpec.restless`.
    """

    roi_a: str
    roi_b: str
    baseline_z: float = 0.0
    delta_z: Mapping[str, float] = field(default_factory=dict)
    slope: float = 0.0
    person_sd: float = 0.15
    change_sd: float = 0.15
    sized_for: tuple[str, ...] = ()
    persistence: float = 1.0
    fd_slope: float = 0.0

    def joins(self, roi_a: str, roi_b: str) -> bool:
        """Whether these are its regions, in either order."""
        return {roi_a, roi_b} == {self.roi_a, self.roi_b}


def place_of(edges: Sequence[PlantedEdge], roi_a: str, roi_b: str) -> int:
    """Which of the planted edges joins two regions.

    Raises
    ------
    ConfigError
        None does.
    """
    for number, edge in enumerate(edges):
        if edge.joins(roi_a, roi_b):
            return number
    known = ", ".join(f"{edge.roi_a}-{edge.roi_b}" for edge in edges) or "none"
    raise ConfigError(
        f"{roi_a}-{roi_b} is no planted edge; planted: {known}. Plant it, or name another edge."
    )


def true_z(edges: Sequence[PlantedEdge], arm: str, own: Array, each: Array, pull: Array) -> Array:
    """Fisher z of people of one arm, without artefacts of motion.

    Parameters
    ----------
    edges
        Planted edges.
    arm
        Decides the mean change.
    own
        ndarray of shape (n_people, n_edges), standard normal: a person's own deviation.
    each
        ndarray of shape (n_people, n_sessions, n_edges), standard normal: of each later scan.
    pull
        ndarray of shape (n_people, n_sessions): how far the change of the first score is from the mean of
        all arms.

    Returns
    -------
    ndarray of shape (n_people, n_sessions, n_edges)
    """
    z = np.empty(each.shape)
    for e, edge in enumerate(edges):
        deviation = edge.person_sd * own[:, e]
        z[:, 0, e] = edge.baseline_z + deviation
        lasting = edge.baseline_z + edge.persistence * deviation
        change = edge.delta_z.get(arm, 0.0) + edge.slope * pull[:, 1:]
        z[:, 1:, e] = lasting[:, None] + (change + edge.change_sd * each[:, 1:, e])
    return z
