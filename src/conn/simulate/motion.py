"""Heads that move: six parameters per volume, and what fMRIPrep makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

PARAMETERS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_HEAD_RADIUS_MM = 50.0
_UNIT = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])


@dataclass(frozen=True)
class Motion:
    """How much a head moves.

    `step_mm` is the standard deviation of the random walk per volume (rotations move the surface of the
    head half as far), `spikes` the expected number of jerks in 100 volumes, `spike_mm` their mean size.
    """

    step_mm: float = 0.02
    spikes: float = 3.0
    spike_mm: float = 0.5


HIGH = Motion(step_mm=0.12, spikes=60.0, spike_mm=1.0)
"""A run that censoring at 0.5 mm leaves too little of."""


@dataclass(frozen=True)
class Restless:
    """An arm that moves more after the first session, as people do on an activating drug.

    Attributes
    ----------
    arm
        The arm.
    motion
        How it moves at later sessions; all other scans move as `CohortSpec.motion` says.
    spread
        Standard deviation of the log of a factor by which each scan, of whatever arm, moves more or less
        than that; the factor is 1 on average.
    """

    arm: str
    motion: Motion = Motion(step_mm=0.035, spikes=8.0, spike_mm=0.6)
    spread: float = 0.4


def varied(rng: np.random.Generator, motion: Motion, spread: float) -> Motion:
    """Motion times a log-normal factor of mean 1 that steps and the number of jerks have in common."""
    factor = float(np.exp(spread * rng.standard_normal() - spread**2 / 2))
    return replace(motion, step_mm=factor * motion.step_mm, spikes=factor * motion.spikes)


def expected_displacement(motion: Motion) -> float:
    """Mean framewise displacement in mm of an endless run, jerks apart from each other."""
    walk = motion.step_mm * np.sqrt(2.0 / np.pi) * float(np.sum(_UNIT))
    return float(walk + 2.0 * motion.spikes / 100.0 * motion.spike_mm)


def draw_motion(rng: np.random.Generator, n_volumes: int, motion: Motion) -> NDArray[np.float64]:
    """Motion parameters.

    Parameters
    ----------
    rng
        Source of random numbers.
    n_volumes
        Length of the run.
    motion
        How much.

    Returns
    -------
    ndarray of shape (n_volumes, 6)
        Translations in mm, rotations in radians: a random walk, and jerks after which the head is back at
        the next volume.
    """
    walk = np.cumsum(rng.standard_normal((n_volumes, 6)) * motion.step_mm * _UNIT, axis=0)
    walk -= walk[0]
    jerk = rng.random(n_volumes) < motion.spikes / 100.0
    jerk[0] = False
    direction = rng.standard_normal((n_volumes, 6)) * _UNIT
    direction /= np.abs(direction).sum(axis=1, keepdims=True)
    size = rng.gamma(4.0, motion.spike_mm / 4.0, n_volumes)
    parameters: NDArray[np.float64] = walk + direction * (size * jerk)[:, None]
    parameters[:, 3:] /= _HEAD_RADIUS_MM
    return parameters


def framewise_displacement(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement between volumes in mm (Power 2012, 10.1016/j.neuroimage.2011.10.018).

    Parameters
    ----------
    parameters
        ndarray of shape (n_volumes, 6), mm and radians.

    Returns
    -------
    ndarray of shape (n_volumes,)
        The first is NaN.
    """
    step = np.abs(np.diff(parameters, axis=0))
    moved = step[:, :3].sum(axis=1) + _HEAD_RADIUS_MM * step[:, 3:].sum(axis=1)
    return np.concatenate([[np.nan], moved])


def root_mean_square_displacement(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square displacement between volumes in mm, for small rotations; the first is NaN."""
    step = np.diff(parameters, axis=0)
    rotated = 2.0 * _HEAD_RADIUS_MM**2 / 5.0 * (step[:, 3:] ** 2).sum(axis=1)
    return np.concatenate([[np.nan], np.sqrt((step[:, :3] ** 2).sum(axis=1) + rotated)])
