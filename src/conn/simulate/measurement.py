"""What a scan of finite length makes of a true Fisher z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.simulate.jobs import POPULATION, stream
from conn.simulate.latent import Latent
from conn.simulate.motion import draw_motion
from conn.simulate.results import autocorrelated, cleaning
from conn.simulate.signal import band_limited
from conn.simulate.spec import CohortSpec

Array = NDArray[np.float64]

_SCANS, _PAIRS = 24, 400
"""Confounds drawn, and pairs of regions cleaned of each."""

FEWEST = 4
"""Degrees of freedom that z has a variance with."""


@dataclass(frozen=True)
class Measurement:
    """Measured z of an edge is `offset` + `gain` true z + noise.

    Attributes
    ----------
    offset, gain
        Near 0 and 1: the truth is planted as it is measured on average.
    noise_sd
        Standard deviation of the noise: the scan is short.
    """

    offset: float
    gain: float
    noise_sd: float

    def reliability(self, true_sd: float) -> float:
        """Share of the variance of measured z that is true, when true z has this standard deviation."""
        signal = (self.gain * true_sd) ** 2
        return signal / (signal + self.noise_sd**2)


def measure(spec: CohortSpec, latent: Latent, edge: int, true: Array) -> Measurement:
    """Find out by simulated scans what an edge looks like.

    Parameters
    ----------
    spec
        The trial.
    latent
        For the noise of the regions.
    edge
        Which planted edge.
    true
        ndarray of shape (n,): true z as they occur, at least 2 different ones.

    Returns
    -------
    Measurement
        From 9,600 pairs of time courses with a seed of its own.

    Raises
    ------
    ConfigError
        Cleaning leaves nothing of scans this short.
    """
    rng = stream(0, POPULATION, edge, 100)
    planted = rng.choice(true, (_SCANS, _PAIRS))
    a, b = latent.ends[edge]
    wanted = np.tanh(planted) / np.sqrt(latent.reliability[a] * latent.reliability[b])
    found = np.stack([_scan(rng, spec, row, latent.roi_noise_sd[[a, b]]) for row in np.clip(wanted, -1, 1)])
    gain, offset = np.polyfit(planted.ravel(), found.ravel(), 1)
    return Measurement(float(offset), float(gain), float(np.std(found - offset - gain * planted)))


def _scan(rng: np.random.Generator, spec: CohortSpec, r: Array, noise_sd: Array) -> Array:
    """Fisher z of pairs of regions whose signals correlate with r; ndarray of shape (n_pairs,)."""
    basis = cleaning(rng, spec, draw_motion(rng, spec.volumes, spec.motion))
    if basis.shape[1] < FEWEST:
        raise ConfigError(
            f"volumes {spec.volumes}: cleaning leaves {basis.shape[1]} degrees of freedom, below {FEWEST}, "
            "so that no z can be measured; make runs longer"
        )
    first, fresh = band_limited(rng, 2 * r.size, spec.volumes, spec.tr, spec.signal.band_hz).reshape(
        2, r.size, -1
    )
    second = r[:, None] * first + np.sqrt(1.0 - r**2)[:, None] * fresh
    cleaned = [
        (series + sd * autocorrelated(rng, spec, r.size)) @ basis
        for series, sd in zip((first, second), noise_sd, strict=True)
    ]
    product = (cleaned[0] * cleaned[1]).sum(axis=1)
    z: Array = np.arctanh(product / np.prod([np.linalg.norm(part, axis=1) for part in cleaned], axis=0))
    return z
