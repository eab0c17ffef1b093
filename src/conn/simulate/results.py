"""Cohorts at result level: regional time courses without images, for power and bias of what comes after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conn.projection import retained_basis
from conn.simulate.cohort import CohortSpec, Prepared, loadings_of
from conn.simulate.jobs import SCAN, stream
from conn.simulate.latent import ANALYSIS_BAND
from conn.simulate.motion import draw_motion
from conn.simulate.signal import band_limited

Array = NDArray[np.float64]


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
    n_rois = prepared.latent.n_rois
    z = np.full((spec.n_subjects, len(spec.sessions), n_rois, n_rois), np.nan)
    for person in prepared.people:
        for session, score in enumerate(person.scores):
            if score is not None:
                z[person.number, session] = _scan_z(spec, prepared, person.number, session)
    return z


def _scan_z(spec: CohortSpec, prepared: Prepared, person: int, session: int) -> Array:
    rng = stream(spec.seed, SCAN, person, session, 2)
    latent = prepared.latent
    loadings = loadings_of(spec, prepared, person, session)[: latent.n_rois]
    sources = band_limited(rng, loadings.shape[1], spec.volumes, spec.tr, spec.signal.band_hz)
    series = loadings @ sources + latent.roi_noise_sd[:, None] * _noise(rng, spec, latent.n_rois)
    basis = retained_basis(_confounds(rng, spec), np.zeros(spec.volumes, dtype=bool), spec.tr, *ANALYSIS_BAND)
    cleaned = series @ basis
    cleaned /= np.linalg.norm(cleaned, axis=1, keepdims=True)
    r = cleaned @ cleaned.T
    np.fill_diagonal(r, np.nan)
    z: Array = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    return z


def _noise(rng: np.random.Generator, spec: CohortSpec, n_rois: int) -> Array:
    """First-order autoregressive noise of unit variance; ndarray of shape (n_rois, n_volumes)."""
    phi = spec.signal.autocorrelation
    noise = rng.standard_normal((n_rois, spec.volumes))
    for t in range(1, spec.volumes):
        noise[:, t] = phi * noise[:, t - 1] + np.sqrt(1.0 - phi**2) * noise[:, t]
    return noise


def _confounds(rng: np.random.Generator, spec: CohortSpec) -> Array:
    """Motion with derivatives and squares, and two tissue signals; ndarray of shape (n_volumes, 26)."""
    motion = draw_motion(rng, spec.volumes, spec.motion)
    step = np.diff(motion, axis=0, prepend=motion[:1])
    tissue = band_limited(rng, 2, spec.volumes, spec.tr, (0.008, 0.15)).T
    return np.hstack([motion, step, motion**2, step**2, tissue])
