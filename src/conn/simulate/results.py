"""Cohorts at result level: regional time courses without images, for power and bias of what comes after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conn.errors import ConfigError
from conn.projection import retained_basis
from conn.simulate.cohort import Prepared, loadings_of, mean_displacement, scan_signal
from conn.simulate.jobs import SCAN, stream
from conn.simulate.latent import ANALYSIS_BAND
from conn.simulate.motion import draw_motion
from conn.simulate.scores import responded
from conn.simulate.signal import band_limited
from conn.simulate.spec import CohortSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Results:
    """What the first level of an analysis would hand over, and the clinical tables.

    Attributes
    ----------
    labels
        Regions.
    sessions
        The first is the baseline.
    subjects, arm, age, sex, site
        One entry per person.
    z : ndarray of shape (n_subjects, n_sessions, n_rois, n_rois)
        Fisher z as measured; NaN on the diagonal and for scans that are missing.
    mean_fd : ndarray of shape (n_subjects, n_sessions)
        Mean framewise displacement in mm; NaN for scans that are missing.
    global_sd : ndarray of shape (n_subjects, n_sessions)
        Amplitude of the fluctuation of the whole brain, in units of an image whose CSF is about 1000. Images
        have it; the z here are made without it.
    scores
        By scale: ndarray of shape (n_subjects, n_sessions), NaN where not on record.
    response : ndarray of shape (n_subjects,)
        On the first scale, from the first to the last session: 1, 0, NaN when a score is not on record.
    """

    labels: tuple[str, ...]
    sessions: tuple[str, ...]
    subjects: tuple[str, ...]
    arm: NDArray[np.str_]
    age: Array
    sex: NDArray[np.str_]
    site: NDArray[np.str_]
    z: Array
    mean_fd: Array
    global_sd: Array
    scores: Mapping[str, Array]
    response: Array

    def edge(self, roi_a: str, roi_b: str) -> Array:
        """Fisher z of one edge.

        Returns
        -------
        ndarray of shape (n_subjects, n_sessions)

        Raises
        ------
        ConfigError
            No such region.
        """
        for label in (roi_a, roi_b):
            if label not in self.labels:
                raise ConfigError(f"no region {label!r}; simulated: {', '.join(self.labels)}")
        return self.z[:, :, self.labels.index(roi_a), self.labels.index(roi_b)]


def simulate_results(spec: CohortSpec, prepared: Prepared) -> Results:
    """A cohort at result level: `simulate_z` with scores, response and motion of the same people.

    Parameters
    ----------
    spec, prepared
        The trial, from `conn.simulate.prepare`.
    """
    people = prepared.people
    z, mean_fd = _scans(spec, prepared)
    scores = {
        score.name: np.array([_floats(person.on_scale(score.name)) for person in people])
        for score in spec.scores
    }
    first, last = scores[spec.score.name][:, 0], scores[spec.score.name][:, -1]
    known = np.isfinite(first) & np.isfinite(last)
    gains = [
        [scan_signal(spec, person, session).global_signal for session in range(len(spec.sessions))]
        for person in people
    ]
    return Results(
        labels=prepared.latent.labels,
        sessions=spec.sessions,
        subjects=tuple(person.label for person in people),
        arm=np.array([person.arm for person in people]),
        age=np.array([person.age for person in people], dtype=float),
        sex=np.array([person.sex for person in people]),
        site=np.array([person.site for person in people]),
        z=z,
        mean_fd=mean_fd,
        global_sd=np.where(np.isfinite(mean_fd), gains, np.nan),
        scores=scores,
        response=np.where(known, responded(spec.score, np.nan_to_num(first), np.nan_to_num(last)), np.nan),
    )


def _floats(record: tuple[int | None, ...]) -> list[float]:
    return [np.nan if value is None else float(value) for value in record]


def simulate_z(spec: CohortSpec, prepared: Prepared) -> Array:
    """Fisher z of all scans as an analysis would measure them.

    Regional means (signal and noise) are cleaned of 24 motion parameters, two tissue signals and everything
    outside 0.008-0.1 Hz, and correlated: about 0.2 s per 10 scans. The scans are other draws than those of
    `simulate_cohort` with the same seed, around the same true values.

    Parameters
    ----------
    spec, prepared
        The trial, from `conn.simulate.prepare`.

    Returns
    -------
    ndarray of shape (n_subjects, n_sessions, n_rois, n_rois)
        Labels are `prepared.latent.labels`. NaN on the diagonal and for scans that are missing.
    """
    return _scans(spec, prepared)[0]


def _scans(spec: CohortSpec, prepared: Prepared) -> tuple[Array, Array]:
    """Fisher z and mean framewise displacement of all scans; see `Results`."""
    n_rois = prepared.latent.n_rois
    z = np.full((spec.n_subjects, len(spec.sessions), n_rois, n_rois), np.nan)
    mean_fd = np.full(z.shape[:2], np.nan)
    for person in prepared.people:
        for session, there in enumerate(person.scanned):
            if there:
                place = person.number, session
                z[place], mean_fd[place] = _scan(spec, prepared, *place)
    return z, mean_fd


def _scan(spec: CohortSpec, prepared: Prepared, person: int, session: int) -> tuple[Array, float]:
    rng = stream(spec.seed, SCAN, person, session, 2)
    latent = prepared.latent
    loadings = loadings_of(spec, prepared, person, session)[: latent.n_rois]
    sources = band_limited(rng, loadings.shape[1], spec.volumes, spec.tr, spec.signal.band_hz)
    series = loadings @ sources + latent.roi_noise_sd[:, None] * autocorrelated(rng, spec, latent.n_rois)
    motion = draw_motion(rng, spec.volumes, spec.motion)
    if prepared.motion is not None:
        motion = prepared.motion[person, session]
    cleaned = series @ cleaning(rng, spec, motion)
    cleaned /= np.linalg.norm(cleaned, axis=1, keepdims=True)
    r = cleaned @ cleaned.T
    np.fill_diagonal(r, np.nan)
    z: Array = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    return z, float(mean_displacement(motion))


def autocorrelated(rng: np.random.Generator, spec: CohortSpec, n_series: int) -> Array:
    """First-order autoregressive noise of unit variance; ndarray of shape (n_series, n_volumes)."""
    phi = spec.signal.autocorrelation
    noise = rng.standard_normal((n_series, spec.volumes))
    for t in range(1, spec.volumes):
        noise[:, t] = phi * noise[:, t - 1] + np.sqrt(1.0 - phi**2) * noise[:, t]
    return noise


def cleaning(rng: np.random.Generator, spec: CohortSpec, motion: Array) -> Array:
    """Retained basis of a scan: without motion, derivatives and squares, and two tissue signals.

    Parameters
    ----------
    rng
        Source of random numbers of the tissue signals.
    spec
        Length and repetition time.
    motion
        ndarray of shape (n_volumes, 6).

    Returns
    -------
    ndarray of shape (n_volumes, k)
    """
    step = np.diff(motion, axis=0, prepend=motion[:1])
    tissue = band_limited(rng, 2, spec.volumes, spec.tr, (0.008, 0.15)).T
    confounds = np.hstack([motion, step, motion**2, step**2, tissue])
    return retained_basis(confounds, np.zeros(spec.volumes, dtype=bool), spec.tr, *ANALYSIS_BAND)
