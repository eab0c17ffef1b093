"""The population that people are drawn from: large draws, for moments that no formula gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.simulate.edges import true_z
from conn.simulate.jobs import ASSIGNMENT, POPULATION, stream
from conn.simulate.scores import draw_normals, scored, shift_by, tie
from conn.simulate.spec import CohortSpec, arm_shares

Array = NDArray[np.float64]

SIZE = 200_000
"""People of an arm in a large draw; its seed is its own and always the same."""

_SCANS = 2


@dataclass(frozen=True)
class ExpectedChange:
    """Change of the first score in the population, all arms together and by arm (mean, SD)."""

    mean: float
    spread: float
    by_arm: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Population:
    """Many people of one arm, at the first session and at a later one.

    Attributes
    ----------
    arm
        The arm.
    z : ndarray of shape (n_people, 2, n_edges)
        True Fisher z of the planted edges, without artefacts of motion.
    scores
        By scale: ndarray of shape (n_people, 2).
    """

    arm: str
    z: Array
    scores: Mapping[str, Array]


def expected_change(spec: CohortSpec) -> ExpectedChange:
    """Moments of the change of the first score after rounding and clipping, by a large draw."""
    by_arm = {}
    for arm in spec.arms:
        drawn = draw_population(spec, arm, edges=bool(spec.score.links), further=False).scores
        change = drawn[spec.score.name][:, 1] - drawn[spec.score.name][:, 0]
        by_arm[arm] = (float(change.mean()), float(change.std()))
    means = np.array([mean for mean, _ in by_arm.values()])
    variances = np.array([sd**2 for _, sd in by_arm.values()])
    shares = arm_shares(spec, spec.arms)
    overall = float(shares @ means)
    return ExpectedChange(overall, float(np.sqrt(shares @ (variances + (means - overall) ** 2))), by_arm)


def draw_population(
    spec: CohortSpec,
    arm: str,
    size: int = SIZE,
    mean_change: float | None = None,
    edges: bool = True,
    further: bool = True,
) -> Population:
    """Draw many people of one arm.

    Parameters
    ----------
    spec
        The trial.
    arm
        The arm.
    size
        People.
    mean_change
        Mean change of the first score in all arms; None: edges do not follow the score.
    edges, further
        Whether edges, and other scales than the first, are needed.
    """
    number = spec.arms.index(arm)
    planted = spec.edges if edges else ()
    rng = stream(0, POPULATION, number, 0)
    own = rng.standard_normal((size, len(planted)))
    each = rng.standard_normal((size, _SCANS, len(planted)))
    z = true_z(planted, arm, own, each, np.zeros((size, _SCANS)))
    first = draw_normals(stream(0, ASSIGNMENT, number), _SCANS, size, stream(0, POPULATION, number, 1))
    scores = {}
    for place, score in enumerate(spec.scores if further else spec.scores[:1]):
        own_rng = stream(0, POPULATION, number, 1 + place)
        normals = tie(draw_normals(own_rng, _SCANS, size, own_rng), first, score.tied) if place else first
        shift = shift_by(score, planted, arm, z) if planted else 0.0
        scores[score.name] = scored(score, arm, normals, shift).astype(float)
    if mean_change is not None:
        change = scores[spec.score.name] - scores[spec.score.name][:, :1] - mean_change
        z = true_z(planted, arm, own, each, change)
    return Population(arm, z, scores)
